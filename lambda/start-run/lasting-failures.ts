import type { DeploymentConfig } from '../../lib/domain/deployment/config.ts';
import { asLifeboatError } from '../../lib/domain/errors.ts';
import { METRIC } from '../../lib/domain/names.ts';
import { runKey } from '../../lib/domain/run/run-keys.ts';
import type { CommandRecord } from '../../lib/domain/start/command-record.ts';
import type { StartPayload } from '../../lib/domain/start/payload.ts';
import { describeStartProblem } from '../../lib/domain/start/start-problem.ts';
import type { Bucket } from '../bucket.ts';
import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import type { Topic } from '../topic.ts';
import { failureOf, type Failure } from './failure.ts';
import type { RunNames } from './run-names.ts';

export interface TellingEdges {
  readonly config: DeploymentConfig;
  readonly state: Bucket;
  readonly topic: Topic;
  readonly clock: Clock;
  readonly log: Log;
  readonly dashboardUrl: string | undefined;
}

/**
 * Publishes a message for each series that has none to run for it: without a request no watch ever looks for its run.
 * @returns what could not be published, to be tried again
 */
export async function tellLastingFailures(
  edges: TellingEdges,
  { operation, series }: StartPayload,
  name: RunNames,
  failures: readonly Failure[],
): Promise<Failure[]> {
  const untold: Failure[] = [];
  const lasting = failures.filter(({ kind }) => kind === 'lasting');
  for (const each of series) {
    const failure = lasting.find(({ app }) => app === each.app);
    if (!failure) continue;
    try {
      const runId = name({ app: each.app, instanceId: '' });
      await tellOnce(edges, { operation, series: each, runId, error: failure });
    } catch (error) {
      untold.push(failureOf(failure, asLifeboatError(error), 'passing'));
    }
  }
  return untold;
}

/** The mark lies where a command's record would: a series that is tried again is told of once, or twice at the worst. */
async function tellOnce(
  edges: TellingEdges,
  problem: Parameters<typeof describeStartProblem>[0],
): Promise<void> {
  const { config, state, topic, clock, log, dashboardUrl } = edges;
  const { runId, series, error } = problem;
  const mark = runKey(config.storage.prefix, runId, 'command');
  if ((await state.read(mark)) !== undefined) return;
  await topic.publish(describeStartProblem(problem, dashboardUrl));
  const value: CommandRecord = {
    commandId: null,
    sentAt: clock.now().toISOString(),
    refused: { name: error.code, message: error.message },
  };
  await state.putOnce(mark, value);
  const unreachable = error.code === 'HOST_UNREACHABLE' ? 1 : 0;
  log.metrics(series.app, {
    [METRIC.runFailed]: 1,
    [METRIC.runSucceeded]: 0,
    [METRIC.hostUnreachable]: unreachable,
  });
}
