import type { UsableBase } from '../base/base-catalog.ts';
import { parseLsn, type Lsn } from './lsn.ts';
import { formatPgTime, parsePgTime, pgTimeOfDate } from './pg-time.ts';
import { timelineOfLsn, type TimelineStretch } from './timeline.ts';

/** Where a base backup stands in its cluster's WAL: its stop LSN, from which on any position can be recovered to. */
export function stopOf({ manifest }: UsableBase): Lsn {
  return parseLsn(manifest.stopLsn);
}

/** No commit before its stop LSN is later. A backup whose server's clock was not read has the host's. */
export function stopTimeOf({ manifest }: UsableBase): string {
  const { stopTime, finishedAt } = manifest;
  return formatPgTime(stopTime === undefined ? pgTimeOfDate(new Date(finishedAt)) : parsePgTime(stopTime));
}

/** Where the archive's WAL must begin for it: its own volumes hold the WAL of its duration. */
export function walNeededFrom({ manifest }: UsableBase): Lsn {
  const own = manifest.volumes.some(({ series }) => series === 'wal');
  return parseLsn(own ? manifest.stopLsn : manifest.startLsn);
}

/** In the order of the WAL; by recorded time where two stop at one position. */
export function byStop(one: UsableBase, other: UsableBase): number {
  const [left, right] = [stopOf(one), stopOf(other)];
  if (left !== right) return left < right ? -1 : 1;
  return one.time.getTime() - other.time.getTime();
}

/** A base backup lies on a path when both its ends do, on the timelines that it recorded. */
export function liesOn({ manifest }: UsableBase, path: readonly TimelineStretch[]): boolean {
  const { startTimeline, stopTimeline } = manifest;
  const lastByte = parseLsn(manifest.stopLsn) - 1n;
  return (
    timelineOfLsn(path, parseLsn(manifest.startLsn)) === startTimeline &&
    timelineOfLsn(path, lastByte) === stopTimeline
  );
}
