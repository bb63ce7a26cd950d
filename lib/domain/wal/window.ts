import { isUsable, type Base, type UsableBase } from '../base/base-catalog.ts';
import { pathOf, timelinesOf, type WalArchive } from './archive.ts';
import { byStop, liesOn, stopOf, walNeededFrom } from './base-place.ts';
import {
  later,
  latestOf,
  notAfterCommits,
  pointOfBase,
  type KnownCommits,
  type RestorablePoint,
} from './known-commits.ts';
import type { Lsn } from './lsn.ts';
import { formatPgTime, pgTimeOfDate } from './pg-time.ts';
import { timelineOfLsn, type TimelineStretch } from './timeline.ts';
import { endOfWal, WalTail } from './wal-tail.ts';
import { holesOf, withoutRepeats, type WindowHole } from './window-holes.ts';

/**
 * The restorable window of one cluster, measured from what lies in S3: for every timeline the stretches within which a
 * base backup and WAL without a gap lead to any instant. Times are ISO 8601 in UTC with microseconds.
 */
export interface RestorableWindow {
  readonly systemIdentifier: string;
  /** Ascending; only those that something can be recovered on. */
  readonly timelines: readonly RestorableTimeline[];
  readonly holes: readonly WindowHole[];
  /** The earliest of all timelines. */
  readonly earliest: RestorablePoint | undefined;
  /** Of the timeline that was written to last, whatever its number. */
  readonly latest: RestorablePoint | undefined;
}

export interface RestorableTimeline {
  readonly timeline: number;
  readonly path: readonly TimelineStretch[];
  /** When it was first seen, and the position of its own first byte. */
  readonly began: RestorablePoint;
  /** In the order of the WAL, one at least; between two there is a hole. */
  readonly stretches: readonly RestorableStretch[];
  readonly earliest: RestorablePoint;
  readonly latest: RestorablePoint;
  /** When it was put in place again, as by an undone recovery in place, the last time; `undefined`: it never was. */
  readonly putBackAt: string | undefined;
  /** Labels, in the order of the WAL. */
  readonly bases: readonly string[];
}

export interface RestorableStretch {
  /** End of its oldest base backup. */
  readonly earliest: RestorablePoint;
  /** The last commit in it that is known of; without one the end of its newest base backup. */
  readonly latest: RestorablePoint;
  /** End of its WAL. There may be WAL of commits that have not ended behind the last commit. */
  readonly walEnd: Lsn;
  /** In the order of the WAL. */
  readonly bases: readonly UsableBase[];
  /** From the newest base backup's end to `walEnd`, the last first. */
  readonly tail: WalTail;
}

export interface WindowInput {
  readonly archive: WalArchive;
  /** Of this cluster, usable or not. */
  readonly bases: readonly Base[];
  readonly commits?: KnownCommits;
}

/** @throws LifeboatError CORRUPT for manifests whose times or positions cannot be read */
export function restorableWindow({ archive, bases, commits = new Map() }: WindowInput): RestorableWindow {
  const { systemIdentifier } = archive.series;
  const usable = bases.filter((base) => isUsable(base) && base.series.systemIdentifier === systemIdentifier);
  const ordered = (usable as UsableBase[]).toSorted(byStop);
  const numbers = new Set([...timelinesOf(archive), ...ordered.map(({ manifest }) => manifest.stopTimeline)]);
  const timelines = [...numbers]
    .toSorted((one, other) => one - other)
    .flatMap((timeline) => surveyTimeline(archive, timeline, ordered, commits));
  const holes = timelines.flatMap((each) => holesOf(archive, each));
  return { systemIdentifier, timelines, holes: withoutRepeats(holes), ...endsOf(timelines) };
}

function endsOf(timelines: readonly RestorableTimeline[]): Pick<RestorableWindow, 'earliest' | 'latest'> {
  const earliest = timelines
    .map((each) => each.earliest)
    .toSorted((one, other) => (one.time < other.time ? -1 : 1))[0];
  return { earliest, latest: lastWritten(timelines)?.latest };
}

/**
 * The timeline whose last commit is the latest by recorded time. It need not be the one of the highest number: where a recovered
 * cluster was put aside again, the old one goes on, from when it was put back, though its next commit is not in S3 yet. Else one
 * that holds all of another counts as later, whatever its clock said.
 * @param timelines ascending
 */
export function lastWritten(timelines: readonly RestorableTimeline[]): RestorableTimeline | undefined {
  let last = timelines[0];
  for (const line of timelines) if (lastSeen(line) >= lastSeen(last!)) last = line;
  if (!last || goesOnSincePutBack(last)) return last;
  return timelines.findLast((line) => holdsEndOf(line, last));
}

function lastSeen({ latest, putBackAt = '' }: RestorableTimeline): string {
  return putBackAt > latest.time ? putBackAt : latest.time;
}

/** Whether it was put back, and S3 has no commit since then. */
export function goesOnSincePutBack(line: RestorableTimeline): boolean {
  return lastSeen(line) !== line.latest.time;
}

/** The newest that had begun at that time, unless one was put in place again since. @param lines ascending, one at least */
export function inUseAt(time: string, lines: readonly RestorableTimeline[]): RestorableTimeline {
  let live = lines.findLast(({ began }) => began.time <= time) ?? lines[0]!;
  let since = live.began.time;
  for (const line of lines) {
    const { putBackAt } = line;
    if (putBackAt !== undefined && since < putBackAt && putBackAt <= time) [live, since] = [line, putBackAt];
  }
  return live;
}

/** Whether nothing was left behind: the last commit of `other` lies on the way of `line` too. */
function holdsEndOf(line: RestorableTimeline, { path, latest }: RestorableTimeline): boolean {
  if (line.latest.lsn < latest.lsn) return false;
  const lastByte = latest.lsn - 1n;
  return timelineOfLsn(line.path, lastByte) === timelineOfLsn(path, lastByte);
}

function surveyTimeline(
  archive: WalArchive,
  timeline: number,
  bases: readonly UsableBase[],
  commits: KnownCommits,
): RestorableTimeline[] {
  const path = pathOf(archive, timeline);
  const stretches = findStretches(
    archive,
    path,
    bases.filter((base) => liesOn(base, path)),
    commits,
  );
  const [first, last] = [stretches[0], stretches.at(-1)];
  if (!first || !last) return [];
  return [
    {
      timeline,
      path,
      began: beginningOf(archive, path.at(-1)!, bases, commits),
      stretches,
      earliest: first.earliest,
      latest: last.latest,
      putBackAt: archive.inUse.get(timeline),
      bases: stretches.flatMap((stretch) => stretch.bases.map(({ label }) => label)),
    },
  ];
}

function findStretches(
  archive: WalArchive,
  path: readonly TimelineStretch[],
  bases: readonly UsableBase[],
  commits: KnownCommits,
): RestorableStretch[] {
  const found: { bases: UsableBase[]; walEnd: Lsn }[] = [];
  for (const base of bases) {
    const present = found.at(-1);
    // Each base's WAL is followed only from where the one before it was left: a month of WAL is walked once.
    if (present && walNeededFrom(base) <= present.walEnd && stopOf(base) <= present.walEnd) {
      present.bases.push(base);
      continue;
    }
    const walEnd = endOfWal(archive, path, walNeededFrom(base));
    if (walEnd >= stopOf(base)) found.push({ bases: [base], walEnd });
  }
  return found.map((stretch) => {
    const newest = stretch.bases.at(-1)!;
    const tail = new WalTail(archive, path, stopOf(newest), stretch.walEnd);
    const [earliest, latest] = [pointOfBase(stretch.bases[0]!), latestOf(tail, newest, commits)];
    return { ...stretch, tail, earliest, latest };
  });
}

/**
 * Keys of WAL objects whose metadata would tell a later end of a stretch, newest first: the caller reads them until one
 * holds a commit, then computes the window again with `withCommits`.
 */
export function* commitCandidates(stretch: RestorableStretch): Generator<string> {
  for (const { files } of stretch.tail) {
    for (const { key } of files.toReversed()) yield key;
  }
}

/** The same window with what is now known of commits: nothing is listed or walked again. */
export function withCommits(window: RestorableWindow, commits: KnownCommits): RestorableWindow {
  const timelines = window.timelines.map((each) => {
    const stretches = each.stretches.map((stretch) => {
      return { ...stretch, latest: latestOf(stretch.tail, stretch.bases.at(-1)!, commits) };
    });
    const began = notAfterCommits(each.began, each.timeline, commits);
    return { ...each, began, stretches, latest: stretches.at(-1)!.latest };
  });
  const holes = window.holes.map((hole) => ({
    ...hole,
    since: later(lastBefore(timelines, hole), hole.since),
  }));
  return { ...window, timelines, holes, ...endsOf(timelines) };
}

function lastBefore(timelines: readonly RestorableTimeline[], { from, since }: WindowHole): string {
  const stretches = timelines.flatMap((each) => each.stretches);
  return stretches.find(({ walEnd }) => walEnd === from)?.latest.time ?? since;
}

/** A timeline begins at the latest with what S3 has of it, by S3's clock, and with its own first base backup. */
function beginningOf(
  archive: WalArchive,
  { timeline, from }: TimelineStretch,
  bases: readonly UsableBase[],
  commits: KnownCommits,
): RestorablePoint {
  const own = bases.filter(({ manifest }) => manifest.startTimeline === timeline);
  const history = archive.histories.get(timeline);
  const seen = [
    ...(history ? [history.file.modifiedAt] : []),
    ...own.map(({ manifest }) => new Date(manifest.startedAt)),
  ];
  // One of the two is there: without a history its path is its own, and all base backups on it are.
  const first = Math.min(...seen.map((time) => time.getTime()));
  const point = { time: formatPgTime(pgTimeOfDate(new Date(first))), lsn: from };
  return notAfterCommits(point, timeline, commits);
}
