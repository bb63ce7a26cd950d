import type { UsableBase } from '../base/base-catalog.ts';
import { nextAvailable, type WalArchive } from './archive.ts';
import { stopOf } from './base-place.ts';
import type { HoleRecord } from './hole.ts';
import { later, type RestorablePoint } from './known-commits.ts';
import { parseLsn, type Lsn } from './lsn.ts';
import { formatPgTime, parsePgTime } from './pg-time.ts';
import { timelineOfLsn, type TimelineStretch } from './timeline.ts';

/** WAL that is missing, and the time that cannot be recovered for it. */
export interface WindowHole {
  readonly timeline: number;
  /** First byte that is missing. */
  readonly from: Lsn;
  /** First byte that is there again; `undefined`: none is. */
  readonly to: Lsn | undefined;
  /** The last instant before it that can be recovered. */
  readonly since: string;
  /** The first one behind it: the end of the next base backup; `undefined`: there is none yet. */
  readonly until: string | undefined;
  /** What was recorded when it was found. */
  readonly reason: string | undefined;
}

interface Line {
  readonly path: readonly TimelineStretch[];
  readonly stretches: readonly {
    readonly earliest: RestorablePoint;
    readonly latest: RestorablePoint;
    readonly walEnd: Lsn;
    readonly bases: readonly UsableBase[];
  }[];
}

/** What is missing behind each stretch of a timeline: a hole is one when something came after it, or when it was recorded. */
export function holesOf(archive: WalArchive, line: Line): WindowHole[] {
  return line.stretches.flatMap(({ walEnd, latest }, index) => {
    const next = line.stretches[index + 1];
    const timeline = timelineOfLsn(line.path, walEnd);
    const record = findRecord(archive, timeline, walEnd);
    const there = nextAvailable(archive, line.path, walEnd);
    if (!next && there === undefined && !record) return [];
    const to = firstBehind(walEnd, there, next?.bases[0]) ?? (record && parseLsn(record.to));
    const since = record?.since ? later(latest.time, formatPgTime(parsePgTime(record.since))) : latest.time;
    return [{ timeline, from: walEnd, to, since, until: next?.earliest.time, reason: record?.reason }];
  });
}

/** Of the archive's WAL, and of what the next base backup brings with it. */
function firstBehind(from: Lsn, there: Lsn | undefined, base: UsableBase | undefined): Lsn | undefined {
  if (!base) return there;
  const start = parseLsn(base.manifest.startLsn);
  // One that began before the hole brings the WAL of the hole itself, but for its own use alone.
  const own = start > from ? start : stopOf(base);
  return there !== undefined && there < own ? there : own;
}

/** A record may have been written when a little more or less had been stored than is there now. */
function findRecord(archive: WalArchive, timeline: number, from: Lsn): HoleRecord | undefined {
  const near = from + BigInt(archive.segmentSize);
  return archive.holes.find((record) => {
    return record.timeline === timeline && parseLsn(record.from) <= near && parseLsn(record.to) > from;
  });
}

/** Timelines with a common ancestor share its holes; such a one ends with the first base backup behind it on any of them. */
export function withoutRepeats(holes: readonly WindowHole[]): WindowHole[] {
  const seen = new Map<string, WindowHole>();
  for (const hole of holes) {
    const key = `${hole.timeline} ${hole.from}`;
    const known = seen.get(key);
    const earlier = hole.until !== undefined && (known?.until === undefined || hole.until < known.until);
    if (!known || earlier) seen.set(key, hole);
  }
  return [...seen.values()];
}
