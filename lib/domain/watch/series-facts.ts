import { isFromFuture, type BackupCopy } from '../backup/catalog.ts';

/** What the alarms want to know of one series on one host. */
export interface SeriesFacts {
  /** Start of the newest verified backup; `undefined`: there is none whose date can be believed. */
  readonly newestAt: Date | undefined;
  /** When the same was finished. */
  readonly newestFinishedAt: Date | undefined;
  readonly newestId: string | undefined;
  /** Its size against the median of the seven before it; `undefined`: too few to compare with. */
  readonly sizeRatio: number | undefined;
}

const COMPARED = 7;
const FEWEST_COMPARED = 3;
/** Manifests that must be read, newest first, for these facts. */
export const MANIFESTS_NEEDED = COMPARED + 1;

/** @param copies of one series, newest first */
export function factsOfSeries(copies: readonly BackupCopy[], now: Date): SeriesFacts {
  const good = copies.filter(({ state, time }) => state === 'complete' && !isFromFuture(time, now));
  const [newest, ...before] = good;
  return {
    newestAt: newest?.time,
    newestFinishedAt: newest && finishOf(newest, now),
    newestId: newest?.id,
    sizeRatio: newest && compareSize(newest, before.slice(0, COMPARED)),
  };
}

/** As the manifest says; its start, where a clock that was set meanwhile makes that impossible. */
function finishOf({ time, manifest }: BackupCopy, now: Date): Date {
  const finished = manifest && new Date(manifest.finishedAt);
  return finished && finished > time && !isFromFuture(finished, now) ? finished : time;
}

function compareSize(newest: BackupCopy, before: readonly BackupCopy[]): number | undefined {
  if (before.length < FEWEST_COMPARED) return undefined;
  const usual = median(before.map(sizeOf));
  return usual > 0 ? sizeOf(newest) / usual : undefined;
}

function sizeOf({ manifest, dump }: BackupCopy): number {
  return manifest?.dump.size ?? dump?.size ?? 0;
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((one, other) => one - other);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

export const NO_FACTS: SeriesFacts = {
  newestAt: undefined,
  newestFinishedAt: undefined,
  newestId: undefined,
  sizeRatio: undefined,
};

/** In seconds. */
export interface BackupAges {
  /** Since the newest verified backup was finished: a long one does not look like a missing one. */
  readonly sinceFinish: number;
  /** Since it was begun: whatever was written later is not in it. */
  readonly sinceStart: number;
}

/**
 * How old the newest verified backup is; of a series without one, since its first run that is still on record was asked
 * for. `undefined` when nothing is known of it at all: silence, which raises the alarm by itself.
 */
export function backupAges(
  facts: SeriesFacts,
  firstAskedAt: Date | undefined,
  now: Date,
): BackupAges | undefined {
  const start = facts.newestAt ?? firstAskedAt;
  if (!start) return undefined;
  const since = (time: Date): number => Math.max(0, Math.round((now.getTime() - time.getTime()) / 1000));
  return { sinceStart: since(start), sinceFinish: since(facts.newestFinishedAt ?? start) };
}
