import { createHash, randomBytes } from 'node:crypto';
import type { BackupCopy } from '../../lib/domain/backup/catalog.ts';
import type { DeploymentConfig } from '../../lib/domain/deployment/config.ts';
import { LifeboatError } from '../../lib/domain/errors.ts';
import { formatBytes } from '../../lib/domain/quantities.ts';
import { requireTargetName } from '../../lib/domain/restore/database-names.ts';
import {
  chooseSeries,
  chooseTarget,
  parseRestorePayload,
  type ExecutePayload,
  type PlanPayload,
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
import { parseRemoteSource } from '../../lib/domain/restore/remote-source.ts';
import { describeIdentity, formatRunId } from '../../lib/domain/run/run-id.ts';
import { planKey, runKey } from '../../lib/domain/run/run-keys.ts';
import { backupPrefix, type Target } from '../../lib/domain/start/places.ts';
import { makeRequest } from '../../lib/domain/start/request.ts';
import type { Bucket } from '../bucket.ts';
import type { Clock } from '../clock.ts';
import type { Handler, LambdaContext } from '../handler.ts';
import type { Log } from '../log.ts';
import type { RunCommand } from '../run-command.ts';
import { startOne } from '../start-one.ts';
import { findSource, readSeries } from './find-backup.ts';

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

interface ListedBackup {
  readonly id: string;
  readonly state: BackupCopy['state'];
  readonly startedAt: string;
  readonly size: string;
  readonly bytes: number;
  readonly database: string | null;
  readonly tables: number | null;
  readonly rows: number | null;
  readonly url: string;
  readonly detail?: string;
}

export type RestoreAnswer =
  | {
      readonly app: string;
      readonly instanceId: string;
      readonly backups: readonly ListedBackup[];
      readonly older: number;
    }
  | (Pick<
      RemotePlan,
      'planId' | 'expiresAt' | 'app' | 'instanceId' | 'database' | 'replace' | 'globals' | 'confirm'
    > &
      PlanDescription & { readonly next: string })
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
    return payload.action === 'list' ? await list(edges, target) : await plan(edges, payload, target);
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

const LISTED = 50;

async function list({ config, backups, clock }: RestoreEdges, target: Target): Promise<RestoreAnswer> {
  const { app } = target.series;
  const prefix = backupPrefix(config, target);
  const copies = await readSeries({ backups, prefix, app, now: clock.now() }, LISTED);
  const shown = copies.filter(({ state }) => state !== 'unfinished').slice(0, LISTED);
  return {
    app,
    instanceId: target.instanceId,
    backups: shown.map((copy) => describeCopy(copy, `s3://${backups.name}/${prefix}/`)),
    older: copies.length - shown.length,
  };
}

function describeCopy({ id, state, time, manifest, dump, detail }: BackupCopy, folder: string): ListedBackup {
  const { key, size: bytes } = manifest?.dump ?? dump ?? { key: '', size: 0 };
  return {
    id,
    state,
    bytes,
    startedAt: time.toISOString(),
    size: formatBytes(bytes),
    database: manifest?.database.name ?? null,
    tables: manifest?.tables.length ?? null,
    rows: manifest?.tables.reduce((sum, table) => sum + table.rows, 0) ?? null,
    url: folder + key,
    ...(detail === undefined ? {} : { detail }),
  };
}

async function plan(edges: RestoreEdges, payload: PlanPayload, target: Target): Promise<RestoreAnswer> {
  const { config, state, backups, clock, log } = edges;
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
  const made = makeRemotePlan(input);
  await state.putOnce(planKey(config.storage.prefix, made.planId), made);
  log.info('Planned', { ...made });
  const { planId, expiresAt, app, replace, globals, confirm } = made;
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
    ...describeRemotePlan(input),
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
  const { app, instanceId, planId, source, database, replace, globals } = made;
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
    restore: { source, database, replace, globals },
  });
}
