import { createHash } from 'node:crypto';
import type { DeploymentConfig } from '../../lib/domain/deployment/config.ts';
import { asLifeboatError, LifeboatError, type ErrorCode } from '../../lib/domain/errors.ts';
import { METRIC } from '../../lib/domain/names.ts';
import { describeIdentity, formatRunId, runTime } from '../../lib/domain/run/run-id.ts';
import { runDayPrefix } from '../../lib/domain/run/run-keys.ts';
import { parseStartPayload, type StartPayload } from '../../lib/domain/start/payload.ts';
import type { Target } from '../../lib/domain/start/places.ts';
import { makeRequest } from '../../lib/domain/start/request.ts';
import type { Bucket } from '../bucket.ts';
import type { Clock } from '../clock.ts';
import type { Handler } from '../handler.ts';
import type { Log } from '../log.ts';
import { forEachOf } from '../pool.ts';
import type { RunCommand } from '../run-command.ts';
import { HostUnreachable, startOne, type StartPorts } from '../start-one.ts';

export interface StartRunEdges {
  readonly config: DeploymentConfig;
  readonly state: Bucket;
  readonly commands: RunCommand;
  readonly clock: Clock;
  readonly log: Log;
  readonly bucket: string;
  readonly region: string;
  readonly backupDocument: string;
  readonly logGroup: string | undefined;
}

interface StartedRun {
  readonly app: string;
  readonly instanceId: string;
  readonly runId: string;
  readonly commandId: string;
}

interface StartFailure {
  readonly app: string;
  /** `null`: its hosts could not be found out. */
  readonly instanceId: string | null;
  readonly code: ErrorCode;
  readonly message: string;
}

export interface StartAnswer {
  readonly runs: readonly StartedRun[];
  /** Only what an earlier try has told already: a new failure is thrown. */
  readonly failures: readonly StartFailure[];
}

/** SSM throttles long before a dozen requests at once are too few (test/lambda/start-run/thousand-hosts.test.ts). */
const STARTS_AT_ONCE = 12;
const FAILURES_NAMED = 20;
const HINTS_GIVEN = 3;

/**
 * Starts a run on every host that is asked for. What fails on one host is no reason not to start the others; in the end it
 * is thrown, so that the schedule's retry goes on where this one stopped: what was started is known by its run id.
 */
export function makeHandler(edges: StartRunEdges): Handler<StartAnswer> {
  return async (event, context) => {
    const { config, clock, log } = edges;
    const payload = parseStartPayload(event, config, clock.now());
    const { targets, failures } = await resolveTargets(edges, payload);
    const name = await nameRuns(edges, payload, context.awsRequestId);
    const ports: StartPorts = {
      state: edges.state,
      commands: edges.commands,
      clock,
      logGroup: edges.logGroup,
      document: edges.backupDocument,
      deliverySeconds: config.limits.deliveryMinutes * 60,
      remainingMs: () => context.getRemainingTimeInMillis(),
    };
    const outcomes = await forEachOf(targets, STARTS_AT_ONCE, (target) =>
      startTarget(edges, ports, { payload, target, runId: name(target) }),
    );
    const runs = outcomes.flatMap((outcome) => (outcome.run ? [outcome.run] : []));
    const all = [...failures, ...outcomes.flatMap((outcome) => (outcome.failure ? [outcome.failure] : []))];
    log.info('Started', { operation: payload.operation, started: runs.length, failed: all.length });
    const fresh = all.filter(({ known }) => !known);
    if (fresh.length > 0) throw failedToStart(runs.length, fresh);
    return {
      runs,
      failures: all.map(({ app, instanceId, code, message }) => ({ app, instanceId, code, message })),
    };
  };
}

type Failure = StartFailure & { readonly known: boolean; readonly hint: string };

/** Which hosts, in the configuration's order. A tag that nobody carries is a failure, not an empty success. */
async function resolveTargets(
  { commands }: StartRunEdges,
  { series, instanceId }: StartPayload,
): Promise<{ targets: Target[]; failures: Failure[] }> {
  const targets: Target[] = [];
  const failures: Failure[] = [];
  const asked = new Map<string, Promise<string[]>>();
  for (const each of series) {
    const { app, host } = each;
    try {
      const found = 'tag' in host ? await hostsOf(commands, host.tag, asked) : [host.instanceId];
      const wanted = found.filter((id) => instanceId === undefined || id === instanceId);
      if (found.length === 0) failures.push(noHosts(app, 'tag' in host ? host.tag : undefined));
      targets.push(...wanted.map((id) => ({ series: each, instanceId: id })));
    } catch (error) {
      const { code, message, hint } = asLifeboatError(error);
      failures.push({ app, instanceId: null, code, message, hint, known: false });
    }
  }
  if (instanceId !== undefined && targets.length === 0 && failures.length === 0) {
    throw new LifeboatError('HOST_UNREACHABLE', `No host of the series asked for is ${instanceId}`, {
      hint: 'Does the instance carry the series’ tag, and does SSM manage it? aws ssm describe-instance-information',
    });
  }
  return { targets, failures };
}

/** Several series on the same hosts ask once. */
async function hostsOf(
  commands: RunCommand,
  { key, value }: { key: string; value: string },
  asked: Map<string, Promise<string[]>>,
): Promise<string[]> {
  const tag = JSON.stringify([key, value]);
  const hosts = asked.get(tag) ?? commands.hostsWithTag(key, value);
  asked.set(tag, hosts);
  return await hosts;
}

function noHosts(app: string, tag: { key: string; value: string } | undefined): Failure {
  const words = tag ? `${tag.key}=${tag.value}` : '';
  return {
    app,
    instanceId: null,
    code: 'HOST_UNREACHABLE',
    known: false,
    message: `SSM manages no host that carries the tag ${words}`,
    hint: 'Tag the instances, and see whether SSM manages them: aws ssm describe-instance-information',
  };
}

/**
 * The same trigger gives every host the same run id again. A schedule says when it was due; a manual start is known by its
 * invocation's id alone, so what an earlier try of it named is looked up.
 */
async function nameRuns(
  { state, config, clock }: StartRunEdges,
  { operation, scheduledFor }: StartPayload,
  requestId: string,
): Promise<(target: Target) => string> {
  const trigger = scheduledFor?.toISOString() ?? requestId;
  const hashOf = ({ series, instanceId }: Target): string => {
    const identity = describeIdentity({ trigger, app: series.app, instanceId, operation });
    return createHash('sha256').update(identity).digest('hex');
  };
  const time = scheduledFor ?? clock.now();
  if (scheduledFor) return (target) => formatRunId(time, hashOf(target));
  const named = await runsOfLastHours(state, config.storage.prefix, time);
  return (target) => {
    const fresh = formatRunId(time, hashOf(target));
    return named.get(hashPart(fresh)) ?? fresh;
  };
}

/** Lambda tries an invocation again for six hours at most. */
const RETRIED_MS = 6 * 60 * 60 * 1000;

async function runsOfLastHours(state: Bucket, prefix: string, now: Date): Promise<Map<string, string>> {
  const days = new Set([new Date(now.getTime() - RETRIED_MS), now].map((day) => runDayPrefix(prefix, day)));
  const runs = new Map<string, string>();
  for (const day of days) {
    for await (const folder of state.folders(day)) {
      const runId = folder.slice(day.length, -1);
      if (runTime(runId)) runs.set(hashPart(runId), runId);
    }
  }
  return runs;
}

function hashPart(runId: string): string {
  return runId.slice(runId.indexOf('-') + 1);
}

interface OneStart {
  readonly payload: StartPayload;
  readonly target: Target;
  readonly runId: string;
}

async function startTarget(
  edges: StartRunEdges,
  ports: StartPorts,
  { payload, target, runId }: OneStart,
): Promise<{ run?: StartedRun; failure?: Failure }> {
  const { config, clock, log, bucket, region, state } = edges;
  const { instanceId, series } = target;
  const { app } = series;
  const request = makeRequest({
    config,
    target,
    runId,
    bucket,
    region,
    stateBucket: state.name,
    now: clock.now(),
    operation: payload.operation,
    trigger: payload.scheduledFor ? 'schedule' : 'manual',
    backupId: payload.backupId,
  });
  try {
    const { commandId, before } = await startOne(ports, request);
    log.info('Sent', { app, instanceId, runId, commandId, before });
    return { run: { app, instanceId, runId, commandId } };
  } catch (error) {
    const { code, message, hint } = asLifeboatError(error);
    const known = error instanceof HostUnreachable && error.known;
    log.error('Not started', { app, instanceId, runId, code, error: message, hint, known });
    if (code === 'HOST_UNREACHABLE' && !known) log.metrics(app, { [METRIC.hostUnreachable]: 1 });
    return { failure: { app, instanceId, code, message, hint, known } };
  }
}

function failedToStart(started: number, failures: readonly Failure[]): LifeboatError {
  const lines = failures
    .slice(0, FAILURES_NAMED)
    .map(
      ({ app, instanceId, message }) =>
        `- ${app}${instanceId === null ? '' : ` on ${instanceId}`}: ${message}`,
    );
  const more = failures.length - lines.length;
  const rest = more > 0 ? [`- and ${more} more, see the function’s log`] : [];
  const summary = `${failures.length} of ${failures.length + started} runs could not be started`;
  const codes = [...new Set(failures.map(({ code }) => code))];
  const hints = [...new Set(failures.map(({ hint }) => hint))].slice(0, HINTS_GIVEN);
  return new LifeboatError(
    codes.length === 1 ? codes[0]! : 'SSM_FAILED',
    [`${summary}, all others were. Not started:`, ...lines, ...rest].join('\n'),
    {
      hint: hints.join('\n'),
    },
  );
}
