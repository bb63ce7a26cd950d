import { asLifeboatError, LifeboatError } from '../../../../lib/domain/errors.ts';
import type { WalArchive } from '../../../../lib/domain/wal/archive.ts';
import { parsePitrKey, pitrAppPrefix } from '../../../../lib/domain/wal/keys.ts';
import { formatLsn, parseLsn, type Lsn } from '../../../../lib/domain/wal/lsn.ts';
import { parseSegmentName, segmentStart } from '../../../../lib/domain/wal/segment.ts';
import { readBases } from '../../catalog/bases.ts';
import type { Verdicts } from '../../catalog/verdicts.ts';
import type { Clock, Log, Progress } from '../../ports/host.ts';
import type { WalReader } from '../../ports/wal.ts';
import { readWalArchive, segmentSizeInWal, type WalStores } from '../../catalog/wal.ts';

export interface WalVerifyPorts {
  readonly stores: WalStores;
  readonly reader: WalReader;
  readonly verdicts: Verdicts;
  readonly clock: Clock;
  readonly log: Log;
  readonly progress: Progress;
  readonly interrupted: AbortSignal;
}

export interface WalVerifyResult {
  readonly clusters: readonly VerifiedCluster[];
  readonly durationMs: number;
  /** CORRUPT when anything is damaged or missing, or why something could not be read. */
  readonly failure: LifeboatError | undefined;
}

interface VerifiedCluster {
  readonly systemIdentifier: string;
  readonly segments: number;
  readonly partials: number;
  readonly pieces: number;
  /** Before compression. */
  readonly bytes: number;
  readonly records: number;
  /** Stretches that are missing and on record: known before. */
  readonly holes: number;
  readonly problems: readonly string[];
}

/** Objects that are being read at a time, and the bytes of WAL that they may hold. */
const READ_AHEAD = 4;
const READ_AHEAD_BYTES = 64 * 1024 * 1024;

/**
 * `lifeboat wal verify`: reads every WAL object again, compares it with its metadata, and looks at the WAL in it as recovery
 * would, record after record. Which complete segments are damaged is written down in S3, also where it does not come to its end.
 * @throws LifeboatError BACKUP_NOT_FOUND, S3_… when something cannot be listed or read
 */
export async function verifyWal(
  ports: WalVerifyPorts,
  { app, runId }: { readonly app: string; readonly runId: string },
): Promise<WalVerifyResult> {
  const started = ports.clock.monotonic();
  const clusters: VerifiedCluster[] = [];
  for await (const folder of ports.stores.backups.folders(pitrAppPrefix(app))) {
    if (/^[1-9]\d{0,19}$/.test(folder)) clusters.push(await verifyCluster(ports, app, folder, runId));
  }
  if (clusters.every(({ segments, partials, pieces }) => segments + partials + pieces === 0)) {
    throw new LifeboatError('BACKUP_NOT_FOUND', `There is no WAL of ${app} to verify`, {
      hint: 'Run: lifeboat wal stream',
    });
  }
  return { clusters, durationMs: ports.clock.monotonic() - started, failure: summarize(clusters) };
}

async function verifyCluster(
  ports: WalVerifyPorts,
  app: string,
  systemIdentifier: string,
  runId: string,
): Promise<VerifiedCluster> {
  const series = { app, systemIdentifier };
  const archive = await readWalArchive(
    ports.stores,
    series,
    await segmentSizeOf(ports, app, systemIdentifier),
  );
  const runs = findRuns(archive);
  const totals = { bytes: 0, records: 0 };
  const damaged = new Map<string, string>();
  const problems = runs.flatMap((run, index) => findGap(archive, runs[index - 1], run));
  ports.progress.start(
    'Reading WAL',
    runs.reduce((sum, { objects }) => sum + objects.length, 0),
  );
  let finished = false;
  try {
    for (const run of runs) problems.push(...(await verifyRun(ports, archive, run, { totals, damaged })));
    finished = true;
  } finally {
    ports.progress.stop();
    // What is damaged is known although the rest could not be read; of the rest nothing is.
    const looked = (object: string): boolean => finished && archive.segments.has(object);
    if (finished || damaged.size > 0) await ports.verdicts.settle({ series, runId, damaged, looked });
  }
  return {
    systemIdentifier,
    segments: archive.segments.size,
    partials: archive.partials.size,
    pieces: [...archive.pieces.values()].reduce((sum, pieces) => sum + pieces.length, 0),
    ...totals,
    holes: archive.holes.length,
    problems,
  };
}

/** A base backup's manifest tells it, or else a segment does. */
async function segmentSizeOf(
  { stores }: WalVerifyPorts,
  app: string,
  systemIdentifier: string,
): Promise<number> {
  const bases = await readBases(app, stores.backups);
  const own = bases.find(({ series, manifest }) => series.systemIdentifier === systemIdentifier && manifest);
  if (own) return own.manifest!.server.walSegmentSize;
  return await segmentSizeInWal(stores, { app, systemIdentifier });
}

interface WalObject {
  readonly key: string;
  readonly from: Lsn;
}

/** WAL of one timeline that follows on without a gap. */
interface Run {
  readonly timeline: number;
  readonly from: Lsn;
  to: Lsn;
  readonly objects: WalObject[];
}

/** Segments in order; a partial one or the journal's pieces where there is no whole one. */
function findRuns({ segments, partials, pieces, segmentSize }: WalArchive): Run[] {
  const names = [...new Set([...segments.keys(), ...partials.keys(), ...pieces.keys()])].toSorted();
  const runs: Run[] = [];
  for (const name of names) {
    const { timeline, start } = parseSegmentName(name, segmentSize)!;
    const end = start + BigInt(segmentSize);
    const whole = segments.get(name) ?? partials.get(name);
    const objects = whole
      ? [{ key: whole.key, from: start, to: segments.has(name) ? end : start + 1n }]
      : pieces.get(name)!.map(({ from, to, file }) => ({ key: file.key, from, to }));
    const run = continued(runs.at(-1), timeline, start);
    if (run !== runs.at(-1)) runs.push(run);
    for (const { key, from, to } of objects) {
      run.objects.push({ key, from });
      if (to > run.to) run.to = to;
    }
  }
  return runs;
}

function continued(run: Run | undefined, timeline: number, start: Lsn): Run {
  if (run && run.timeline === timeline && run.to === start) return run;
  return { timeline, from: start, to: start, objects: [] };
}

function findGap({ holes, segmentSize }: WalArchive, before: Run | undefined, run: Run): string[] {
  if (!before || before.timeline !== run.timeline) return [];
  const known = holes.some(({ timeline, from, to }) => {
    const [first, last] = [segmentStart(parseLsn(from), segmentSize), parseLsn(to)];
    return timeline === run.timeline && first <= before.to && last >= run.from;
  });
  if (known) return [];
  return [
    `WAL of timeline ${run.timeline} is missing from ${formatLsn(before.to)} to ${formatLsn(run.from)}`,
  ];
}

interface RunFindings {
  readonly totals: { bytes: number; records: number };
  /** By name of a complete segment. */
  readonly damaged: Map<string, string>;
}

/** @returns what is wrong; after that the rest of the run is read without looking at its records */
async function verifyRun(
  ports: WalVerifyPorts,
  { segmentSize, series }: WalArchive,
  { from, objects }: Run,
  { totals, damaged }: RunFindings,
): Promise<string[]> {
  const { reader, log, progress, interrupted } = ports;
  const problems: string[] = [];
  const tell = ({ key }: WalObject, problem: string): void => {
    problems.push(problem);
    // It may take hours, and may not come to its end.
    log.warn(problem);
    const object = parsePitrKey(key);
    if (object?.role === 'wal') damaged.set(object.segment, problem);
  };
  let check = reader.check(from, segmentSize, series.systemIdentifier);
  let position = from;
  let broken = false;
  for await (const { object, bytes, failure } of readAhead(reader, objects, segmentSize)) {
    interrupted.throwIfAborted();
    if (!bytes) {
      tell(object, failure!.message);
      broken = true;
      continue;
    }
    totals.bytes += bytes.length;
    // Behind something that is damaged the records are looked at again from the next segment's start.
    const begins = object.from === segmentStart(object.from, segmentSize);
    if (broken && begins) {
      totals.records += check.records;
      check = reader.check(object.from, segmentSize, series.systemIdentifier);
      [position, broken] = [object.from, false];
    }
    const problem = broken ? undefined : push(check, bytes, Number(position - object.from), object.key);
    if (problem !== undefined) {
      tell(object, problem);
      broken = true;
    }
    const end = object.from + BigInt(bytes.length);
    if (end > position) position = end;
    reader.release(bytes);
    progress.update(0, object.key);
  }
  totals.records += check.records;
  return problems;
}

/** @param known bytes of the object that an overlapping one held already */
function push(
  check: ReturnType<WalReader['check']>,
  bytes: Buffer,
  known: number,
  key: string,
): string | undefined {
  if (known < 0) return `${key}: WAL is missing before it`;
  try {
    check.push(bytes.subarray(known));
    return undefined;
  } catch (error) {
    return `${key}: ${asLifeboatError(error).message}`;
  }
}

interface ReadObject {
  readonly object: WalObject;
  readonly bytes: Buffer | undefined;
  readonly failure: LifeboatError | undefined;
}

/** In order, several at once. What is damaged is told and does not end it; S3 being away does. */
async function* readAhead(
  reader: WalReader,
  objects: readonly WalObject[],
  segmentSize: number,
): AsyncGenerator<ReadObject> {
  const ahead = Math.max(1, Math.min(READ_AHEAD, Math.floor(READ_AHEAD_BYTES / segmentSize)));
  const waiting = [...objects];
  const underWay: Promise<ReadObject>[] = [];
  const next = (): void => {
    const object = waiting.shift();
    if (!object) return;
    const reading = readOne(reader, object);
    // Awaited in its turn; until then a failure must not count as unhandled.
    reading.catch(() => undefined);
    underWay.push(reading);
  };
  for (let count = 0; count < ahead; count += 1) next();
  for (let reading = underWay.shift(); reading; reading = underWay.shift()) {
    yield await reading;
    next();
  }
}

async function readOne(reader: WalReader, object: WalObject, again = true): Promise<ReadObject> {
  try {
    return { object, bytes: await reader.read(object.key), failure: undefined };
  } catch (error) {
    const failure = asLifeboatError(error);
    // This machine may have been short of memory, or have flipped the bit; others are told of what is called damaged.
    if (failure.code === 'CORRUPT' && again) return await readOne(reader, object, false);
    if (failure.code !== 'CORRUPT' && failure.code !== 'BACKUP_NOT_FOUND') throw failure;
    return { object, bytes: undefined, failure };
  }
}

function summarize(clusters: readonly VerifiedCluster[]): LifeboatError | undefined {
  const problems = clusters.flatMap((each) => each.problems);
  if (problems.length === 0) return undefined;
  const told = problems.slice(0, 20).join('\n');
  return new LifeboatError('CORRUPT', `${problems.length} problems were found in the WAL:\n${told}`, {
    hint: 'Recovery cannot pass what is damaged or missing. Make a new base backup now: lifeboat backup --kind base',
  });
}
