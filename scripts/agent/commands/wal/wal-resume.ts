import type { Lsn } from '../../../../lib/domain/wal/lsn.ts';
import { segmentOnPath, type PathSegment } from '../../../../lib/domain/wal/path-segment.ts';
import { parseSegmentName, segmentStart } from '../../../../lib/domain/wal/segment.ts';
import type { TimelineStretch } from '../../../../lib/domain/wal/timeline.ts';
import type { HolePlace, SegmentPlace, WalArchive } from '../../ports/wal.ts';
import { MOST_NEIGHBOURS } from './wal-push.ts';
import { MOST_AHEAD } from './wal-receiver.ts';

/** Where streaming begins: a segment's start. */
export interface StreamStart {
  readonly timeline: number;
  readonly from: Lsn;
}

export interface ResumeInput {
  /** The way to the server's timeline. */
  readonly path: readonly TimelineStretch[];
  readonly segmentSize: number;
  /** Where the slot holds WAL from; `undefined`: nowhere. */
  readonly slotRestart: Lsn | undefined;
  /** How far the server's WAL was flushed. */
  readonly flushLsn: Lsn;
}

export interface ResumePoints {
  /** Where what S3 holds ends: what has to be streamed for there to be no hole. */
  readonly wanted: StreamStart;
  /** The earliest that the slot still promises. */
  readonly promised: StreamStart;
  /**
   * Start of the segment before, which S3 holds: received once more it shows whether the server is the one whose WAL that is.
   * `undefined`: there is none on the same timeline.
   */
  readonly compared: Lsn | undefined;
}

/**
 * No gap but a lost stretch lies further back than segments are stored ahead of a missing one; with the one before the gap,
 * and the one that a slot made anew is in.
 */
const LOOK_BACK = BigInt(Math.max(MOST_AHEAD, MOST_NEIGHBOURS) + 2);
/** Digits of a segment's name that are alike for 256 neighbours: what one listing is for. */
const BLOCK_DIGITS = 22;

/**
 * S3 knows where to go on: after the segments that it holds without a gap, on the way to the server's timeline. The slot tells
 * where to begin looking: all before it was confirmed once, that is, S3 had it. Only of one that was made anew nothing was
 * confirmed, and it begins at the last checkpoint, perhaps behind a gap that the old one would have kept from being lost.
 */
export async function findResumePoints(archive: WalArchive, input: ResumeInput): Promise<ResumePoints> {
  const { path, segmentSize, slotRestart, flushLsn } = input;
  const held = new HeldSegments(archive, path, segmentSize);
  const holes = (await archive.holes()).filter((hole) => isOnPath(path, hole));
  const slotStart = segmentStart(slotRestart ?? flushLsn, segmentSize);
  const promised = { timeline: segmentOnPath(path, slotStart, segmentSize).timeline, from: slotStart };
  const known = slotRestart !== undefined && (await isContinued(held, holes, slotStart));
  const found = known ? await lookBack(held, holes, slotStart) : await findOrigin(archive, input);
  if (found === undefined) return { wanted: promised, promised, compared: undefined };
  // What the slot holds from before anything that S3 has was never confirmed.
  const origin = slotRestart !== undefined && slotStart < found ? slotStart : found;
  const wanted = await walk(held, holes, origin);
  return { wanted, promised, compared: await findCompared(held, wanted) };
}

async function findCompared(held: HeldSegments, { timeline, from }: StreamStart): Promise<Lsn | undefined> {
  if (from === 0n) return undefined;
  const before = held.at(from - 1n);
  return before.timeline === timeline && (await held.has(before)) ? before.start : undefined;
}

/** A hole of a branch that was left before it means nothing to this one. */
export function isOnPath(path: readonly TimelineStretch[], { timeline, from }: HolePlace): boolean {
  return path.some((each) => each.timeline === timeline && (each.to === undefined || from < each.to));
}

/** Whether S3 holds what comes just before, so that nothing much older needs to be looked at. */
async function isContinued(held: HeldSegments, holes: readonly HolePlace[], start: Lsn): Promise<boolean> {
  if (holes.some(({ to }) => to === start)) return true;
  return start > 0n && (await held.has(held.at(start - 1n)));
}

/**
 * The earliest of the segments shortly before `start` that S3 holds, all or pieces of it. A timeline is stored to its end before
 * the next one begins, which begins with its first segment: older ones are of no interest, nor is what lies before a hole on record.
 */
async function lookBack(held: HeldSegments, holes: readonly HolePlace[], start: Lsn): Promise<Lsn> {
  const { timeline } = held.at(start);
  let [origin, at] = [start, start];
  for (let count = 0n; count < LOOK_BACK && at > 0n; count += 1n) {
    const segment = held.at(at - 1n);
    if (segment.timeline !== timeline) break;
    if (findHole(holes, segment)) return at;
    const has = await held.has(segment);
    if (segment.left) return has ? origin : segment.start;
    if (has || (await held.isBegun(segment))) origin = segment.start;
    at = segment.start;
  }
  return origin;
}

/** A hole begins where the journal ends, in the midst of a segment. */
function findHole(holes: readonly HolePlace[], { start, end }: PathSegment): HolePlace | undefined {
  return holes.find(({ from, to }) => from < end && to > start);
}

/**
 * Without a slot that tells, the newest segments of the way are looked through for gaps. The first of them may be the one that is
 * missing: pieces of it tell that it was begun, or the place where its timeline begins does.
 */
async function findOrigin(archive: WalArchive, { path, segmentSize }: ResumeInput): Promise<Lsn | undefined> {
  const size = BigInt(segmentSize);
  for (const stretch of path.toReversed()) {
    const [names, begun] = await Promise.all([
      archive.segments(stretch.timeline),
      archive.journalled(stretch.timeline),
    ]);
    const starts = [...names, ...begun]
      .flatMap((name) => parseSegmentName(name, segmentSize)?.start ?? [])
      .filter((start) => start + size > stretch.from && (stretch.to === undefined || start < stretch.to));
    const newest = max(starts);
    if (newest === undefined) continue;
    if (stretch.from > 0n) starts.push(segmentStart(stretch.from, segmentSize));
    return min(starts.filter((start) => start >= newest - LOOK_BACK * size));
  }
  return undefined;
}

function max(starts: readonly Lsn[]): Lsn | undefined {
  return starts.reduce<Lsn | undefined>(
    (most, each) => (most === undefined || each > most ? each : most),
    undefined,
  );
}

function min(starts: readonly Lsn[]): Lsn | undefined {
  return starts.reduce<Lsn | undefined>(
    (least, each) => (least === undefined || each < least ? each : least),
    undefined,
  );
}

async function walk(held: HeldSegments, holes: readonly HolePlace[], origin: Lsn): Promise<StreamStart> {
  for (let lsn = origin; ;) {
    const segment = held.at(lsn);
    const { left } = segment;
    const has = await held.has(segment);
    const hole = has ? undefined : findHole(holes, segment);
    if (hole) {
      lsn = hole.to;
      continue;
    }
    if (left && !(await held.hasLeft(left))) return { timeline: left.timeline, from: segment.start };
    if (!has) return { timeline: segment.timeline, from: segment.start };
    lsn = segment.end;
  }
}

/** Asks S3 for a few hundred names at a time. */
class HeldSegments {
  readonly #archive: WalArchive;
  readonly #path: readonly TimelineStretch[];
  readonly #segmentSize: number;
  readonly #blocks = new Map<string, Promise<Set<string>>>();
  readonly #begun = new Map<number, Promise<Set<string>>>();

  constructor(archive: WalArchive, path: readonly TimelineStretch[], segmentSize: number) {
    this.#archive = archive;
    this.#path = path;
    this.#segmentSize = segmentSize;
  }

  at(lsn: Lsn): PathSegment {
    return segmentOnPath(this.#path, lsn, this.#segmentSize);
  }

  async has({ timeline, name }: { readonly timeline: number; readonly name: string }): Promise<boolean> {
    const beginning = name.slice(0, BLOCK_DIGITS);
    let block = this.#blocks.get(beginning);
    if (!block) {
      block = this.#archive.segments(timeline, beginning);
      this.#blocks.set(beginning, block);
    }
    return (await block).has(name);
  }

  /** Whether the journal has pieces of it. */
  async isBegun({ timeline, name }: { readonly timeline: number; readonly name: string }): Promise<boolean> {
    let begun = this.#begun.get(timeline);
    if (!begun) {
      begun = this.#archive.journalled(timeline);
      this.#begun.set(timeline, begun);
    }
    return (await begun).has(name);
  }

  /** The ended timeline's last segment, up to its end or (of a server that went on) beyond. */
  async hasLeft({ timeline, name }: NonNullable<PathSegment['left']>): Promise<boolean> {
    const place: SegmentPlace = { timeline, segment: name };
    return (await this.has({ timeline, name })) || (await this.#archive.hasPartial(place));
  }
}
