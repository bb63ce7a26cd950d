import { createHash } from 'node:crypto';
import type { DeploymentConfig } from '../../lib/domain/deployment/config.ts';
import { asLifeboatError, LifeboatError, type ErrorCode } from '../../lib/domain/errors.ts';
import { METRIC } from '../../lib/domain/names.ts';
import { describeIdentity, formatRunId, runTime } from '../../lib/domain/run/run-id.ts';
import { runDayPrefix } from '../../lib/domain/run/run-keys.ts';
import { parseStartPayload, type StartPayload } from '../../lib/domain/start/payload.ts';
import type { Target } from '../../lib/domain/start/places.ts';
import type { Absence } from '../../lib/domain/start/tagged-hosts.ts';
import { makeRequest } from '../../lib/domain/start/request.ts';
import type { Bucket } from '../bucket.ts';
import type { Clock } from '../clock.ts';
import type { Handler } from '../handler.ts';
import type { Log } from '../log.ts';
import type { Instances } from '../instances.ts';
import { forEachOf } from '../pool.ts';
import type { RunCommand } from '../run-command.ts';
import { HostUnreachable, startOne, type StartPorts } from '../start-one.ts';
import { findTaggedHosts, type TaggedHosts } from '../tagged-hosts.ts';

export interface StartRunEdges {
  readonly config: DeploymentConfig;
  readonly state: Bucket;
  readonly commands: RunCommand;
  readonly instances: Instances;
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
    const outcomes = await forEachOf(targets, STARTS_AT_ONCE, ({ absence, ...target }) =>
      startTarget(edges, ports, { payload, target, absence, runId: name(target) }),
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

/** With why no command can be sent to it, if that is known beforehand. */
type FoundTarget = Target & { readonly absence: Absence | undefined };

/** Which hosts, in the configuration's order. A tag that nobody carries is a failure, not an empty success. */
async function resolveTargets(
  edges: StartRunEdges,
  { series, instanceId }: StartPayload,
): Promise<{ targets: FoundTarget[]; failures: Failure[] }> {
  const targets: FoundTarget[] = [];
  const failures: Failure[] = [];
  const asked = new Map<string, Promise<TaggedHosts>>();
  for (const each of series) {
    const { app, host } = each;
    if (!('tag' in host)) {
      targets.push({ series: each, instanceId: host.instanceId, absence: undefined });
      continue;
    }
    try {
      const { hosts, problem } = await hostsOf(edges, host.tag, asked);
      if (problem) failures.push(failureOf(app, problem));
      else if (hosts.length === 0) {
        failures.push(failureOf(app, noHosts(host.tag)));
        edges.log.metrics(app, { [METRIC.hostUnreachable]: 1 });
      }
      const wanted = hosts.filter((found) => instanceId === undefined || found.instanceId === instanceId);
      targets.push(...wanted.map((found) => ({ series: each, ...found })));
    } catch (error) {
      failures.push(failureOf(app, asLifeboatError(error)));
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
  edges: StartRunEdges,
  tag: { key: string; value: string },
  asked: Map<string, Promise<TaggedHosts>>,
): Promise<TaggedHosts> {
  const name = JSON.stringify([tag.key, tag.value]);
  const hosts = asked.get(name) ?? findTaggedHosts(edges, tag);
  asked.set(name, hosts);
  return await hosts;
}

/** Of a series whose hosts could not be found out, or not all of them. */
function failureOf(app: string, { code, message, hint }: LifeboatError): Failure {
  return { app, instanceId: null, code, message, hint, known: false };
}

function noHosts({ key, value }: { key: string; value: string }): LifeboatError {
  return new LifeboatError('HOST_UNREACHABLE', `No host carries the tag ${key}=${value}`, {
    hint: 'Tag the instances, and see whether SSM manages them: aws ssm describe-instance-information',
  });
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
  readonly absence: Absence | undefined;
  readonly runId: string;
}

async function startTarget(
  edges: StartRunEdges,
  ports: StartPorts,
  { payload, target, absence, runId }: OneStart,
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
    const { commandId, before } = await startOne(ports, request, absence);
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
