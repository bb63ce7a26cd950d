import { LifeboatError } from '../errors.ts';
import { tryParseLsn, type Lsn } from './lsn.ts';

/** Timelines: https://www.postgresql.org/docs/current/continuous-archiving.html#BACKUP-TIMELINES and timeline.c */

/** Where an ancestor was left for its successor. */
export interface TimelineSwitch {
  readonly timeline: number;
  readonly switchLsn: Lsn;
  readonly reason: string;
}

/** A stretch of the way to a timeline: the bytes from `from` up to, and without, `to` are of `timeline`. */
export interface TimelineStretch {
  readonly timeline: number;
  readonly from: Lsn;
  /** `undefined`: open, the way's own end. */
  readonly to: Lsn | undefined;
}

/**
 * A history file's ancestors, oldest first. As in PostgreSQL's own reader empty lines and comments are skipped, and
 * timelines must ascend.
 * @param where named in errors
 * @throws LifeboatError CORRUPT
 */
export function parseHistory(text: string, where: string): TimelineSwitch[] {
  const switches: TimelineSwitch[] = [];
  for (const line of text.split('\n')) {
    const content = line.trim();
    if (content === '' || content.startsWith('#')) continue;
    const entry = parseLine(content);
    if (!entry)
      throw new LifeboatError('CORRUPT', `${where} is no timeline history: ${JSON.stringify(line)}`);
    const last = switches.at(-1);
    if (last && last.timeline >= entry.timeline) {
      throw new LifeboatError(
        'CORRUPT',
        `${where} is no timeline history: timeline ${entry.timeline} comes after ${last.timeline}`,
      );
    }
    switches.push(entry);
  }
  return switches;
}

function parseLine(line: string): TimelineSwitch | undefined {
  const [, number, position, reason] = /^(\d{1,10})\s+(\S+)(?:\s+(.*))?$/.exec(line) ?? [];
  const timeline = Number(number);
  const switchLsn = position === undefined ? undefined : tryParseLsn(position);
  if (switchLsn === undefined || timeline < 1 || timeline > 0xffff_ffff) return undefined;
  return { timeline, switchLsn, reason: reason ?? '' };
}

/**
 * Which timeline holds which stretch of WAL on the way to `timeline`, oldest first. Recovery that was told to follow a
 * child but stopped before the child had begun records a switch before that of an ancestor; the later file counts, as in
 * PostgreSQL's tliOfPointInHistory, and what lies behind it is left out.
 * @param switches of the timeline's history file; none for a first timeline
 */
export function timelinePath(timeline: number, switches: readonly TimelineSwitch[]): TimelineStretch[] {
  const newestFirst: TimelineStretch[] = [];
  let end: Lsn | undefined;
  for (let index = switches.length; index >= 0; index -= 1) {
    const begin = switches[index - 1]?.switchLsn ?? 0n;
    const from = end !== undefined && begin > end ? end : begin;
    const each = switches[index]?.timeline ?? timeline;
    if (end === undefined || from < end) newestFirst.push({ timeline: each, from, to: end });
    end = from;
  }
  return newestFirst.toReversed();
}

/** @param path as of `timelinePath`; the timeline that holds the byte at `lsn` */
export function timelineOfLsn(path: readonly TimelineStretch[], lsn: Lsn): number {
  const stretch = path.find(({ from, to }) => from <= lsn && (to === undefined || lsn < to));
  if (stretch) return stretch.timeline;
  throw new LifeboatError('BUG', `no timeline of the path holds ${lsn}`);
}
