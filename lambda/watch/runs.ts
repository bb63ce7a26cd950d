import { asLifeboatError, LifeboatError } from '../../lib/domain/errors.ts';
import { isInstanceId } from '../../lib/domain/start/places.ts';
import { runKey } from '../../lib/domain/run/run-keys.ts';
import type { RunRequest } from '../../lib/domain/run/request.ts';
import { parseCommandRecord, type CommandRecord } from '../../lib/domain/start/command-record.ts';
import {
  decideRun,
  groupRuns,
  isOver,
  isOpen,
  isOverdueToRead,
  watchedDays,
  type SeenRun,
} from '../../lib/domain/watch/run-watch.ts';
import { forEachOf } from '../pool.ts';
import {
  openRequest,
  publishAbandoned,
  readResult,
  report,
  reportUnreadable,
  type ReportingPorts,
} from '../reporting.ts';

/** What a backup series' runs of the last days say. */
export interface RunsSeen {
  /** By app: the shares of runs that are at work. */
  readonly shares: ReadonlyMap<string, readonly number[]>;
  /** By app and host, as `backupsAskedFor` names them. */
  readonly asked: ReadonlyMap<string, AskedBackup>;
  readonly problems: readonly LifeboatError[];
}

interface AskedBackup {
  readonly app: string;
  readonly instanceId: string;
  /** The first of the days that are looked at. */
  readonly firstAskedAt: Date;
  /** When the host last wrote a result: its backups are then worth listing again. */
  readonly lastResultAt: Date | undefined;
}

/** Requests and commands are written once, so what was read stays true; kept between invocations, and forgotten with age. */
export interface RunMemory {
  /** With what cannot be read, and why. */
  readonly requests: Map<string, RunRequest | LifeboatError>;
  readonly commands: Map<string, CommandRecord>;
}

export function emptyRunMemory(): RunMemory {
  return { requests: new Map(), commands: new Map() };
}

const AT_ONCE = 16;

export type WatchPorts = ReportingPorts & { readonly runMinutes: number };

/** Looks at every run of the last days and reports what no event reported. */
export async function watchRuns(ports: WatchPorts, memory: RunMemory): Promise<RunsSeen> {
  const runs = await listRuns(ports);
  forgetOthers(memory, runs);
  const shares = new Map<string, number[]>();
  const asked = new Map<string, AskedBackup>();
  const problems: LifeboatError[] = [];
  await forEachOf(runs, AT_ONCE, async (run) => {
    try {
      const request = await recall(memory.requests, run.runId, () => openRequest(ports, run.runId));
      if (!request) return;
      if (request instanceof LifeboatError) {
        if (isOverdueToRead(run, ports.clock.now())) await reportUnreadable(ports, run.runId, request);
        return;
      }
      noteAsked(asked, request, run);
      const share = isOpen(run) ? await attend(ports, memory, run, request) : undefined;
      if (share !== undefined)
        shares.set(request.series.app, [...(shares.get(request.series.app) ?? []), share]);
    } catch (error) {
      problems.push(asLifeboatError(error));
      ports.log.error('A run could not be looked after', {
        runId: run.runId,
        error: problems.at(-1)!.message,
      });
    }
  });
  return { shares, asked, problems };
}

async function listRuns({ state, statePrefix, clock }: WatchPorts): Promise<SeenRun[]> {
  const days = await forEachOf(watchedDays(statePrefix, clock.now()), AT_ONCE, async (day) => {
    const objects: { key: string; modifiedAt: Date }[] = [];
    for await (const { key, modifiedAt } of state.list(day)) objects.push({ key, modifiedAt });
    return objects;
  });
  return groupRuns(statePrefix, days.flat()).filter(({ written }) => written.request);
}

function forgetOthers({ requests, commands }: RunMemory, runs: readonly SeenRun[]): void {
  const known = new Set(runs.map(({ runId }) => runId));
  for (const memory of [requests, commands]) {
    for (const runId of memory.keys()) if (!known.has(runId)) memory.delete(runId);
  }
}

async function recall<Value>(
  memory: Map<string, Value>,
  runId: string,
  read: () => Promise<Value | undefined>,
): Promise<Value | undefined> {
  const known = memory.get(runId);
  if (known !== undefined) return known;
  const value = await read();
  if (value !== undefined) memory.set(runId, value);
  return value;
}

/** As one text, by which the watch finds a host's series again. */
export function backupsAskedFor(app: string, instanceId: string): string {
  return `${app} ${instanceId}`;
}

function noteAsked(asked: Map<string, AskedBackup>, request: RunRequest, { written }: SeenRun): void {
  const { operation, series, instanceId } = request;
  if (operation !== 'backup' || !isInstanceId(instanceId)) return;
  const name = backupsAskedFor(series.app, instanceId);
  const before = asked.get(name);
  const time = new Date(request.requestedAt);
  const firstAskedAt = before && before.firstAskedAt < time ? before.firstAskedAt : time;
  asked.set(name, {
    app: series.app,
    instanceId,
    firstAskedAt,
    lastResultAt: later(before?.lastResultAt, written.result),
  });
}

function later(one: Date | undefined, other: Date | undefined): Date | undefined {
  if (!one || !other) return one ?? other;
  return one > other ? one : other;
}

/** @returns the share of its time that is over, for a run at work */
async function attend(
  ports: WatchPorts,
  memory: RunMemory,
  run: SeenRun,
  request: RunRequest,
): Promise<number | undefined> {
  const { clock, runMinutes } = ports;
  const command =
    run.written.command && (await recall(memory.commands, run.runId, () => readCommand(ports, run)));
  const action = decideRun({ run, request, command, runMinutes }, clock.now());
  const commandId = command?.commandId ?? undefined;
  switch (action.do) {
    case 'nothing':
      return undefined;
    case 'wait':
      return action.share;
    case 'publish':
      await publishAbandoned(ports, run.runId);
      return undefined;
    case 'report refused':
      await report(ports, request, { kind: 'refused', refused: action.refused }, commandId);
      return undefined;
    case 'report lost':
      await report(ports, request, { kind: 'lost', commandSent: action.commandSent }, commandId);
      return undefined;
    case 'report result':
      return await reportResult(ports, run, request, commandId);
  }
}

async function reportResult(
  ports: WatchPorts,
  run: SeenRun,
  request: RunRequest,
  commandId: string | undefined,
): Promise<undefined> {
  const { result, doubts } = await readResult(ports, request);
  if (result) await report(ports, request, { kind: 'result', result }, commandId);
  // What lies there is no result of this run's: the run counts as silent until its time is over.
  else if (isOver(request, run.written.command, ports.clock.now()))
    await report(ports, request, { kind: 'lost', commandSent: commandId !== undefined }, commandId, doubts);
}

async function readCommand(
  { state, statePrefix }: WatchPorts,
  { runId }: SeenRun,
): Promise<CommandRecord | undefined> {
  const json = await state.read(runKey(statePrefix, runId, 'command'));
  return json === undefined ? undefined : parseCommandRecord(json);
}
