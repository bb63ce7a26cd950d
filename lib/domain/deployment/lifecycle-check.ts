import { OBJECT_TAG } from '../names.ts';
import { neededLifecycle, type LifecycleRule } from './bucket-needs.ts';
import { UNFINISHED_UPLOAD_DAYS, type StorageConfig } from './storage-config.ts';

/** What an existing bucket's lifecycle does to backups, and what it does not do for them. */

interface MissingRule {
  readonly problem: string;
  /** That would do it. */
  readonly rule: LifecycleRule;
}

/** What rules do that nobody would want done to a backup, each with the rule's name. */
export function findHarm(lifecycle: readonly LifecycleRule[], storage: StorageConfig): string[] {
  const prefix = `${storage.prefix}/`;
  return lifecycle
    .filter(isEnabled)
    .filter((rule) => prefix.startsWith(prefixOf(rule)) || prefixOf(rule).startsWith(prefix))
    .flatMap((rule) =>
      [...expiryHarm(rule, storage), ...coldHarm(rule), ...cleanUpHarm(rule, storage)].map(
        (harm) => `rule "${rule.ID ?? ''}" ${harm}`,
      ),
    );
}

/** What no rule does for all of the prefix. */
export function findMissing(lifecycle: readonly LifecycleRule[], storage: StorageConfig): MissingRule[] {
  const { prefix, transitionDays, expirationDays } = storage;
  const [move, expire, cleanUp] = neededLifecycle(storage);
  const rules = lifecycle
    .filter(isEnabled)
    .filter((rule) => `${prefix}/`.startsWith(prefixOf(rule)) && !isOfSomeSizes(rule));
  const missing = (problem: string, rule: LifecycleRule, does: (rule: LifecycleRule) => boolean) =>
    rules.some(does) ? [] : [{ problem, rule }];
  return [
    ...missing(`nothing moves to STANDARD_IA at ${transitionDays} days`, move, (rule) =>
      movesAt(rule, transitionDays),
    ),
    ...missing(
      `what is tagged as expirable does not expire at ${expirationDays} days`,
      expire,
      (rule) => isForExpirable(rule) && rule.Expiration?.Days === expirationDays,
    ),
    ...missing(
      'non-current versions stay for ever',
      cleanUp,
      (rule) => hasNoTags(rule) && rule.NoncurrentVersionExpiration?.NoncurrentDays !== undefined,
    ),
    ...missing(
      'unfinished uploads stay for ever',
      cleanUp,
      (rule) => rule.AbortIncompleteMultipartUpload?.DaysAfterInitiation !== undefined,
    ),
  ];
}

function expiryHarm(rule: LifecycleRule, { expirationDays }: StorageConfig): string[] {
  const { Days, Date } = rule.Expiration ?? {};
  if (Days === undefined && Date === undefined) return [];
  if (!wantsExpirable(rule))
    return ['expires backups by age alone: when nights fail, the last good one goes as well'];
  return Days !== undefined && Days < expirationDays
    ? [`expires at ${Days} days what is promised for ${expirationDays}`]
    : [];
}

/** Where a restore reads a backup at once. */
const READABLE = new Set(['STANDARD_IA', 'ONEZONE_IA', 'INTELLIGENT_TIERING', 'GLACIER_IR']);

function coldHarm({ Transitions = [] }: LifecycleRule): string[] {
  return Transitions.flatMap(({ StorageClass = '' }) =>
    READABLE.has(StorageClass)
      ? []
      : `moves backups to ${StorageClass}, from where a restore has to wait for hours`,
  );
}

function cleanUpHarm(rule: LifecycleRule, { noncurrentDays }: StorageConfig): string[] {
  const noncurrent = rule.NoncurrentVersionExpiration?.NoncurrentDays ?? noncurrentDays;
  const unfinished = rule.AbortIncompleteMultipartUpload?.DaysAfterInitiation ?? UNFINISHED_UPLOAD_DAYS;
  return [
    ...(noncurrent < noncurrentDays
      ? [`removes replaced and deleted versions at ${noncurrent} days, before ${noncurrentDays}`]
      : []),
    ...(unfinished < UNFINISHED_UPLOAD_DAYS
      ? [`breaks off uploads at ${unfinished} days, before ${UNFINISHED_UPLOAD_DAYS}`]
      : []),
  ];
}

function isEnabled({ Status }: LifecycleRule): boolean {
  return Status === 'Enabled';
}

function movesAt(rule: LifecycleRule, days: number): boolean {
  const { Transitions = [] } = rule;
  return (
    hasNoTags(rule) &&
    Transitions.some(({ Days, StorageClass }) => StorageClass === 'STANDARD_IA' && Days === days)
  );
}

function prefixOf({ Filter, Prefix }: LifecycleRule): string {
  return Filter?.And?.Prefix ?? Filter?.Prefix ?? Prefix ?? '';
}

function tagsOf({ Filter }: LifecycleRule) {
  return Filter?.And?.Tags ?? (Filter?.Tag ? [Filter.Tag] : []);
}

function hasNoTags(rule: LifecycleRule): boolean {
  return tagsOf(rule).length === 0;
}

function wantsExpirable(rule: LifecycleRule): boolean {
  const { key, value } = OBJECT_TAG.expirable;
  return tagsOf(rule).some(({ Key, Value }) => Key === key && Value === value);
}

function isForExpirable(rule: LifecycleRule): boolean {
  return wantsExpirable(rule) && tagsOf(rule).length === 1;
}

function isOfSomeSizes({ Filter }: LifecycleRule): boolean {
  const { ObjectSizeGreaterThan, ObjectSizeLessThan } = { ...Filter, ...Filter?.And };
  return ObjectSizeGreaterThan !== undefined || ObjectSizeLessThan !== undefined;
}
