import type { Lsn } from './lsn.ts';
import { segmentName, segmentStart } from './segment.ts';
import { timelineOfLsn, type TimelineStretch } from './timeline.ts';

/** A segment on the way to a timeline. */
export interface PathSegment {
  readonly timeline: number;
  readonly name: string;
  readonly start: Lsn;
  readonly end: Lsn;
  /** The timeline that is left within the segment, and where: its own, partial segment has the bytes up to there as well. */
  readonly left: { readonly timeline: number; readonly name: string; readonly switchLsn: Lsn } | undefined;
}

/**
 * The segment that holds the byte at `lsn`. Where a timeline is left within a segment, the successor's segment holds the
 * ancestor's bytes too, and is the one that recovery reads.
 */
export function segmentOnPath(path: readonly TimelineStretch[], lsn: Lsn, segmentSize: number): PathSegment {
  const start = segmentStart(lsn, segmentSize);
  const end = start + BigInt(segmentSize);
  const timeline = timelineOfLsn(path, end - 1n);
  const before = path.findLast(({ to }) => to !== undefined && to > start && to < end);
  return {
    timeline,
    name: segmentName(timeline, start, segmentSize),
    start,
    end,
    left: before && {
      timeline: before.timeline,
      name: segmentName(before.timeline, start, segmentSize),
      switchLsn: before.to!,
    },
  };
}
