import { randomBytes } from 'node:crypto';
import { asLifeboatError } from '../../lib/domain/errors.ts';
import { parseStartPayload, type StartPayload } from '../../lib/domain/start/payload.ts';
import { makeRequest } from '../../lib/domain/start/request.ts';
import type { Handler } from '../handler.ts';
import type { Instances } from '../instances.ts';
import { forEachOf } from '../pool.ts';
import type { RunCommand } from '../run-command.ts';
import { CommandRefused, startOne, type StartPorts } from '../start-one.ts';
import { failedToStart, failureOf, type Failure } from './failure.ts';
import { tellLastingFailures, type TellingEdges } from './lasting-failures.ts';
import { nameRuns } from './run-names.ts';
import { resolveTargets, type FoundTarget } from './targets.ts';

export interface StartRunEdges extends TellingEdges {
  readonly commands: RunCommand;
  readonly instances: Instances;
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

export interface StartAnswer {
  readonly runs: readonly StartedRun[];
  /** What another try would not change; a message tells of each. */
  readonly failures: readonly Pick<Failure, 'app' | 'instanceId' | 'code' | 'message'>[];
}

/** SSM throttles long before a dozen requests at once are too few (test/lambda/start-run/thousand-hosts.test.ts). */
const STARTS_AT_ONCE = 12;

/**
 * Starts a run on every host that is asked for. What fails on one host is no reason not to start the others. What another
 * try may change is thrown in the end, so that the schedule's retry goes on where this one stopped: what was started is
 * known by its run id. What it would not change is told by a message instead, once: the watch's of a run that SSM refused,
 * our own of a series without a run.
 */
export function makeHandler(edges: StartRunEdges): Handler<StartAnswer> {
  return async (event, context) => {
    const { config, clock, log, state } = edges;
    const payload = parseStartPayload(event, config, clock.now());
    const { targets, failures: unresolved } = await resolveTargets(edges, payload);
    const place = { state, prefix: config.storage.prefix, now: clock.now() };
    const name = await nameRuns(place, payload, context.awsRequestId);
    const ports: StartPorts = {
      state,
      commands: edges.commands,
      clock,
      logGroup: edges.logGroup,
      document: edges.backupDocument,
      deliverySeconds: config.limits.deliveryMinutes * 60,
      remainingMs: () => context.getRemainingTimeInMillis(),
    };
    const outcomes = await forEachOf(targets, STARTS_AT_ONCE, (target) => {
      const runId = name({ app: target.series.app, instanceId: target.instanceId });
      return startTarget(edges, ports, { payload, target, runId });
    });
    const runs = outcomes.flatMap((outcome) => ('run' in outcome ? [outcome.run] : []));
    const failures = [
      ...unresolved,
      ...outcomes.flatMap((outcome) => ('failure' in outcome ? [outcome.failure] : [])),
    ];
    log.info('Started', { operation: payload.operation, started: runs.length, failed: failures.length });
    const untold = await tellLastingFailures(edges, payload, name, failures);
    const passing = [...failures.filter(({ kind }) => kind === 'passing'), ...untold];
    if (passing.length > 0) throw failedToStart(runs.length, passing);
    return {
      runs,
      failures: failures.map(({ app, instanceId, code, message }) => ({ app, instanceId, code, message })),
    };
  };
}

interface OneStart {
  readonly payload: StartPayload;
  readonly target: FoundTarget;
  readonly runId: string;
}

async function startTarget(
  edges: StartRunEdges,
  ports: StartPorts,
  { payload, target, runId }: OneStart,
): Promise<{ readonly run: StartedRun } | { readonly failure: Failure }> {
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
    nonce: randomBytes(16).toString('hex'),
    operation: payload.operation,
    trigger: payload.scheduledFor ? 'schedule' : 'manual',
    kind: payload.kind,
    backupId: payload.backupId,
  });
  try {
    const { commandId, before } = await startOne(ports, request, target.absence);
    log.info('Sent', { app, instanceId, runId, commandId, before });
    return { run: { app, instanceId, runId, commandId } };
  } catch (thrown) {
    const failure = failureOf({ app, instanceId }, asLifeboatError(thrown), kindOf(thrown));
    const { code, message, hint, kind } = failure;
    log.error('Not started', { app, instanceId, runId, code, error: message, hint, kind });
    return { failure };
  }
}

function kindOf(thrown: unknown): Failure['kind'] {
  if (thrown instanceof CommandRefused) return 'recorded';
  return asLifeboatError(thrown).code === 'SETTINGS_INVALID' ? 'lasting' : 'passing';
}
