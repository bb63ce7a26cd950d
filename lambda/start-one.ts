import { LifeboatError } from '../lib/domain/errors.ts';
import { encodeRequest, parseRequest, type RunRequest } from '../lib/domain/run/request.ts';
import { runKey } from '../lib/domain/run/run-keys.ts';
import { parseCommandRecord, type CommandRecord } from '../lib/domain/start/command-record.ts';
import { codeOfRefusal, hintOfRefusal, isHostsFault, type Refusal } from '../lib/domain/start/refusal.ts';
import { requireAcceptable } from '../lib/domain/start/request.ts';
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
/** Of a refusal that may have been too early: rights that were just deployed hold some seconds later. */
const REFUSED_TRIES = 4;
const REFUSED_PAUSE_MS = 1_000;
/** SSM's clock and ours may differ; the comment tells our command from others. */
const LOOK_BACK_MS = 5 * 60 * 1000;

/**
 * The request is written before the command is sent, and the command's id after it; whoever finds the first without the
 * second asks SSM whether a command went out, and sends it only when none did.
 *
 * @param absence why no command can be sent to the host, where that is known: it is written down as SSM's refusal would be
 * @throws CommandRefused when SSM will not take it, which is written down in the command's place: the watch tells of it
 * @throws LifeboatError SETTINGS_INVALID before anything was written, SSM_FAILED, S3_…
 */
export async function startOne(ports: StartPorts, wanted: RunRequest, absence?: Absence): Promise<Started> {
  const { state } = ports;
  const { runId, storage } = wanted;
  requireAcceptable(wanted);
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

async function readRecord({ state }: StartPorts, request: RunRequest): Promise<Started | undefined> {
  const json = await state.read(commandKey(request));
  const found = json === undefined ? undefined : parseCommandRecord(json);
  if (!found) return undefined;
  if (found.commandId === null) throw new CommandRefused(request, found.refused ?? NO_REASON);
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
  const sentAt = ports.clock.now().toISOString();
  if (!('refused' in sent)) return await record(ports, request, sent);
  const value: CommandRecord = { commandId: null, sentAt, ...sent };
  const isFirst = await ports.state.putOnce(commandKey(request), value);
  // Another invocation may have had its command taken at the same moment.
  const known = isFirst ? undefined : await readRecord(ports, request);
  if (known) return known;
  throw new CommandRefused(request, sent.refused);
}

async function record(
  { state, clock }: StartPorts,
  request: RunRequest,
  { commandId, before }: Omit<Started, 'runId'>,
): Promise<Started> {
  const value: CommandRecord = { commandId, sentAt: clock.now().toISOString() };
  // Whoever else resumed the same run wrote the same.
  await state.putOnce(commandKey(request), value);
  return { runId: request.runId, commandId, before };
}

function commandKey({ storage, runId }: RunRequest): string {
  return runKey(storage.statePrefix, runId, 'command');
}

type Sent = Omit<Started, 'runId'> | { readonly refused: Refusal };

/** Full jitter: many workers that were throttled together do not come back together. */
async function sendPatiently(ports: StartPorts, request: RunRequest): Promise<Sent> {
  const { commands, clock, document, deliverySeconds, logGroup } = ports;
  const { instanceId, runId } = request;
  const command = { document, instanceId, runId, deliverySeconds, logGroup };
  let unclear = 0;
  let refusals = 0;
  for (let attempt = 0; ; attempt += 1) {
    requireTime(ports, request);
    try {
      const commandId = await commands.send({ ...command, encodedRequest: encodeRequest(request) });
      return { commandId, before: false };
    } catch (error) {
      const kind = kindOf(error);
      if (kind === 'refused' && (isHostsFault(errorName(error)) || (refusals += 1) === REFUSED_TRIES))
        return { refused: describeRefusal(error) };
      if (kind === 'unclear' && (unclear += 1) === UNCLEAR_TRIES)
        throw serviceError(error, `ssm:SendCommand on ${instanceId}`);
      const first = kind === 'refused' ? REFUSED_PAUSE_MS : FIRST_PAUSE_MS;
      const longest = Math.min(LONGEST_PAUSE_MS, first * 2 ** attempt);
      await clock.sleep(Math.round(longest * clock.random()));
      const sent = kind === 'unclear' ? await findSent(ports, request) : undefined;
      if (sent !== undefined) return { commandId: sent, before: false };
    }
  }
}

function kindOf(error: unknown): 'throttled' | 'unclear' | 'refused' {
  if (isThrottling(error)) return 'throttled';
  return isUnclear(error) ? 'unclear' : 'refused';
}

function requireTime({ remainingMs }: StartPorts, { runId, instanceId }: RunRequest): void {
  if (remainingMs() > RESERVE_MS) return;
  throw new LifeboatError('SSM_FAILED', `No time was left to start ${runId} on ${instanceId}`, {
    hint: 'Invoked by the schedule, the function is run again by itself and goes on where it stopped.',
  });
}

function describeRefusal(error: unknown): Refusal {
  const { message } = error as Error;
  return { name: errorName(error), message: (message || 'no message').slice(0, 300) };
}

const NO_REASON: Refusal = { name: 'Unknown', message: 'no message' };

/** Written down: whoever retries need not fail once more because of it. */
export class CommandRefused extends LifeboatError {
  constructor({ instanceId, runId }: RunRequest, refusal: Refusal) {
    const why = isHostsFault(refusal.name) ? ': it is stopped, gone or not managed' : '';
    super(
      codeOfRefusal(refusal),
      `SSM takes no command for ${instanceId}${why} (${refusal.name}: ${refusal.message}); run ${runId}`,
      { hint: hintOfRefusal(refusal) },
    );
  }
}
