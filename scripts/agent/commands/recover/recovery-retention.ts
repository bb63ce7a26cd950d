import { isUsable, type Base } from '../../../../lib/domain/base/base-catalog.ts';
import {
  decideWithVerdicts,
  type BaseDecision,
  type BaseViews,
  type PitrPolicy,
  type WalViews,
} from '../../../../lib/domain/base/base-floor.ts';
import { LifeboatError } from '../../../../lib/domain/errors.ts';
import { OBJECT_TAG } from '../../../../lib/domain/names.ts';
import { parsePitrKey, pitrAppPrefix, type WalSeries } from '../../../../lib/domain/wal/keys.ts';
import { DEFAULT_SEGMENT_SIZE } from '../../../../lib/domain/wal/segment.ts';
import { withoutDamaged } from '../../../../lib/domain/wal/damaged-wal.ts';
import { judgeWalOf, type PitrDecision } from '../../../../lib/domain/wal/wal-retention.ts';
import { readBaseViews } from '../../catalog/bases.ts';
import { readDamaged } from '../../catalog/verdicts.ts';
import type { Clock } from '../../ports/host.ts';
import type { Journal } from '../../ports/journal.ts';
import type { ObjectStore } from '../../ports/store.ts';
import { listWal, type ListedWal, type WalStores } from '../../catalog/wal.ts';
import { manifestFirst } from '../base-backup/base-backup-retention.ts';

export interface RecoveryRetentionPorts {
  readonly wal: WalStores | undefined;
  readonly journal: Journal;
  readonly clock: Clock;
}

/** Verdicts on what point-in-time recovery keeps in one store. */
export interface RecoveryDecisions {
  /** Newest first. */
  readonly bases: readonly BaseDecision[];
  /** By cluster; in the host's own folder lies none. */
  readonly wal: readonly WalVerdict[];
}

export interface WalVerdict {
  readonly systemIdentifier: string;
  /** Segments, partial ones, history files and what PostgreSQL archived about base backups. */
  readonly archive: { readonly stays: number; readonly expired: readonly string[] };
  /** Pieces of open segments and records of holes, in the state bucket. */
  readonly state: { readonly stays: number; readonly expired: readonly string[] };
}

const AT_ONCE = 8;

/** The host's own folder: base backups alone. */
export async function decideLocalBases(
  { journal, clock }: RecoveryRetentionPorts,
  app: string,
  store: ObjectStore,
  days: number,
): Promise<RecoveryDecisions> {
  const bases = await readBaseViews(app, store, { runs: await journal.records() });
  return { bases: decideWithVerdicts(bases, [], { days, now: clock.now() }), wal: [] };
}

/** @param pins whether not being allowed to read tags is an error */
export async function decideInS3(
  { journal, clock }: RecoveryRetentionPorts,
  stores: WalStores,
  {
    app,
    days,
    pins,
  }: { readonly app: string; readonly days: number; readonly pins: 'must be read' | 'if allowed' },
): Promise<RecoveryDecisions> {
  const { state, backups } = stores;
  const bases = await readBaseViews(app, backups, { runs: await journal.records(), state });
  const policy = { days, now: clock.now() };
  const listed: SurveyedWal[] = [];
  for (const systemIdentifier of await clustersOf(stores, app)) {
    const series = { app, systemIdentifier };
    const { archive, others } = await listWal(stores, series, segmentSizeOf(bases.listed, series));
    const damaged = await readDamaged(state, series);
    const verified = withoutDamaged(archive, damaged);
    listed.push({ listed: archive, verified, others, damaged: new Set(damaged.keys()) });
  }
  const decisions = await decideWithPins(backups, bases, listed, policy, pins);
  return { bases: decisions, wal: listed.map((each) => judge(each, decisions, policy)) };
}

interface SurveyedWal extends WalViews, Pick<ListedWal, 'others'> {
  /** By name. */
  readonly damaged: ReadonlySet<string>;
}

async function clustersOf({ backups, state }: WalStores, app: string): Promise<Set<string>> {
  const clusters = new Set<string>();
  for (const [store, prefix] of [
    [backups, pitrAppPrefix(app)],
    [state, `journal/${app}/`],
  ] as const) {
    for await (const folder of store.folders(prefix))
      if (/^[1-9]\d{0,19}$/.test(folder)) clusters.add(folder);
  }
  return clusters;
}

function segmentSizeOf(bases: readonly Base[], { systemIdentifier }: WalSeries): number {
  const own = bases.find((base) => isUsable(base) && base.series.systemIdentifier === systemIdentifier);
  return own?.manifest?.server.walSegmentSize ?? DEFAULT_SEGMENT_SIZE;
}

/** A tag on any of its objects pins a base backup; only those that would go need to be asked. */
async function decideWithPins(
  store: ObjectStore,
  bases: BaseViews,
  archives: readonly WalViews[],
  policy: PitrPolicy,
  pins: 'must be read' | 'if allowed',
): Promise<BaseDecision[]> {
  const first = decideWithVerdicts(bases, archives, policy);
  const pinned = new Set<string>();
  try {
    for (const { base, expire } of first) {
      if (!expire) continue;
      for (const { key } of base.files)
        if (OBJECT_TAG.pinned in (await store.tags(key))) pinned.add(base.label);
    }
  } catch (error) {
    const denied = error instanceof LifeboatError && error.code === 'S3_DENIED';
    if (!denied || pins === 'must be read') throw error;
  }
  return pinned.size === 0 ? first : decideWithVerdicts(bases, archives, { ...policy, pinned });
}

function judge(
  { listed, damaged, others }: SurveyedWal,
  decisions: readonly BaseDecision[],
  policy: PitrPolicy,
): WalVerdict {
  const judged = judgeWalOf(listed, decisions, policy, damaged);
  const [records, histories] = [true, false].map((wanted) =>
    others
      .filter(({ key }) => (parsePitrKey(key)?.role === 'hole') === wanted)
      .flatMap((file) => judged.other(file) ?? []),
  );
  return {
    systemIdentifier: listed.series.systemIdentifier,
    archive: count(judged.wal(), histories!),
    state: count(judged.journal(), records!),
  };
}

function count(...decisions: Iterable<PitrDecision>[]): WalVerdict['archive'] {
  const expired: string[] = [];
  let stays = 0;
  for (const some of decisions) {
    for (const { key, expire } of some) {
      if (expire) expired.push(key);
      else stays += 1;
    }
  }
  return { stays, expired };
}

/** Removes, or tags for the bucket's lifecycle, what the verdicts let go; base backups first, their manifests before all. */
export async function applyToRecovery(
  stores: WalStores,
  { bases, wal }: RecoveryDecisions,
  action: 'tag' | 'delete',
): Promise<void> {
  for (const { base, expire } of bases)
    if (expire) await applyTo(stores.backups, manifestFirst(base.files), action);
  for (const verdict of wal) {
    await applyTo(stores.backups, verdict.archive.expired, action);
    await applyTo(stores.state, verdict.state.expired, action);
  }
}

async function applyTo(store: ObjectStore, keys: readonly string[], action: 'tag' | 'delete'): Promise<void> {
  const waiting = keys.values();
  const work = async (): Promise<void> => {
    for (const key of waiting) {
      const tags = await tagsOf(store, key);
      if (OBJECT_TAG.pinned in tags) continue;
      if (action === 'delete') await store.remove(key);
      else if (tags[OBJECT_TAG.expirable.key] !== OBJECT_TAG.expirable.value)
        await store.setTags(key, { ...tags, [OBJECT_TAG.expirable.key]: OBJECT_TAG.expirable.value });
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
}

async function tagsOf(store: ObjectStore, key: string): Promise<Record<string, string>> {
  return store.kind === 'local' ? {} : await store.tags(key);
}
