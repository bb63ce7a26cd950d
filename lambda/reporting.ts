import { asLifeboatError, LifeboatError } from '../lib/domain/errors.ts';
import type { Message } from '../lib/domain/notify/message.ts';
import type { RunEvidence } from '../lib/domain/report/evidence.ts';
import { isAbandoned, parseReportRecord, type ReportRecord } from '../lib/domain/report/report-record.ts';
import { needsLastGoodOf, reportRun } from '../lib/domain/report/run-report.ts';
import type { FunctionNames } from '../lib/domain/report/stack-commands.ts';
import { readToldRequest, type ToldRequest } from '../lib/domain/report/told-request.ts';
import type { LastGoodBackup } from '../lib/domain/run/outcome.ts';
import { parseRequest, type RunRequest } from '../lib/domain/run/request.ts';
import { runResultSchema, type RunResult } from '../lib/domain/run/result.ts';
import { runKey } from '../lib/domain/run/run-keys.ts';
import { describeUnreadable } from '../lib/domain/watch/unreadable.ts';
import type { Bucket } from './bucket.ts';
import type { Clock } from './clock.ts';
import { lastGoodBase, lastGoodDump } from './last-good.ts';
import type { Log } from './log.ts';
import type { Topic } from './topic.ts';

/** One message for each run, whoever finds out first how it ended. */
export interface ReportingPorts {
  readonly state: Bucket;
  readonly backups: Bucket;
  readonly topic: Topic;
  readonly clock: Clock;
  readonly log: Log;
  /** Of `runs/`. */
  readonly statePrefix: string;
  readonly dashboardUrl: string | undefined;
  readonly functions: FunctionNames;
  /** The invocation's. */
  readonly requestId: string;
}

/** `undefined`: there is no such run of ours. What cannot be read of it is said in its message. */
export async function readRequest(ports: ReportingPorts, runId: string): Promise<ToldRequest | undefined> {
  const json = await ports.state.read(runKey(ports.statePrefix, runId, 'request'));
  if (json === undefined) return undefined;
  const request = readToldRequest(json, runId);
  if (request.unreadable !== undefined)
    ports.log.error('A request cannot be read', { runId, error: request.unreadable });
  return request;
}

/** @returns `undefined`: there is no such run of ours; an error: why what lies there cannot be read */
export async function openRequest(
  { state, statePrefix }: Pick<ReportingPorts, 'state' | 'statePrefix'>,
  runId: string,
): Promise<RunRequest | LifeboatError | undefined> {
  try {
    const json = await state.read(runKey(statePrefix, runId, 'request'));
    return json === undefined ? undefined : parseRequest(json);
  } catch (error) {
    const failure = asLifeboatError(error);
    if (failure.code.startsWith('S3_')) throw failure;
    return failure;
  }
}

export interface FoundResult {
  /** The host's own word; `undefined` when there is none that can be read and is of this run. */
  readonly result: RunResult | undefined;
  /** What lies there instead, as one sentence for the message. */
  readonly doubts: readonly string[];
}

/** Any host may write a result, and write anything: only one that knows the request's nonce is the run's. */
export async function readResult(ports: ReportingPorts, request: ToldRequest): Promise<FoundResult> {
  const key = runKey(ports.statePrefix, request.runId, 'result');
  const disbelieve = (why: string): FoundResult => {
    const where = `s3://${ports.state.name}/${key}`;
    ports.log.error('A result is not believed', { runId: request.runId, where, why });
    return {
      result: undefined,
      doubts: [`${where} was not believed: ${why}. See in CloudTrail who wrote it`],
    };
  };
  try {
    const json = await ports.state.read(key);
    if (json === undefined) return { result: undefined, doubts: [] };
    const result = runResultSchema.parse(JSON.parse(json));
    if (request.nonce !== undefined && result.nonce !== request.nonce)
      return disbelieve('it does not know the nonce of the run’s request');
    if (result.runId === request.runId && isOfItsHost(request, result)) return { result, doubts: [] };
    return disbelieve('it is of another run or host');
  } catch (error) {
    const failure = asLifeboatError(error);
    if (failure.code.startsWith('S3_')) throw error;
    ports.log.error('A result cannot be read', { key, error: failure.message.slice(0, 500) });
    return disbelieve('it is no result that can be read');
  }
}

/** Of a request that cannot be read, the id is all that is certain. */
function isOfItsHost({ instanceId, series, unreadable }: ToldRequest, result: RunResult): boolean {
  if (unreadable !== undefined) return instanceId === '' || result.instanceId === instanceId;
  return result.instanceId === instanceId && result.app === series.app;
}

export type Reported = 'published' | 'published again' | 'reported before';

/**
 * Claims the run's message and publishes it; what another has claimed is published only if that one died.
 * @param doubts sentences for the message
 */
export async function report(
  ports: ReportingPorts,
  request: ToldRequest,
  evidence: RunEvidence,
  commandId: string | undefined,
  doubts: readonly string[] = [],
): Promise<Reported> {
  const { clock, log, dashboardUrl, functions } = ports;
  const now = clock.now();
  const { dump, base } = needsLastGoodOf(request, evidence);
  const lastGood = dump ? await findLastGood(ports, request, lastGoodDump) : undefined;
  const lastBase = base ? await findLastGood(ports, request, lastGoodBase) : undefined;
  const { message, metrics, succeeded } = reportRun(request, evidence, {
    now,
    commandId,
    dashboardUrl,
    functions,
    lastGood,
    lastGoodBase: lastBase,
    doubts,
  });
  const told = await claimAndPublish(ports, request.runId, {
    message,
    succeeded,
    // Before the message: alarms must not depend on its coming through.
    onClaimed: () => log.metrics(request.series.app, metrics),
  });
  if (told === 'published')
    log.info('Reported', {
      runId: request.runId,
      app: request.series.app,
      succeeded,
      evidence: evidence.kind,
    });
  return told;
}

/** A run of which nothing but its id is known. */
export async function reportUnreadable(
  ports: ReportingPorts,
  runId: string,
  { message: problem }: LifeboatError,
): Promise<Reported> {
  const { state, statePrefix, dashboardUrl, log } = ports;
  const url = `s3://${state.name}/${runKey(statePrefix, runId, 'request')}`;
  log.error('A request cannot be read', { runId, url, error: problem });
  const message = describeUnreadable({ runId, url, problem, dashboardUrl });
  return await claimAndPublish(ports, runId, { message, succeeded: false });
}

interface Claim {
  readonly message: Message;
  readonly succeeded: boolean;
  readonly onClaimed?: () => void;
}

async function claimAndPublish(
  ports: ReportingPorts,
  runId: string,
  { message, succeeded, onClaimed }: Claim,
): Promise<Reported> {
  const { state, statePrefix, clock, requestId } = ports;
  const record: ReportRecord = {
    runId,
    claimedAt: clock.now().toISOString(),
    claimedBy: requestId,
    succeeded,
    ...message,
  };
  const claimed = await state.putOnce(runKey(statePrefix, runId, 'report'), record);
  if (!claimed) return await publishAbandoned(ports, runId);
  onClaimed?.();
  await publish(ports, runId, message);
  return 'published';
}

/** Publishes a claimed message whose publisher died in between; twice at the worst, never not at all. */
export async function publishAbandoned(ports: ReportingPorts, runId: string): Promise<Reported> {
  const { state, statePrefix, clock, requestId, log } = ports;
  if ((await state.read(runKey(statePrefix, runId, 'reported'))) !== undefined) return 'reported before';
  const json = await state.read(runKey(statePrefix, runId, 'report'));
  const record = json === undefined ? undefined : parseReportRecord(json);
  if (!record || !isAbandoned(record, { now: clock.now(), requestId })) return 'reported before';
  log.info('Publishing again', { runId, claimedAt: record.claimedAt, claimedBy: record.claimedBy });
  await publish(ports, runId, record);
  return 'published again';
}

async function publish(ports: ReportingPorts, runId: string, message: Message): Promise<void> {
  const { state, statePrefix, topic, clock } = ports;
  const messageId = await topic.publish(message);
  const publishedAt = clock.now().toISOString();
  await state.putOnce(runKey(statePrefix, runId, 'reported'), { messageId, publishedAt });
}

/** A failed look-up must not keep the message back. */
async function findLastGood(
  { backups, state, clock, log }: ReportingPorts,
  { series, storage, runId, unreadable }: ToldRequest,
  find: typeof lastGoodDump,
): Promise<LastGoodBackup | 'unknown' | undefined> {
  if (unreadable !== undefined) return 'unknown';
  try {
    return await find({ backups, state, prefix: storage.prefix, app: series.app, now: clock.now() });
  } catch (error) {
    log.error('The last good backup could not be looked up', {
      runId,
      error: asLifeboatError(error).message,
    });
    return 'unknown';
  }
}
