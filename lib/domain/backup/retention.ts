import { isFromFuture, type BackupCopy } from './catalog.ts';

/**
 * Retention is a floor: it says what may go, never what must. Age alone removes nothing; a newer complete backup in the
 * same store has to stand. So a series whose backups fail keeps its last good one, however old.
 */
export interface RetentionPolicy {
  readonly days: number;
  readonly now: Date;
  /** Ids somebody pinned. */
  readonly pinned?: ReadonlySet<string>;
}

export interface RetentionDecision {
  readonly copy: BackupCopy;
  readonly expire: boolean;
  /** For people: why it stays or goes. */
  readonly reason: string;
}

const DAY_MS = 24 * 60 * 60 * 1000;

/** @param copies of one series in one store, in any order. Pure: the same input gives the same verdicts. */
export function decideRetention(copies: readonly BackupCopy[], policy: RetentionPolicy): RetentionDecision[] {
  const ordered = copies.toSorted((one, other) => other.time.getTime() - one.time.getTime());
  const complete = ordered.filter(({ state }) => state === 'complete');
  // One that a wrong clock dated in the future is not known to be newer than any other.
  const newest = complete.find(({ time }) => !isFromFuture(time, policy.now)) ?? complete[0];
  return ordered.map((copy) => ({ copy, ...judge(copy, newest, policy) }));
}

function judge(
  copy: BackupCopy,
  newest: BackupCopy | undefined,
  policy: RetentionPolicy,
): { expire: boolean; reason: string } {
  const ageDays = (policy.now.getTime() - copy.time.getTime()) / DAY_MS;
  const limit = `${policy.days} ${policy.days === 1 ? 'day' : 'days'}`;
  if (copy === newest) return keep('the newest verified backup is never removed');
  if (policy.pinned?.has(copy.id)) return keep('pinned');
  if (ageDays < policy.days) return keep(`${describeAge(ageDays)} old, kept for ${limit}`);
  if (!newest) return keep('no verified backup stands in its place');
  if (newest.time <= copy.time) return keep('no newer verified backup stands');
  return { expire: true, reason: `${describeAge(ageDays)} old, kept for ${limit}; newer: ${newest.id}` };
}

function keep(reason: string): { expire: boolean; reason: string } {
  return { expire: false, reason };
}

function describeAge(days: number): string {
  const whole = Math.max(0, Math.floor(days));
  return `${whole} ${whole === 1 ? 'day' : 'days'}`;
}

/** When the copy may go at the earliest, other things being equal. */
export function expiresAt(copy: BackupCopy, days: number): Date {
  return new Date(copy.time.getTime() + days * DAY_MS);
}
