import { isUsable, type Base } from '../base/base-catalog.ts';
import { isFromFuture } from '../backup/catalog.ts';
import { holdsDamage } from '../base/increment.ts';
import { METRIC } from '../names.ts';
import type { Lsn } from '../wal/lsn.ts';
import { dateOfPgTime, parsePgTime } from '../wal/pg-time.ts';
import { timelineOfLsn } from '../wal/timeline.ts';
import type { RestorableWindow } from '../wal/window.ts';

/** What the alarms want to know of a series with point-in-time recovery, told by what lies in S3 alone. */
export interface RecoveryFacts {
  readonly systemIdentifier: string;
  /** Since when there has been anything that promises it. */
  readonly since: Date;
  /** `undefined`: nothing can be recovered. */
  readonly window: RecoveryWindow | undefined;
  /** When the newest good base backup was finished. */
  readonly newestBaseAt: Date | undefined;
  /** Where WAL is missing, and no base backup behind it has begun a new stretch. */
  readonly openHoles: number;
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
  return {
    systemIdentifier: window.systemIdentifier,
    since: new Date(Math.min(now.getTime(), ...since.map((time) => time.getTime()))),
    window: windowOf(
      window,
      before?.systemIdentifier === window.systemIdentifier ? before.window : undefined,
    ),
    newestBaseAt: finished.length === 0 ? undefined : new Date(Math.max(...finished)),
    openHoles: openHolesOf(window),
    walReceivedAt,
  };
}

function windowOf(
  { earliest, timelines }: RestorableWindow,
  before: RecoveryWindow | undefined,
): RecoveryWindow | undefined {
  const line = timelines.at(-1);
  const end = line?.stretches.at(-1);
  if (!earliest || !line || !end) return undefined;
  const still = before && before.timeline === line.timeline && before.latestLsn <= end.walEnd;
  const later = still && before.latestLsn > end.latest.lsn;
  return {
    earliest: dateOf(earliest.time),
    latest: later ? before.latest : dateOf(end.latest.time),
    latestLsn: later ? before.latestLsn : end.latest.lsn,
    timeline: line.timeline,
  };
}

/** On the way to the newest timeline: what an abandoned one lacks keeps nobody from recovering the present. */
function openHolesOf({ timelines, holes }: RestorableWindow): number {
  const path = timelines.at(-1)?.path;
  if (!path) return 0;
  return holes.filter(
    ({ until, timeline, from }) => until === undefined && timelineOfLsn(path, from) === timeline,
  ).length;
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
