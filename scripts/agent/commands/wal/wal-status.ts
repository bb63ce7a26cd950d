import { newestUsable, separateClusters, type Base } from '../../../../lib/domain/base/base-catalog.ts';
import { asLifeboatError, type LifeboatError } from '../../../../lib/domain/errors.ts';
import { followWal, pathOf, timelinesOf, type WalArchive } from '../../../../lib/domain/wal/archive.ts';
import { pitrAppPrefix, type WalSeries } from '../../../../lib/domain/wal/keys.ts';
import type { Lsn } from '../../../../lib/domain/wal/lsn.ts';
import { dateOfPgTime, parsePgTime } from '../../../../lib/domain/wal/pg-time.ts';
import { DEFAULT_SEGMENT_SIZE } from '../../../../lib/domain/wal/segment.ts';
import type { RestorablePoint } from '../../../../lib/domain/wal/known-commits.ts';
import type { LastCommit } from '../../../../lib/domain/wal/wal-metadata.ts';
import { lastWritten, restorableWindow, type RestorableWindow } from '../../../../lib/domain/wal/window.ts';
import { readBases } from '../../catalog/bases.ts';
import type { Clock } from '../../ports/host.ts';
import type { WalServer, WalServerFacts } from '../../ports/wal.ts';
import { judgeWal, noBase } from './wal-status-judgement.ts';
import { lastCommitOf, readLastCommits, readWalArchive, type WalStores } from '../../catalog/wal.ts';

export interface WalStatusPorts {
  readonly stores: WalStores;
  readonly server: WalServer;
  readonly clock: Clock;
}

export interface WalStatusRequest {
  readonly app: string;
  readonly slot: string;
  readonly maxLagMs: number;
}

export interface WalStatusResult {
  readonly app: string;
  /** `undefined`: neither the server nor S3 tells of any cluster. */
  readonly systemIdentifier: string | undefined;
  readonly slotName: string;
  /** `undefined`: PostgreSQL did not answer. */
  readonly server: WalServerFacts | undefined;
  /** End of the WAL that S3 holds without a gap; `undefined`: it holds none, or nobody knows from where to look. */
  readonly held: Lsn | undefined;
  /** The last commit before it. */
  readonly lastCommit: LastCommit | undefined;
  /** What S3 does not hold yet; `undefined`: not known. */
  readonly lag: { readonly bytes: number; readonly milliseconds: number } | undefined;
  readonly window: RestorableWindow | undefined;
  /** Why a monitoring check should page; what cannot be read comes first. */
  readonly failure: LifeboatError | undefined;
}

/** `lifeboat wal status`: how far S3 is behind, what keeps the rest, and which instants can be restored. */
export async function walStatus(ports: WalStatusPorts, request: WalStatusRequest): Promise<WalStatusResult> {
  const { app, slot } = request;
  const [asked, bases] = await Promise.all([ask(ports.server, slot), readBases(app, ports.stores.backups)]);
  const { facts } = asked;
  const systemIdentifier = facts?.systemIdentifier ?? (await newestCluster(ports.stores, app, bases));
  const common = { app, slotName: slot, server: facts, systemIdentifier };
  if (systemIdentifier === undefined) {
    return { ...common, ...NOTHING, failure: asked.failure ?? noBase(app) };
  }
  const stored = await measureStored(ports, { app, systemIdentifier }, facts, bases);
  const found = { ...common, ...stored };
  return { ...found, failure: asked.failure ?? judgeWal(found, request) };
}

type Stored = Pick<WalStatusResult, 'held' | 'lastCommit' | 'lag' | 'window'>;

async function measureStored(
  { stores }: WalStatusPorts,
  series: WalSeries,
  facts: WalServerFacts | undefined,
  bases: readonly Base[],
): Promise<Stored> {
  const own = bases.filter((base) => base.series.systemIdentifier === series.systemIdentifier);
  const segmentSize = facts?.segmentSize ?? newestUsable(own)?.manifest.server.walSegmentSize;
  const archive = await readWalArchive(stores, series, segmentSize ?? DEFAULT_SEGMENT_SIZE);
  const window = await readLastCommits(stores, restorableWindow({ archive, bases: own }));
  const tail = readTail(archive, window, facts);
  if (!tail) return { ...NOTHING, window };
  const lastCommit = await findLastCommit(stores, tail.keys);
  return { held: tail.end, lastCommit, lag: facts && measureLag(facts, tail, lastCommit), window };
}

const NOTHING = { held: undefined, lastCommit: undefined, lag: undefined, window: undefined } as const;

/** S3 tells its part also while PostgreSQL is away, which is the verdict then. */
async function ask(
  server: WalServer,
  slot: string,
): Promise<{ facts: WalServerFacts | undefined; failure: LifeboatError | undefined }> {
  try {
    return { facts: await server.facts(slot), failure: undefined };
  } catch (error) {
    return { facts: undefined, failure: asLifeboatError(error) };
  }
}

async function newestCluster(
  { backups }: WalStores,
  app: string,
  bases: readonly Base[],
): Promise<string | undefined> {
  const newest = separateClusters(bases)[0]?.systemIdentifier;
  if (newest !== undefined) return newest;
  for await (const folder of backups.folders(pitrAppPrefix(app)))
    if (/^[1-9]\d{0,19}$/.test(folder)) return folder;
  return undefined;
}

interface Tail {
  readonly end: Lsn;
  /** Of the objects at the end, newest first. */
  readonly keys: readonly string[];
  /** The last commit that the window knows of, maybe of a segment further back. */
  readonly latest: RestorablePoint | undefined;
}

/** The WAL at the end of what S3 holds: from where the slot is on, since all before was confirmed, or of the window. */
function readTail(
  archive: WalArchive,
  window: RestorableWindow,
  server: WalServerFacts | undefined,
): Tail | undefined {
  const timeline = timelineInUse(archive, window, server?.timeline);
  const line = window.timelines.find((each) => each.timeline === timeline) ?? lastWritten(window.timelines);
  const stretch = line?.stretches.at(-1);
  const from = server?.slot?.restartLsn ?? stretch?.walEnd;
  if (timeline === undefined || from === undefined) return undefined;
  // One byte earlier: at a border between two segments the one that ends there tells that it is held.
  const files = [...followWal(archive, pathOf(archive, timeline), from > 0n ? from - 1n : from)];
  const last = files.at(-1) ?? stretch?.tail.last;
  if (!last) return undefined;
  const keys = [last, ...files.toReversed()].flatMap((each) => each.files.toReversed().map(({ key }) => key));
  return { end: last.end, keys: [...new Set(keys)], latest: stretch?.latest };
}

/** The server's own, which need not be the newest: a recovered cluster may have been put aside again. */
function timelineInUse(
  archive: WalArchive,
  window: RestorableWindow,
  own: number | undefined,
): number | undefined {
  const stored = timelinesOf(archive);
  const newest = stored.at(-1);
  if (own !== undefined && stored.includes(own)) return own;
  // One of which nothing can be recovered yet is streamed all the same.
  const isRestorable = window.timelines.some(({ timeline }) => timeline === newest);
  return isRestorable ? lastWritten(window.timelines)?.timeline : newest;
}

const MOST_ASKED = 200;

async function findLastCommit(stores: WalStores, keys: readonly string[]): Promise<LastCommit | undefined> {
  for (const key of keys.slice(0, MOST_ASKED)) {
    const found = await lastCommitOf(stores, key);
    if (found) return found;
  }
  return undefined;
}

/** In time: the age of the last commit that S3 holds, unless it holds all there is. */
function measureLag(
  { flushLsn, now, slot }: WalServerFacts,
  { end, latest }: Tail,
  lastCommit: LastCommit | undefined,
): WalStatusResult['lag'] {
  if (end >= flushLsn) return { bytes: 0, milliseconds: 0 };
  const bytes = Number(flushLsn - end);
  // Behind a slot's position lies all that was written lately; without one only the very last object was asked.
  const time = (lastCommit ?? (slot ? undefined : latest))?.time;
  if (time === undefined) return undefined;
  const age = now.getTime() - dateOfPgTime(parsePgTime(time)).getTime();
  return { bytes, milliseconds: Math.max(0, age) };
}
