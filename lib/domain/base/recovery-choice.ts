import { LifeboatError } from '../errors.ts';
import { formatLsn, type Lsn } from '../wal/lsn.ts';
import { timelineOfLsn } from '../wal/timeline.ts';
import { describeWindow } from '../wal/window-report.ts';
import { stopOf, stopTimeOf } from '../wal/base-place.ts';
import {
  goesOnSincePutBack,
  inUseAt,
  lastWritten,
  type RestorableStretch,
  type RestorableTimeline,
  type RestorableWindow,
} from '../wal/window.ts';
import type { UsableBase } from './base-catalog.ts';
import { describeTarget, type RecoveryRequest, type RecoveryTarget } from './recovery-target.ts';

/** Which timeline, stretch of its WAL and base backup lead to a target. */
export interface RecoveryChoice {
  readonly line: RestorableTimeline;
  readonly stretch: RestorableStretch;
  readonly base: UsableBase;
  /** For people: what was chosen between. */
  readonly notes: readonly string[];
}

/** Where WAL has what a target names. */
export interface LocatedTarget {
  readonly timeline: number;
  /** Its record's first byte, and the byte behind it. */
  readonly lsn: Lsn;
  readonly end: Lsn;
  /** ISO 8601, UTC, microseconds. */
  readonly time?: string;
}

/**
 * @param located of a transaction or a restore point; `undefined` when WAL was not searched for it, or does not have it
 * @throws LifeboatError TARGET_OUTSIDE_WINDOW with the window in its text
 */
export function chooseRecovery(
  request: RecoveryRequest,
  window: RestorableWindow,
  located?: LocatedTarget,
): RecoveryChoice {
  const lines = linesFor(request, window);
  const { line, notes = [] } = chooseLine(request, lines, window, located);
  const fits = fitOf(request, located);
  const stretch = line.stretches.findLast(fits.stretch);
  if (!stretch) throw outsideWindow(explain(request.target, line), window);
  return { line, stretch, base: chooseBase(request, stretch, fits.base, window), notes };
}

function outsideWindow(
  message: string,
  window: RestorableWindow,
  options: { readonly hint?: string } = {},
): LifeboatError {
  const lines = describeWindow(window).map((line) => `- ${line}`);
  return new LifeboatError('TARGET_OUTSIDE_WINDOW', `${message}\nRestorable:\n${lines.join('\n')}`, options);
}

/** The timelines asked for that something can be recovered on, ascending; all without `--timeline`. */
function linesFor(
  { timeline, base }: RecoveryRequest,
  window: RestorableWindow,
): readonly RestorableTimeline[] {
  const asked = window.timelines.filter((line) => timeline === undefined || line.timeline === timeline);
  if (asked.length === 0) {
    throw outsideWindow(
      timeline === undefined
        ? 'There is no base backup to recover from'
        : `Nothing can be recovered on timeline ${timeline}`,
      window,
    );
  }
  const through = asked.filter(({ bases }) => base === undefined || bases.includes(base));
  if (through.length > 0) return through;
  throw outsideWindow(
    `${base} leads to no point of ${timeline === undefined ? 'any timeline' : `timeline ${timeline}`}`,
    window,
  );
}

interface Line {
  readonly line: RestorableTimeline;
  readonly notes?: readonly string[];
}

function chooseLine(
  request: RecoveryRequest,
  lines: readonly RestorableTimeline[],
  window: RestorableWindow,
  located: LocatedTarget | undefined,
): Line {
  const { target, base } = request;
  const newest = lines.at(-1)!;
  switch (target.kind) {
    case 'time':
      return chooseByTime(target.time, lines, window);
    case 'lsn':
      return chooseByLsn(target.lsn, lines);
    case 'xid':
    case 'name':
      if (located) return chooseByPlace(request, located, lines, window);
      if (base !== undefined) return { line: newest };
      throw outsideWindow(`${sentence(target)} is not in the WAL that is there`, window);
    case 'latest':
      return chooseLatest(lines, window);
    case 'immediate':
      return { line: lineOfNewestBase(lines) };
  }
}

/**
 * The newest timeline, unless an older one was written to later, or put back: either the old cluster goes on, because the
 * recovered one was put aside again, or the recovered one has just begun. The wrong one of the two lacks what everybody has done since, and only
 * the operator knows which it is.
 */
function chooseLatest(lines: readonly RestorableTimeline[], window: RestorableWindow): Line {
  const newest = lines.at(-1)!;
  const last = lastWritten(lines)!;
  if (last === newest) return { line: newest };
  const why = goesOnSincePutBack(last)
    ? `timeline ${last.timeline} was put in place again at ${last.putBackAt} (--undo, --finish), and goes on since; S3 has its commits up to ${last.latest.time}. Timeline ${newest.timeline}, the newest,`
    : `timeline ${last.timeline} has one of ${last.latest.time}, which timeline ${newest.timeline}, the newest, does not have; that one`;
  throw outsideWindow(
    `Which commit is the latest depends on the timeline that is meant: ${why} ends with ${newest.latest.time}`,
    window,
    {
      hint: `Say which: --timeline ${last.timeline}, if a recovery was undone and the old cluster goes on, or --timeline ${newest.timeline}, if the recovered one does. Nothing was touched.`,
    },
  );
}

/**
 * The timeline that was the live one at that time: the newest that had begun, or the one put in place again last. A time after its last commit and before its
 * successor's beginning is the successor's, whose state at its beginning it was; unless the successor left commits
 * behind: then the two differ, and nobody but the operator knows which is meant.
 */
function chooseByTime(time: string, lines: readonly RestorableTimeline[], window: RestorableWindow): Line {
  const live = inUseAt(time, lines);
  if (holdsTime(live, time)) return { line: live };
  const successor = lines.find((line) => line.timeline > live.timeline && holdsTime(line, time));
  if (!successor) {
    const others = lines.filter((line) => line !== live && holdsTime(line, time));
    const also = others
      .map(({ timeline }) => `; timeline ${timeline}, which was not the newest then, has it`)
      .join('');
    const isLate = lines.every(({ latest }) => latest.time < time);
    throw outsideWindow(
      explain({ kind: 'time', time, inclusive: true }, live) + also,
      window,
      isLate ? { hint: ALL_THERE_IS } : {},
    );
  }
  const left = successor.path.find(({ timeline }) => timeline === live.timeline)?.to;
  const between = `${time} lies between what can be recovered of timeline ${live.timeline} and the beginning of timeline ${successor.timeline}`;
  if (left !== undefined && live.latest.lsn <= left) return { line: successor, notes: [between] };
  const leaves =
    left === undefined
      ? 'which it does not come from'
      : `which it left at ${formatLsn(left)}, before the last commit there`;
  throw outsideWindow(
    `${between}, ${leaves}. Choose: --timeline ${successor.timeline} for the state at its beginning, or an earlier time of timeline ${live.timeline}`,
    window,
  );
}

const ALL_THERE_IS =
  'For all that S3 has: --latest. What is committed takes some seconds to arrive there. Nothing was touched.';

function holdsTime({ stretches }: RestorableTimeline, time: string): boolean {
  return stretches.some(({ earliest, latest }) => earliest.time <= time && time <= latest.time);
}

function holdsLsn({ stretches }: RestorableTimeline, lsn: Lsn): boolean {
  return stretches.some(({ earliest, walEnd }) => earliest.lsn <= lsn && lsn <= walEnd);
}

/** The newest, as PostgreSQL itself does. */
function chooseByLsn(lsn: Lsn, lines: readonly RestorableTimeline[]): Line {
  const holding = lines.filter((line) => holdsLsn(line, lsn));
  const line = holding.at(-1);
  if (!line) return { line: lines.at(-1)! };
  const timeline = timelineOfLsn(line.path, lsn);
  const others = holding.filter(({ path }) => timelineOfLsn(path, lsn) !== timeline);
  const notes = others.map(
    (other) => `${formatLsn(lsn)} is also on timeline ${other.timeline}, with other contents there`,
  );
  return { line, notes };
}

function chooseByPlace(
  { target, base }: RecoveryRequest,
  { timeline, lsn, end, time }: LocatedTarget,
  lines: readonly RestorableTimeline[],
  window: RestorableWindow,
): Line {
  const through = lines.filter(({ path }) => timelineOfLsn(path, lsn) === timeline);
  const line = through.findLast((each) => holdsLsn(each, lsn) && holdsLsn(each, end));
  if (line) {
    const found = `${sentence(target)} was found at ${formatLsn(lsn)} of timeline ${timeline}${time === undefined ? '' : `, ${time}`}`;
    // The newest is searched first: one that was left may have another of that name or number.
    const others = lines.filter((each) => each.timeline < line.timeline && !through.includes(each));
    const also =
      others.length > 0
        ? `; not looked for on timeline ${others.map((each) => each.timeline).join(', ')}, see --timeline`
        : '';
    const first =
      target.kind === 'name' && base !== undefined ? `, the first of that name behind ${base}` : '';
    return { line, notes: [found + first + also] };
  }
  throw outsideWindow(
    `${sentence(target)}, at ${formatLsn(lsn)} of timeline ${timeline}, cannot be recovered`,
    window,
  );
}

/** By recorded time, not by number. */
function lineOfNewestBase(lines: readonly RestorableTimeline[]): RestorableTimeline {
  const all = lines.flatMap((line) =>
    line.stretches.flatMap(({ bases }) => bases.map((base) => ({ base, line }))),
  );
  const newest = Math.max(...all.map(({ base }) => base.time.getTime()));
  const { base } = all.find((each) => each.base.time.getTime() === newest)!;
  // A descendant shares the stretch with the backup's own timeline, whose history is the shorter one.
  const own = lines.find(({ timeline }) => timeline === base.manifest.stopTimeline);
  return own ?? all.find((each) => each.base === base)!.line;
}

interface Fit {
  readonly stretch: (stretch: RestorableStretch) => boolean;
  /** Whether recovery from this base backup passes the target. */
  readonly base: (base: UsableBase) => boolean;
}

function fitOf({ target, base }: RecoveryRequest, located: LocatedTarget | undefined): Fit {
  if (target.kind === 'time') {
    const { time, inclusive } = target;
    return {
      stretch: ({ earliest, latest }) => earliest.time <= time && time <= latest.time,
      base: (each) => stopTimeOf(each) < time || (inclusive && stopTimeOf(each) === time),
    };
  }
  const lsn = target.kind === 'lsn' ? target.lsn : located?.lsn;
  const needed = located && target.kind !== 'lsn' ? located.end : lsn;
  if (lsn === undefined || needed === undefined) {
    // The latest is behind every hole; the other targets are looked for from the base backup that was asked for.
    const anywhere = target.kind === 'latest' || base === undefined;
    return {
      stretch: ({ bases }) => anywhere || bases.some(({ label }) => label === base),
      base: () => true,
    };
  }
  return {
    stretch: ({ earliest, walEnd }) => earliest.lsn <= lsn && needed <= walEnd,
    base: (each) => stopOf(each) <= lsn,
  };
}

function chooseBase(
  { target, base: asked }: RecoveryRequest,
  { bases }: RestorableStretch,
  fits: (base: UsableBase) => boolean,
  window: RestorableWindow,
): UsableBase {
  const base = bases.findLast((each) => (asked === undefined || each.label === asked) && fits(each));
  if (base) return base;
  const present = bases.find(({ label }) => label === asked);
  if (present) {
    throw outsideWindow(
      `${asked} ended at ${stopTimeOf(present)}, ${formatLsn(stopOf(present))}: after ${describeTarget(target)}`,
      window,
    );
  }
  const separated =
    asked === undefined
      ? 'No base backup ends before'
      : `A hole, or the WAL’s end, lies between ${asked} and`;
  throw outsideWindow(`${separated} ${describeTarget(target)}`, window);
}

/** Why a timeline does not have the target. */
function explain(target: RecoveryTarget, line: RestorableTimeline): string {
  const { timeline, earliest, latest, stretches } = line;
  const walEnd = stretches.at(-1)!.walEnd;
  const what = sentence(target);
  if (target.kind === 'time') {
    if (target.time < earliest.time)
      return `${what} is before the oldest base backup of timeline ${timeline} ended, ${earliest.time}`;
    if (target.time > latest.time)
      return `${what} is after the last commit in S3 on timeline ${timeline}, ${latest.time}`;
  }
  if (target.kind === 'lsn') {
    if (target.lsn < earliest.lsn)
      return `${what} is before the oldest base backup of timeline ${timeline} ended, ${formatLsn(earliest.lsn)}`;
    if (target.lsn > walEnd)
      return `${what} is after the end of the WAL in S3 on timeline ${timeline}, ${formatLsn(walEnd)}`;
  }
  return `${what} lies in a hole of timeline ${timeline}`;
}

function sentence(target: RecoveryTarget): string {
  const text = describeTarget(target);
  return text.charAt(0).toUpperCase() + text.slice(1);
}
