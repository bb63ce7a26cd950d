import type { UsableBase } from '../base/base-catalog.ts';
import { stopOf, stopTimeOf } from './base-place.ts';
import { parsePitrKey } from './keys.ts';
import type { Lsn } from './lsn.ts';
import type { LastCommit } from './wal-metadata.ts';
import type { WalTail } from './wal-tail.ts';

/** By key: the last commit of a WAL object, null where it holds none. */
export type KnownCommits = ReadonlyMap<string, LastCommit | null>;

/** An instant that can be recovered to: ISO 8601 in UTC with microseconds, and its position. */
export interface RestorablePoint {
  readonly time: string;
  readonly lsn: Lsn;
}

/** The first instant that a base backup leads to: its own end. */
export function pointOfBase(base: UsableBase): RestorablePoint {
  return { time: stopTimeOf(base), lsn: stopOf(base) };
}

/** The last known commit behind a stretch's newest base backup; without one, that one's end. */
export function latestOf(tail: WalTail, newest: UsableBase, commits: KnownCommits): RestorablePoint {
  const end = pointOfBase(newest);
  const lowest = lowestOf(commits);
  if (lowest === undefined) return end;
  for (const { files, end: fileEnd } of tail) {
    // No commit that is known lies before it: the rest, which may be weeks of segments, need not be looked at.
    if (fileEnd < lowest) break;
    for (const { key } of files.toReversed()) {
      const commit = commits.get(key);
      // Of a segment that its timeline went on in after it was left for this one, the last commit may be the other's.
      if (!commit || commit.lsn > fileEnd) continue;
      return commit.lsn > end.lsn ? { time: later(commit.time, end.time), lsn: commit.lsn } : end;
    }
  }
  return end;
}

function lowestOf(commits: KnownCommits): Lsn | undefined {
  let lowest: Lsn | undefined;
  for (const commit of commits.values())
    if (commit && (lowest === undefined || commit.lsn < lowest)) lowest = commit.lsn;
  return lowest;
}

/** Of two times in the same form. */
export function later(one: string, other: string): string {
  return one > other ? one : other;
}

/** The bucket may be a copy, with dates of its own; what was committed on the timeline was so after it began. */
export function notAfterCommits(
  began: RestorablePoint,
  timeline: number,
  commits: KnownCommits,
): RestorablePoint {
  let { time } = began;
  for (const [key, commit] of commits) {
    if (!commit || commit.lsn <= began.lsn || commit.time >= time) continue;
    const object = parsePitrKey(key);
    if (object && 'timeline' in object && object.timeline === timeline) time = commit.time;
  }
  return { ...began, time };
}
