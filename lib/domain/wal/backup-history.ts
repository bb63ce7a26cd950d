import { LifeboatError } from '../errors.ts';
import { walPrefix, type WalSeries } from './keys.ts';
import { formatTimeline, timelineOfSegment } from './segment.ts';

/** The timeline of `<segment>.<offset>.backup`, which PostgreSQL archives after a base backup; `undefined` for other names. */
export function timelineOfBackupHistory(name: string): number | undefined {
  const [, segment = ''] = /^([0-9A-F]{24})\.[0-9A-F]{8}\.backup$/.exec(name) ?? [];
  return timelineOfSegment(segment);
}

/** Where such a file is kept, for people alone: recovery doesn't ask for it. Plain text. */
export function backupHistoryKey(series: WalSeries, timeline: number, name: string): string {
  if (timelineOfBackupHistory(name) === timeline)
    return `${walPrefix(series)}${formatTimeline(timeline)}/${name}`;
  throw new LifeboatError('BUG', `${JSON.stringify(name)} is no backup history file of timeline ${timeline}`);
}
