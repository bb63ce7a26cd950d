import { isUsable, type Base } from '../base/base-catalog.ts';
import { isFromFuture } from '../backup/catalog.ts';
import { holdsDamage } from '../base/increment.ts';
import { METRIC } from '../names.ts';
import type { Lsn } from '../wal/lsn.ts';
import { dateOfPgTime, formatPgTime, parsePgTime, pgTimeOfDate } from '../wal/pg-time.ts';
import { timelineOfLsn } from '../wal/timeline.ts';
import { lastWritten, type RestorableTimeline, type RestorableWindow } from '../wal/window.ts';
import type { WindowHole } from '../wal/window-holes.ts';

/** What the alarms want to know of a series with point-in-time recovery, told by what lies in S3 alone. */
export interface RecoveryFacts {
  readonly systemIdentifier: string;
  /** Since when there has been anything that promises it. */
  readonly since: Date;
  /** `undefined`: nothing can be recovered. */
  readonly window: RecoveryWindow | undefined;
  /** When the newest good base backup was finished. */
  readonly newestBaseAt: Date | undefined;
  /** Where WAL is missing for certain, and no base backup behind it has begun a new stretch. */
  readonly openHoles: number;
  /** First bytes that seem to be missing, for certain or not. */
  readonly seenMissing: readonly Lsn[];
  /** When S3 received the newest WAL; `undefined`: it never did. */
  readonly walReceivedAt: Date | undefined;
}

interface RecoveryWindow {
  readonly earliest: Date;
  readonly latest: Date;
  /** Of the latest; it stands for as long as the WAL before it does. */
  readonly latestLsn: Lsn;
  readonly timeline: number;
}

export interface RecoverySeen {
  readonly window: RestorableWindow;
  /** Of this cluster. */
  readonly bases: readonly Base[];
  readonly walReceivedAt: Date | undefined;
  readonly walSince: Date | undefined;
}

/**
 * @param before what was told of the same series the last time: the newest objects alone may hold no commit, and what was
 * found behind them is not looked for again
 */
export function recoveryFacts(
  { window, bases, walReceivedAt, walSince }: RecoverySeen,
  before: RecoveryFacts | undefined,
  now: Date,
): RecoveryFacts {
  const good = bases.filter((base) => isUsable(base) && !holdsDamage(base) && !isFromFuture(base.time, now));
  const finished = good.map(({ time }) => time.getTime());
  const since = [...bases.map(({ time }) => time), ...(walSince ? [walSince] : [])];
  const known = before?.systemIdentifier === window.systemIdentifier ? before : undefined;
  const line = lastWritten(window.timelines.map((each) => withKnownEnd(each, known?.window)));
  const holes = openHolesOf(window, line);
  return {
    systemIdentifier: window.systemIdentifier,
    since: new Date(Math.min(now.getTime(), ...since.map((time) => time.getTime()))),
    window: windowOf(window, line),
    newestBaseAt: finished.length === 0 ? undefined : new Date(Math.max(...finished)),
    openHoles: holes.filter((hole) => isCertain(hole, known)).length,
    seenMissing: holes.map(({ from }) => from),
    walReceivedAt,
  };
}

/** With the last commit that was found before, where the WAL up to it is still there. */
function withKnownEnd(line: RestorableTimeline, known: RecoveryWindow | undefined): RestorableTimeline {
  const { latest, walEnd } = line.stretches.at(-1)!;
  const still = known && known.timeline === line.timeline && known.latestLsn <= walEnd;
  if (!still || known.latestLsn <= latest.lsn) return line;
  return { ...line, latest: { time: formatPgTime(pgTimeOfDate(known.latest)), lsn: known.latestLsn } };
}

function windowOf(
  { earliest }: RestorableWindow,
  line: RestorableTimeline | undefined,
): RecoveryWindow | undefined {
  if (!earliest || !line) return undefined;
  return {
    earliest: dateOf(earliest.time),
    latest: dateOf(line.latest.time),
    latestLsn: line.latest.lsn,
    timeline: line.timeline,
  };
}

/** On the way to the timeline in use: what an abandoned one lacks keeps nobody from recovering the present. */
function openHolesOf({ holes }: RestorableWindow, line: RestorableTimeline | undefined): WindowHole[] {
  if (!line) return [];
  const { path } = line;
  return holes.filter(
    ({ until, timeline, from }) => until === undefined && timelineOfLsn(path, from) === timeline,
  );
}

/**
 * On record, or seen at the last look too: several segments are sent at once, so on a busy host one of them may be there before
 * the one that precedes it.
 */
function isCertain({ from, reason }: WindowHole, before: RecoveryFacts | undefined): boolean {
  return reason !== undefined || before?.seenMissing.includes(from) === true;
}

function dateOf(time: string): Date {
  return dateOfPgTime(parsePgTime(time));
}

/**
 * Values by metric. Age is counted from the facts, so that silence grows by itself. Of a series that has lost what it
 * promised, or has not kept it yet, since the promise began.
 */
export function recoveryMetrics(facts: RecoveryFacts, now: Date): Record<string, number> {
  const { window, newestBaseAt, openHoles, walReceivedAt, since } = facts;
  const age = (time: Date): number => Math.max(0, Math.round((now.getTime() - time.getTime()) / 1000));
  return {
    [METRIC.restorableAge]: age(window?.latest ?? since),
    [METRIC.baseBackupAge]: age(newestBaseAt ?? since),
    [METRIC.recoveryHoles]: openHoles,
    [METRIC.restorableWindow]: window
      ? Math.max(0, Math.round((window.latest.getTime() - window.earliest.getTime()) / 1000))
      : 0,
    ...(walReceivedAt && { [METRIC.walSilence]: age(walReceivedAt) }),
  };
}
