import type { BaseDecision, BaseViews, PitrPolicy, WalViews } from '../../lib/domain/base/base-floor.ts';
import { decideWithVerdicts } from '../../lib/domain/base/base-floor.ts';
import { isUsable, type Base } from '../../lib/domain/base/base-catalog.ts';
import type { ListedFile } from '../../lib/domain/backup/catalog.ts';
import { asLifeboatError, LifeboatError } from '../../lib/domain/errors.ts';
import { OBJECT_TAG } from '../../lib/domain/names.ts';
import { basePrefix, journalPrefix, type WalSeries } from '../../lib/domain/wal/keys.ts';
import { withoutDamaged } from '../../lib/domain/wal/damaged-wal.ts';
import { judgeWalOf, type PitrDecision, type WalJudge } from '../../lib/domain/wal/wal-retention.ts';
import { damagedBy, objectOfVerdict, verdictPrefix } from '../../lib/domain/wal/verdicts.ts';
import { clustersIn, readBaseCatalog, type BaseManifestMemory } from '../base-catalog.ts';
import type { Bucket } from '../bucket.ts';
import type { Log } from '../log.ts';
import { forEachOf } from '../pool.ts';
import { listVerdicts, MOST_VERDICTS, type ListedVerdicts } from '../verdicts.ts';
import { Tagging } from './tagging.ts';
import { segmentSizeOf, WalSurvey, type Steps, type WalPlace } from './wal-survey.ts';

export interface RetentionWork {
  readonly backups: Bucket;
  readonly state: Bucket;
  readonly manifests: BaseManifestMemory;
  readonly log: Log;
  readonly prefix: string;
  readonly app: string;
  readonly days: number;
  readonly now: Date;
}

/** What a pass of the retention did; what it could not do is left to the next one. */
export interface RetentionDone {
  /** Objects that the backup bucket's lifecycle may remove now. */
  readonly tagged: number;
  /** Of the state bucket. */
  readonly removed: number;
  readonly problems: readonly LifeboatError[];
}

export type WalRetention = Steps<RetentionDone>;

const AT_ONCE = 16;
const BATCH = 500;

/**
 * The retention of base backups and WAL of one app in one folder, step by step. Everything is listed anew first. Base
 * backups and WAL are tagged for the lifecycle; the journal's pieces, of which there are thousands a day, and records of holes
 * are removed from the state bucket, where versions stay for a week. Tagging again what is tagged changes nothing.
 */
export async function* retainRecovery(work: RetentionWork): WalRetention {
  const { backups, state, manifests, prefix, app } = work;
  const { bases, asListed, clusters } = await readBaseCatalog(backups, manifests, { prefix, app }, state);
  const surveys: SurveyedWal[] = [];
  for (const systemIdentifier of await allClusters(work, clusters)) {
    const place = placeOf(work, { app, systemIdentifier });
    const survey = new WalSurvey(place, await segmentSizeOf(place, segmentSizeKnown(asListed, place)));
    yield* survey.listAll();
    const verdicts = yield* listVerdicts(place);
    const damaged = damagedBy(verdicts.files);
    const verified = withoutDamaged(survey.archive, damaged);
    surveys.push({ survey, listed: survey.archive, verified, verdicts, damaged: new Set(damaged.keys()) });
  }
  const policy = { days: work.days, now: work.now };
  const tagging = new Tagging(work);
  const views = { listed: asListed, verified: bases };
  const decisions = await decideBases(work, tagging, views, surveys, policy);
  yield* tagBases(tagging, decisions);
  let removed = 0;
  for (const { survey, listed, damaged, verdicts } of surveys) {
    const judge = judgeWalOf(listed, decisions, policy, damaged);
    yield* tagWal(tagging, survey, judge);
    const gone = verdictsOfGone(work, tagging, { survey, verdicts, bases });
    removed += yield* removeJournal(work, tagging, survey, judge, gone);
  }
  return { tagged: tagging.tagged, removed, problems: tagging.problems() };
}

interface SurveyedWal extends WalViews {
  readonly survey: WalSurvey;
  readonly verdicts: ListedVerdicts;
  /** By segment's name. */
  readonly damaged: ReadonlySet<string>;
}

/** A cluster may have left nothing but pieces of the journal. */
async function allClusters(
  { state, prefix, app }: RetentionWork,
  known: readonly string[],
): Promise<Set<string>> {
  return new Set([...known, ...(await clustersIn(state, `${prefix}/journal/${app}/`))]);
}

function placeOf({ backups, state, prefix }: RetentionWork, series: WalSeries): WalPlace {
  return { backups, state, prefix, series };
}

function segmentSizeKnown(bases: readonly Base[], { series }: WalPlace): number | undefined {
  return bases.find((base) => isUsable(base) && base.series.systemIdentifier === series.systemIdentifier)
    ?.manifest?.server.walSegmentSize;
}

/** A pin on any object of a base backup pins it, and what it is restored from; only those that would go are asked. */
async function decideBases(
  work: RetentionWork,
  tagging: Tagging,
  bases: BaseViews,
  archives: readonly WalViews[],
  policy: PitrPolicy,
): Promise<BaseDecision[]> {
  const first = decideWithVerdicts(bases, archives, policy);
  const pinned = new Set<string>();
  for (const { base } of first.filter(({ expire }) => expire)) {
    const pins = await forEachOf(
      base.files,
      AT_ONCE,
      async ({ key }) => await mayBePinned(work, tagging, key),
    );
    if (pins.includes(true)) pinned.add(base.label);
  }
  return pinned.size === 0 ? first : decideWithVerdicts(bases, archives, { ...policy, pinned });
}

/** What cannot be asked may be; that somebody must know, for it stays for as long as that lasts. */
async function mayBePinned(
  { backups, prefix }: RetentionWork,
  tagging: Tagging,
  key: string,
): Promise<boolean> {
  try {
    return OBJECT_TAG.pinned in (await backups.tags(`${prefix}/${key}`));
  } catch (error) {
    tagging.fail(asLifeboatError(error));
    return true;
  }
}

async function* tagBases(tagging: Tagging, decisions: readonly BaseDecision[]): Steps<void> {
  for (const { base, expire, reason } of decisions) {
    const decision = expire ? 'expire' : 'keep';
    const keys = base.files.map(({ key }) => key);
    for (let from = 0; from < keys.length; from += BATCH) {
      const changed = await tagging.apply(decision, keys.slice(from, from + BATCH));
      if (changed > 0)
        tagging.tell('Tagged a base backup', {
          base: basePrefix(base.series, base.label),
          decision,
          reason,
          objects: changed,
        });
      yield undefined;
    }
  }
}

/**
 * In the order of the WAL, so that what is tagged is a beginning. Of what stays only as much is asked as was tagged once: up
 * to the first batch of which nothing is.
 */
async function* tagWal(tagging: Tagging, survey: WalSurvey, judge: WalJudge): Steps<void> {
  const expired: string[] = [];
  const kept: string[] = [];
  /** Timelines of which nothing more is tagged. */
  const clear = new Set<string>();
  const others = survey.backupHistories.flatMap((file) => judge.other(file) ?? []);
  let count = 0;
  for (const decision of chain(judge.wal(), others)) {
    (decision.expire ? expired : kept).push(decision.key);
    count += 1;
    if (count % BATCH === 0) yield* flush();
  }
  yield* flush();

  async function* flush(): Steps<void> {
    const changed = await tagging.apply('expire', expired.splice(0));
    const asked = kept.splice(0).filter((key) => !clear.has(timelineOf(key)));
    const untagged = asked.length > 0 ? await tagging.apply('keep', asked) : 0;
    if (untagged === 0) for (const key of asked) clear.add(timelineOf(key));
    if (changed + untagged > 0) tagging.tell('Tagged WAL', { expirable: changed, keptAgain: untagged });
    yield undefined;
  }
}

function* chain(one: Iterable<PitrDecision>, other: Iterable<PitrDecision>): Generator<PitrDecision> {
  yield* one;
  yield* other;
}

/** Segments of a timeline; other files are few, and each is asked for by itself. */
function timelineOf(key: string): string {
  return /\/([0-9A-F]{8})\/[0-9A-F]{24}\.zst$/.exec(key)?.[1] ?? key;
}

/**
 * Keys of what verifications said of base backups and segments that are there no more. What they say since the pass began may be
 * of something that came since its listings.
 */
function verdictsOfGone(
  { state, prefix, now }: RetentionWork,
  tagging: Tagging,
  {
    survey: { archive },
    verdicts,
    bases,
  }: Pick<SurveyedWal, 'survey' | 'verdicts'> & { readonly bases: readonly Base[] },
): string[] {
  const { series } = archive;
  const labels = new Set(bases.map(({ label }) => label));
  if (verdicts.more) tagging.fail(tooManyVerdicts(`s3://${state.name}/${prefix}/${verdictPrefix(series)}`));
  return verdicts.files.flatMap(({ key, modifiedAt }) => {
    const object = objectOfVerdict(key);
    const isGone = object !== undefined && !labels.has(object) && !archive.segments.has(object);
    return isGone && modifiedAt <= now ? [key] : [];
  });
}

function tooManyVerdicts(where: string): LifeboatError {
  return new LifeboatError('S3_FAILED', `${where} holds more than ${MOST_VERDICTS} verdicts: not all count`, {
    hint: 'Find out which host writes them: each has its runId. What is removed there is said again by the next verification.',
  });
}

async function* removeJournal(
  { state, prefix, app }: RetentionWork,
  tagging: Tagging,
  { archive, holeFiles }: WalSurvey,
  judge: WalJudge,
  verdicts: readonly string[],
): Steps<number> {
  const { series } = archive;
  let removed = 0;
  let waiting: string[] = [];
  const remove = async (): Promise<void> => {
    if (waiting.length === 0) return;
    const keys = waiting;
    waiting = [];
    try {
      const refused = await state.remove(keys);
      for (const { key, why } of refused)
        tagging.fail(new LifeboatError('S3_DENIED', `s3:DeleteObject on s3://${state.name}/${key}: ${why}`));
      removed += keys.length - refused.length;
    } catch (error) {
      tagging.fail(asLifeboatError(error));
    }
  };
  let count = 0;
  for await (const object of state.list(`${prefix}/${journalPrefix(series)}`)) {
    const file: ListedFile = { ...object, key: object.key.slice(prefix.length + 1) };
    if (judge.piece(file)?.expire) waiting.push(object.key);
    count += 1;
    if (count % 1000 !== 0) continue;
    await remove();
    yield undefined;
  }
  for (const file of holeFiles) if (judge.other(file)?.expire) waiting.push(`${prefix}/${file.key}`);
  for (const key of verdicts) waiting.push(`${prefix}/${key}`);
  await remove();
  if (removed > 0)
    tagging.tell('Removed what is superseded from the state bucket', { app, objects: removed });
  yield undefined;
  return removed;
}
