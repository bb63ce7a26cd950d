import { createHash, randomBytes } from 'node:crypto';
import type { DeploymentConfig } from '../../lib/domain/deployment/config.ts';
import { LifeboatError } from '../../lib/domain/errors.ts';
import { requireTargetName } from '../../lib/domain/restore/database-names.ts';
import {
  chooseSeries,
  chooseTarget,
  parseRestorePayload,
  type ExecutePayload,
  type PlanPayload,
  type RecoveryPlanPayload,
  type RestorePayload,
} from '../../lib/domain/restore/remote-payload.ts';
import {
  describeRemotePlan,
  formatPlanId,
  makeRemotePlan,
  parseRemotePlan,
  requireConfirmed,
  type PlanDescription,
  type PlanInput,
  type RemotePlan,
} from '../../lib/domain/restore/remote-plan.ts';
import {
  describeRecoveryPlan,
  makeRecoveryPlan,
  sendToHost,
  type RecoveryPlanDescription,
  type RecoveryPlanInput,
} from '../../lib/domain/restore/remote-recovery.ts';
import { parseRemoteSource } from '../../lib/domain/restore/remote-source.ts';
import { parseTableList } from '../../lib/domain/restore/table-names.ts';
import { describeIdentity, formatRunId } from '../../lib/domain/run/run-id.ts';
import {
  parseRequestedRecovery,
  requestedRecoverySchema,
  takesOut,
} from '../../lib/domain/run/requested-recovery.ts';
import { planKey, runKey } from '../../lib/domain/run/run-keys.ts';
import { backupPrefix, type Target } from '../../lib/domain/start/places.ts';
import { makeRequest } from '../../lib/domain/start/request.ts';
import type { Bucket } from '../bucket.ts';
import type { Clock } from '../clock.ts';
import type { Handler, LambdaContext } from '../handler.ts';
import type { Log } from '../log.ts';
import type { RunCommand } from '../run-command.ts';
import { startOne } from '../start-one.ts';
import { findSource } from './find-backup.ts';
import { listBackups, type ListedBackups } from './list-backups.ts';
import { planFromS3 } from './plan-recovery.ts';

export interface RestoreEdges {
  readonly config: DeploymentConfig;
  readonly state: Bucket;
  readonly backups: Bucket;
  readonly commands: RunCommand;
  readonly clock: Clock;
  readonly log: Log;
  readonly region: string;
  readonly restoreDocument: string;
  readonly logGroup: string | undefined;
}

type PlanHead = Pick<
  RemotePlan,
  'planId' | 'expiresAt' | 'app' | 'instanceId' | 'database' | 'replace' | 'globals' | 'confirm'
>;

export type RestoreAnswer =
  | ListedBackups
  | (PlanHead & PlanDescription & { readonly next: string })
  | (PlanHead & RecoveryPlanDescription & { readonly next: string })
  | {
      readonly runId: string;
      readonly commandId: string;
      readonly startedBefore: boolean;
      readonly next: string;
    };

/** List, plan, execute: nothing is started that was not planned, read and confirmed. */
export function makeHandler(edges: RestoreEdges): Handler<RestoreAnswer> {
  return async (event, context) => {
    const payload = parseRestorePayload(event);
    if (payload.action === 'execute') return await execute(edges, payload, context);
    const target = await choosePlace(edges, payload);
    if (payload.action === 'list')
      return await listBackups(edges, target, () => context.getRemainingTimeInMillis());
    return 'source' in payload
      ? await plan(edges, payload, target)
      : await planToPointInTime(edges, payload, target, context);
  };
}

type Located = Exclude<RestorePayload, { action: 'execute' }>;

const HOSTS_NAMED = 20;

async function choosePlace({ config, backups }: RestoreEdges, payload: Located): Promise<Target> {
  const series = chooseSeries(payload, config);
  const target = chooseTarget(payload, series);
  if (target) return target;
  const { prefix } = config.storage;
  const hosts: string[] = [];
  for await (const folder of backups.folders(`${prefix}/i-`)) {
    if (hosts.push(folder.slice(prefix.length + 1, -1)) === HOSTS_NAMED) break;
  }
  throw new LifeboatError('USAGE', `The hosts of ${series.app} are chosen by tag: say which one is meant`, {
    hint: `Add "instanceId"; there are backups of ${hosts.join(', ') || 'none yet'}${hosts.length === HOSTS_NAMED ? ', …' : ''}`,
  });
}

async function plan(edges: RestoreEdges, payload: PlanPayload, target: Target): Promise<RestoreAnswer> {
  const { config, backups, clock } = edges;
  const { series, instanceId } = target;
  const database = requireTargetName(payload.database);
  const source = parseRemoteSource(payload.source, { bucket: backups.name, prefix: config.storage.prefix });
  const now = clock.now();
  const place = { backups, prefix: backupPrefix(config, target), app: series.app, now };
  const input: PlanInput = {
    now,
    series,
    instanceId,
    database,
    replace: payload.replace,
    globals: payload.globals,
    planId: formatPlanId(now, randomBytes(8).toString('hex')),
    found: await findSource(place, source),
  };
  return { ...(await keepPlan(edges, makeRemotePlan(input))), ...describeRemotePlan(input) };
}

async function planToPointInTime(
  edges: RestoreEdges,
  { toDatabase, replace, globals, ...payload }: RecoveryPlanPayload,
  target: Target,
  context: LambdaContext,
): Promise<RestoreAnswer> {
  const { config, state, backups, clock } = edges;
  const { series, instanceId } = target;
  const requested = requestedRecoverySchema.parse(payload);
  const request = parseRequestedRecovery(requested);
  if (takesOut(requested)) requireTargetName(toDatabase ?? requested.database ?? series.database);
  if (requested.table !== undefined) parseTableList(requested.table);
  const now = clock.now();
  const remainingMs = (): number => context.getRemainingTimeInMillis();
  const place = { backups, state, prefix: backupPrefix(config, target), app: series.app, remainingMs };
  const input: RecoveryPlanInput = {
    now,
    series,
    instanceId,
    request,
    requested,
    toDatabase,
    replace,
    globals,
    runMinutes: config.limits.runMinutes,
    planId: formatPlanId(now, randomBytes(8).toString('hex')),
    ...(await planFromS3(place, request)),
  };
  if (payload.inPlace === true) throw sendToHost(input);
  return { ...(await keepPlan(edges, makeRecoveryPlan(input))), ...describeRecoveryPlan(input) };
}

async function keepPlan(
  { state, config, log }: RestoreEdges,
  made: RemotePlan,
): Promise<PlanHead & { readonly next: string }> {
  await state.putOnce(planKey(config.storage.prefix, made.planId), made);
  log.info('Planned', { ...made });
  const { planId, expiresAt, app, instanceId, database, replace, globals, confirm } = made;
  const again = replace ? { replace: true, database } : {};
  const next = JSON.stringify({ action: 'execute', planId, confirm, ...again });
  return {
    planId,
    expiresAt,
    app,
    instanceId,
    database,
    replace,
    globals,
    confirm,
    next: `Nothing has been started. To do it: ${next}`,
  };
}

/** The run's id follows from the plan's, so that a plan makes one run, however often it is executed. */
async function execute(
  edges: RestoreEdges,
  payload: ExecutePayload,
  context: LambdaContext,
): Promise<RestoreAnswer> {
  const { config, state, clock, log } = edges;
  const made = await readPlan(edges, payload.planId);
  const request = requestOf(edges, made);
  // What was begun within the hour may be finished after it.
  const begun = (await state.read(runKey(config.storage.prefix, request.runId, 'request'))) !== undefined;
  requireConfirmed(made, payload, begun ? new Date(made.createdAt) : clock.now());
  const { runId, commandId, before } = await startOne(
    {
      state,
      commands: edges.commands,
      clock,
      logGroup: edges.logGroup,
      document: edges.restoreDocument,
      deliverySeconds: config.limits.deliveryMinutes * 60,
      remainingMs: () => context.getRemainingTimeInMillis(),
    },
    request,
  );
  log.info('Executed', { planId: made.planId, runId, commandId, before });
  const next = before
    ? 'This plan had been executed already; nothing was started now. Plan again for another restore.'
    : 'A message tells how it ended.';
  return { runId, commandId, startedBefore: before, next };
}

async function readPlan({ state, config }: RestoreEdges, planId: string): Promise<RemotePlan> {
  const json = await state.read(planKey(config.storage.prefix, planId));
  if (json !== undefined) return parseRemotePlan(json);
  throw new LifeboatError('RESTORE_REFUSED', `There is no plan ${planId}`, {
    hint: 'Plan the restore first: {"action":"plan","source":"latest","database":"…"}',
  });
}

function requestOf({ config, state, backups, clock, region }: RestoreEdges, made: RemotePlan) {
  const { app, instanceId, planId, source, database, replace, globals, recovery } = made;
  const target = chooseTarget({ instanceId }, chooseSeries({ app }, config));
  if (!target) throw new LifeboatError('BUG', `${planId} names no host`);
  const identity = describeIdentity({ trigger: planId, app, instanceId, operation: 'restore' });
  const hash = createHash('sha256').update(identity).digest('hex');
  return makeRequest({
    config,
    target,
    region,
    operation: 'restore',
    trigger: 'manual',
    now: clock.now(),
    nonce: randomBytes(16).toString('hex'),
    bucket: backups.name,
    stateBucket: state.name,
    runId: formatRunId(new Date(made.createdAt), hash),
    restore: { source, database, replace, globals, ...(recovery && { recovery }) },
  });
}
