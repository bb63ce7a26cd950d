import { LifeboatError } from '../lib/domain/errors.ts';
import {
  ENCODED_REQUEST_PATTERN,
  encodeRequest,
  parseRequest,
  type RunRequest,
} from '../lib/domain/run/request.ts';
import { runKey } from '../lib/domain/run/run-keys.ts';
import { parseCommandRecord, type CommandRecord } from '../lib/domain/start/command-record.ts';
import type { Absence } from '../lib/domain/start/tagged-hosts.ts';
import type { Bucket } from './bucket.ts';
import type { Clock } from './clock.ts';
import type { RunCommand } from './run-command.ts';
import { errorName, isThrottling, isUnclear, serviceError } from './sdk-error.ts';

/** Starting one run, once: what start-run does for a night and restore for a plan. */
export interface StartPorts {
  readonly state: Bucket;
  readonly commands: RunCommand;
  readonly clock: Clock;
  readonly document: string;
  readonly logGroup: string | undefined;
  readonly deliverySeconds: number;
  /** Until the function is ended. */
  readonly remainingMs: () => number;
}

export interface Started {
  readonly runId: string;
  readonly commandId: string;
  /** Somebody had sent the command already; nothing was sent now. */
  readonly before: boolean;
}

/** Left for writing down what was sent. */
const RESERVE_MS = 5_000;
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 20_000;
/** Of answers that do not say whether the command was taken. */
const UNCLEAR_TRIES = 4;
/** SSM's clock and ours may differ; the comment tells our command from others. */
const LOOK_BACK_MS = 5 * 60 * 1000;

/**
 * The request is written before the command is sent, and the command's id after it; whoever finds the first without the
 * second asks SSM whether a command went out, and sends it only when none did.
 *
 * @param absence why no command can be sent to the host, where that is known: it is written down as SSM's refusal would be
 * @throws LifeboatError HOST_UNREACHABLE when SSM will not take it for this host, SSM_FAILED, S3_…
 */
export async function startOne(ports: StartPorts, wanted: RunRequest, absence?: Absence): Promise<Started> {
  const { state } = ports;
  const { runId, storage } = wanted;
  requireFits(wanted);
  const isNew = await state.putOnce(runKey(storage.statePrefix, runId, 'request'), wanted);
  if (isNew) return await sendAndRecord(ports, wanted, absence);
  const known = await readRecord(ports, wanted);
  if (known) return known;
  // The words that were written first count, its deadline above all.
  const request = await readRequest(ports, wanted);
  await refuseIfReported(ports, request);
  const commandId = await findSent(ports, request);
  return commandId === undefined
    ? await sendAndRecord(ports, request, absence)
    : await record(ports, request, { commandId, before: true });
}

/** Beyond it the document refuses the parameter, and every retry meets the same refusal. */
function requireFits(request: RunRequest): void {
  const encoded = encodeRequest(request);
  if (new RegExp(ENCODED_REQUEST_PATTERN).test(encoded)) return;
  throw new LifeboatError(
    'SETTINGS_INVALID',
    `The request for ${request.series.app} has ${encoded.length} characters`,
    {
      hint: 'SSM takes 8192: shorten the series’ names and paths in lifeboat.config.json, and deploy it.',
    },
  );
}

async function readRecord({ state }: StartPorts, request: RunRequest): Promise<Started | undefined> {
  const json = await state.read(runKey(request.storage.statePrefix, request.runId, 'command'));
  const found = json === undefined ? undefined : parseCommandRecord(json);
  if (!found) return undefined;
  if (found.commandId === null) throw unreachable(request, found.refused, true);
  return { runId: request.runId, commandId: found.commandId, before: true };
}

async function readRequest({ state }: StartPorts, wanted: RunRequest): Promise<RunRequest> {
  const json = await state.read(runKey(wanted.storage.statePrefix, wanted.runId, 'request'));
  return json === undefined ? wanted : parseRequest(json);
}

/** People were told that it is lost: a command now would make a run that nobody is told of. */
async function refuseIfReported({ state }: StartPorts, { runId, storage }: RunRequest): Promise<void> {
  if ((await state.read(runKey(storage.statePrefix, runId, 'report'))) === undefined) return;
  throw new LifeboatError(
    'RUN_REPEATED',
    `The run ${runId} was reported as over before its command was sent`,
  );
}

async function findSent(
  { commands, document }: StartPorts,
  request: RunRequest,
): Promise<string | undefined> {
  const since = new Date(new Date(request.requestedAt).getTime() - LOOK_BACK_MS);
  return await commands.find({ runId: request.runId, instanceId: request.instanceId, document, since });
}

async function sendAndRecord(
  ports: StartPorts,
  request: RunRequest,
  absence: Absence | undefined,
): Promise<Started> {
  const sent = absence ? { refused: absence } : await sendPatiently(ports, request);
  if (!('refused' in sent)) return await record(ports, request, sent);
  const value: CommandRecord = { commandId: null, sentAt: ports.clock.now().toISOString(), ...sent };
  await ports.state.putOnce(runKey(request.storage.statePrefix, request.runId, 'command'), value);
  throw unreachable(request, sent.refused, false);
}

async function record(
  { state, clock }: StartPorts,
  { runId, storage }: RunRequest,
  { commandId, before }: Omit<Started, 'runId'>,
): Promise<Started> {
  const value: CommandRecord = { commandId, sentAt: clock.now().toISOString() };
  // Whoever else resumed the same run wrote the same.
  await state.putOnce(runKey(storage.statePrefix, runId, 'command'), value);
  return { runId, commandId, before };
}

type Sent = Omit<Started, 'runId'> | { readonly refused: NonNullable<CommandRecord['refused']> };

/** Full jitter: many workers that were throttled together do not come back together. */
async function sendPatiently(ports: StartPorts, request: RunRequest): Promise<Sent> {
  const { commands, clock, document, deliverySeconds, logGroup } = ports;
  const { instanceId, runId } = request;
  const command = { document, instanceId, runId, deliverySeconds, logGroup };
  let unclear = 0;
  for (let attempt = 0; ; attempt += 1) {
    requireTime(ports, request);
    try {
      const commandId = await commands.send({ ...command, encodedRequest: encodeRequest(request) });
      return { commandId, before: false };
    } catch (error) {
      if (isHostsFault(error)) return { refused: describeRefusal(error) };
      const throttled = isThrottling(error);
      if (!throttled && (!isUnclear(error) || (unclear += 1) === UNCLEAR_TRIES))
        throw serviceError(error, `ssm:SendCommand on ${instanceId}`);
      const longest = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** attempt);
      await clock.sleep(Math.round(longest * clock.random()));
      const sent = throttled ? undefined : await findSent(ports, request);
      if (sent !== undefined) return { commandId: sent, before: false };
    }
  }
}

function requireTime({ remainingMs }: StartPorts, { runId, instanceId }: RunRequest): void {
  if (remainingMs() > RESERVE_MS) return;
  throw new LifeboatError('SSM_FAILED', `No time was left to start ${runId} on ${instanceId}`, {
    hint: 'Invoked by the schedule, the function is run again by itself and goes on where it stopped.',
  });
}

/** Answers that another try will not change: there is no such host for SSM, or it is stopped. */
function isHostsFault(error: unknown): boolean {
  return ['InvalidInstanceId', 'UnsupportedPlatformType'].includes(errorName(error));
}

function describeRefusal(error: unknown): NonNullable<CommandRecord['refused']> {
  const { message } = error as Error;
  return { name: errorName(error), message: (message || 'no message').slice(0, 300) };
}

/** @param known it was told before: whoever retries need not fail once more because of it */
function unreachable(
  { instanceId, runId }: RunRequest,
  refused: CommandRecord['refused'],
  known: boolean,
): LifeboatError {
  const words = refused ? ` (${refused.name}: ${refused.message})` : '';
  return new HostUnreachable(
    `SSM takes no command for ${instanceId}: it is stopped, gone or not managed${words}; run ${runId}`,
    known,
  );
}

export class HostUnreachable extends LifeboatError {
  readonly known: boolean;
  constructor(message: string, known: boolean) {
    super('HOST_UNREACHABLE', message);
    this.known = known;
  }
}
