import { isFromFuture, type BackupCopy } from '../backup/catalog.ts';
import { decideRetention } from '../backup/retention.ts';
import { OBJECT_TAG } from '../names.ts';

/**
 * Which objects the bucket's lifecycle may remove. It removes what carries the tag and is old by S3's own clock; so a
 * wrong decision can be taken back for as long as the object is not that old, and is: what is to stay loses the tag.
 */
export interface TaggingPlan {
  /** Their retention is over and a newer verified backup stands; unless somebody has pinned them. */
  readonly expire: readonly BackupCopy[];
  /** Old enough to have been tagged once, and to stay now. */
  readonly keep: readonly BackupCopy[];
}

const DAY_MS = 24 * 60 * 60 * 1000;

/** @param copies of one series in one folder of the bucket: old dumps of the user's scripts and orphans included */
export function planTagging(copies: readonly BackupCopy[], policy: { days: number; now: Date }): TaggingPlan {
  const dated = copies.map(withBelievableTime);
  const decisions = decideRetention(dated, policy);
  const protectedIds = newestIds(copies, policy.now);
  const expire: BackupCopy[] = [];
  const keep: BackupCopy[] = [];
  for (const { copy, expire: over } of decisions) {
    const youngMs = policy.now.getTime() - newestFileTime(copy);
    if (over && !protectedIds.has(copy.id) && youngMs >= policy.days * DAY_MS) expire.push(copy);
    else if (policy.now.getTime() - oldestFileTime(copy) >= policy.days * DAY_MS) keep.push(copy);
  }
  return { expire, keep };
}

/**
 * A backup cannot have begun after S3 received its files: one that says so was dated by a wrong clock, and would stay
 * until that date has come.
 */
function withBelievableTime(copy: BackupCopy): BackupCopy {
  const received = new Date(oldestFileTime(copy));
  return isFromFuture(copy.time, received) ? { ...copy, time: received } : copy;
}

/** The newest verified backup by its own date, and by S3's: where a clock was wrong, both stay. */
function newestIds(copies: readonly BackupCopy[], now: Date): Set<string> {
  const complete = copies.filter(({ state }) => state === 'complete');
  const byDate = complete.toSorted((one, other) => other.time.getTime() - one.time.getTime());
  const dated = byDate.find(({ time }) => !isFromFuture(time, now)) ?? byDate[0];
  const received = complete.toSorted((one, other) => newestFileTime(other) - newestFileTime(one))[0];
  return new Set([dated, received].flatMap((copy) => (copy ? [copy.id] : [])));
}

function newestFileTime({ files }: BackupCopy): number {
  return Math.max(...files.map(({ modifiedAt }) => modifiedAt.getTime()));
}

function oldestFileTime({ files }: BackupCopy): number {
  return Math.min(...files.map(({ modifiedAt }) => modifiedAt.getTime()));
}

type Tags = Readonly<Record<string, string>>;

/** Tags to be written: a backup's objects with what they carry now. Empty when nothing is to be changed. */
export function changeTags(
  decision: 'expire' | 'keep',
  objects: readonly { readonly key: string; readonly tags: Tags }[],
): { key: string; tags: Tags }[] {
  const { key: name, value } = OBJECT_TAG.expirable;
  // A pin on any of its objects pins the backup: one alone restores nothing.
  const pinned = objects.some(({ tags }) => OBJECT_TAG.pinned in tags);
  if (decision === 'expire' && !pinned) {
    const untagged = objects.filter(({ tags }) => tags[name] !== value);
    return untagged.map(({ key, tags }) => ({ key, tags: { ...tags, [name]: value } }));
  }
  const tagged = objects.filter(({ tags }) => tags[name] === value);
  return tagged.map(({ key, tags }) => {
    const { [name]: _, ...rest } = tags;
    return { key, tags: rest };
  });
}
