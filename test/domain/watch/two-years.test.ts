import { formatBackupId, parseBackupId } from '../../../lib/domain/backup/backup-id.ts';
import { catalogStore, type BackupCopy } from '../../../lib/domain/backup/catalog.ts';
import type { Manifest } from '../../../lib/domain/backup/manifest.ts';
import { parseDeploymentConfig } from '../../../lib/domain/deployment/config.ts';
import { changeTags, planTagging } from '../../../lib/domain/watch/tagging-plan.ts';
import { sampleManifest } from '../../fixtures/sample-manifest.ts';
import { resourcesOf, synthesizeStorage, templateOf } from '../../infra/synthesize.ts';
import { mulberry32 } from '../../lambda/start-run/virtual-time.ts';
import { BucketModel, DAY_MS, type BucketTerms, type Rule } from './bucket-model.ts';

/**
 * Two years of nights against the watch's rules and the lifecycle of the synthesized backup bucket: hosts that are away, runs that are killed, clocks that are wrong, hands that delete, and a watch that is dead for weeks.
 */
const { storage } = parseDeploymentConfig(
  { series: [{ database: 'hostmaster', host: { instanceId: 'i-0123456789abcdef0' } }] },
  'defaults',
);
const TERMS = readTemplate();
const HOUR_MS = 60 * 60 * 1000;
const FIRST_NIGHT = Date.parse('2026-01-01T00:00:00Z');
const NIGHTS = 730;
const PIN = 'lifeboat-pin';
const SEEDS = [1, 2, 3, 4, 5, 6];

/** What the template says of the bucket that holds the backups. */
function readTemplate(): BucketTerms {
  const { assembly, storage: stack } = synthesizeStorage();
  const [, bucket] = resourcesOf(templateOf(assembly, stack), 'AWS::S3::Bucket').find(([id]) =>
    id.startsWith('Backups'),
  )!;
  const { LifecycleConfiguration, ObjectLockConfiguration } = bucket.Properties as unknown as {
    LifecycleConfiguration: { Rules: Rule[] };
    ObjectLockConfiguration: { Rule: { DefaultRetention: { Days: number } } };
  };
  return {
    rules: LifecycleConfiguration.Rules,
    lockDays: ObjectLockConfiguration.Rule.DefaultRetention.Days,
    prefix: `${storage.prefix}/`,
  };
}

/** Backups that their host finished, by id, with when it did by true time. */
type Made = Map<string, { madeAt: number; manifest: Manifest }>;

interface World {
  readonly bucket: BucketModel;
  readonly made: Made;
  readonly pinned: Set<string>;
  readonly chance: () => number;
  /** Of the host's clock, in milliseconds. */
  skewMs: number;
  hostAwayUntil: number;
  watchDeadUntil: number;
}

function newWorld(seed: number): World {
  return {
    bucket: new BucketModel(TERMS),
    made: new Map(),
    pinned: new Set(),
    chance: mulberry32(seed),
    skewMs: 0,
    hostAwayUntil: 0,
    watchDeadUntil: 0,
  };
}

function happens(world: World, oneIn: number): boolean {
  return world.chance() < 1 / oneIn;
}

/** What fate has for a day: each rare, but many in two years. */
function meetFate(world: World, now: number): void {
  if (happens(world, 60)) world.hostAwayUntil = now + (1 + world.chance() * 50) * DAY_MS;
  if (happens(world, 90)) world.watchDeadUntil = now + (1 + world.chance() * 60) * DAY_MS;
  if (happens(world, 30)) world.skewMs = chooseSkew(world);
  else if (happens(world, 4)) world.skewMs = 0;
}

function chooseSkew({ chance }: World): number {
  const days = [0.1, 2, 45, 400, 3650][Math.floor(chance() * 5)]!;
  return (chance() < 0.5 ? -1 : 1) * days * DAY_MS;
}

/** A night on the host: globals, dump and manifest in this order, and a kill may come after each. */
function backUp(world: World, now: number): void {
  if (now < world.hostAwayUntil) return;
  const { bucket, made, skewMs } = world;
  const claimed = new Date(now + skewMs);
  const id = formatBackupId({ app: 'hostmaster', time: claimed });
  if (happens(world, 40)) {
    // The user's old script still runs now and then: a dump and nothing else.
    bucket.putOnce(`${id}.sql.gz`, 900, now);
    return;
  }
  const iso = new Date(Math.floor(claimed.getTime() / 1000) * 1000).toISOString();
  const sample = sampleManifest({ id, startedAt: iso, finishedAt: iso });
  const manifest = { ...sample, dump: { ...sample.dump, size: 1000, frameSizes: [1000] } };
  bucket.putOnce(manifest.globals.key, manifest.globals.size, now);
  if (happens(world, 15)) return;
  bucket.putOnce(manifest.dump.key, manifest.dump.size, now);
  if (happens(world, 15)) return;
  bucket.putOnce(`${id}.manifest.json`, 100, now);
  made.set(id, { madeAt: now, manifest });
}

/** Somebody pins a backup, unpins one, or deletes a file. */
function meddle(world: World, now: number): void {
  const { bucket, pinned, made } = world;
  if (happens(world, 50) && pinned.size < 5) {
    const some = [...made.keys()][Math.floor(world.chance() * made.size)];
    const dump = some === undefined ? undefined : made.get(some)!.manifest.dump.key;
    if (some !== undefined && dump !== undefined && bucket.has(dump)) {
      pinned.add(some);
      bucket.setTags(dump, { ...bucket.tags(dump), [PIN]: 'kept' });
    }
  }
  const [unpinned] = pinned;
  if (unpinned !== undefined && happens(world, 200)) {
    pinned.delete(unpinned);
    const { key } = made.get(unpinned)!.manifest.dump;
    const { [PIN]: _, ...rest } = bucket.tags(key);
    bucket.setTags(key, rest);
  }
  if (happens(world, 150)) {
    const files = bucket.list('');
    const file = files[Math.floor(world.chance() * files.length)];
    if (file && !pinned.has(idOf(file.key))) bucket.delete(file.key, now);
  }
}

/** Until the bucket's contents change. */
const catalogs = new WeakMap<BucketModel, { revision: number; copies: BackupCopy[] }>();

function catalogOf(world: World): BackupCopy[] {
  const known = catalogs.get(world.bucket);
  if (known?.revision === world.bucket.revision) return known.copies;
  const copies = readCatalog(world);
  catalogs.set(world.bucket, { revision: world.bucket.revision, copies });
  return copies;
}

function readCatalog({ bucket, made }: World): BackupCopy[] {
  const files = bucket.list('hostmaster_db_');
  const manifests = new Map<string, Manifest>();
  for (const { key } of files) {
    const id = key.endsWith('.manifest.json') ? key.slice(0, -'.manifest.json'.length) : undefined;
    const found = id === undefined ? undefined : made.get(id);
    if (found) manifests.set(key, found.manifest);
  }
  return catalogStore('hostmaster', { store: 's3', files, manifests });
}

/** A pass of the watch, by its own rules. */
function watch(world: World, now: number): void {
  if (now < world.watchDeadUntil) return;
  const { bucket } = world;
  const plan = planTagging(catalogOf(world), { days: storage.retentionDays, now: new Date(now) });
  for (const decision of ['keep', 'expire'] as const) {
    for (const copy of plan[decision]) {
      const objects = copy.files.map(({ key }) => ({ key, tags: bucket.tags(key) }));
      for (const { key, tags } of changeTags(decision, objects)) bucket.setTags(key, tags);
    }
  }
}

/** The newest that was ever finished, by true time, and stands whole. */
function newestWhole(world: World): string | undefined {
  const whole = catalogOf(world).flatMap(({ id, state }) => (state === 'complete' ? [id] : []));
  return newestOf(world, new Set(whole));
}

function newestOf({ made }: World, whole: ReadonlySet<string>): string | undefined {
  // In the order in which they were made.
  return [...made.keys()].findLast((id) => whole.has(id));
}

function idOf(key: string): string {
  return key.split('.')[0]!;
}

/** The lifecycle acts on the midnight after, and a deletion or an unpinning may just have changed everything. */
const PATIENCE_DAYS = 3;

/** Objects that were old, superseded by a newer verified backup and pinned by nobody on more days than that in a row. */
function countOverstayed(world: World, now: number, days: Map<string, number>): string[] {
  const copies = catalogOf(world);
  const whole = new Set(copies.flatMap(({ id, state }) => (state === 'complete' ? [id] : [])));
  const newest = newestOf(world, whole);
  // By its own date as well: that one is kept for whoever believes dates.
  const dated = copies.find(({ id, time }) => whole.has(id) && time.getTime() <= now + 5 * 60_000);
  const alive = now >= world.watchDeadUntil;
  const found = new Map<string, number>();
  for (const { key, modifiedAt } of world.bucket.list('')) {
    const id = idOf(key);
    if (!alive || !dated || id === newest || id === dated.id || world.pinned.has(id)) continue;
    const believed = Math.min(parseBackupId(id)!.time.getTime(), modifiedAt.getTime());
    const old = now - modifiedAt.getTime() > (storage.expirationDays + 1) * DAY_MS;
    if (old && dated.time.getTime() > believed) found.set(key, (days.get(key) ?? 0) + 1);
  }
  days.clear();
  for (const [key, count] of found) days.set(key, count);
  return [...found].flatMap(([key, count]) => (count > PATIENCE_DAYS ? [key] : []));
}

describe.each(SEEDS)('two years of nights (seed %d)', (seed) => {
  it('never lose the newest verified backup, expire nothing early, and keep nothing superseded for ever', () => {
    const world = newWorld(seed);
    const overstayed = new Map<string, number>();
    let expiries = 0;
    for (let night = 0; night < NIGHTS; night += 1) {
      const midnight = FIRST_NIGHT + night * DAY_MS;
      const before = newestWhole(world);
      world.bucket.runLifecycle(midnight);
      // The lifecycle took nothing that was the newest verified backup …
      expect(newestWhole(world)).toBe(before);
      // … and nothing before its time, or pinned.
      for (const { key, createdAt, at } of world.bucket.expired.slice(expiries)) {
        expect(at - createdAt).toBeGreaterThanOrEqual(storage.retentionDays * DAY_MS);
        expect(world.pinned.has(idOf(key))).toBe(false);
      }
      expiries = world.bucket.expired.length;
      meetFate(world, midnight);
      meddle(world, midnight + HOUR_MS);
      backUp(world, midnight + 2 * HOUR_MS + Math.floor(world.chance() * 60) * 1000);
      watch(world, midnight + 12 * HOUR_MS);
      expect(countOverstayed(world, midnight + 23.5 * HOUR_MS, overstayed)).toEqual([]);
    }
    // The world was as rough as was meant, and the rules had work to do.
    expect(world.made.size).toBeGreaterThan(150);
    expect(world.bucket.expired.length).toBeGreaterThan(300);
    expect(world.bucket.removed.length).toBeGreaterThan(200);
    // Whatever was deleted, by whomever, could be had back for a month.
    for (const { createdAt, at } of world.bucket.removed) {
      expect(at - createdAt).toBeGreaterThanOrEqual(
        Math.max(storage.lockDays, storage.noncurrentDays) * DAY_MS,
      );
    }
  });
});

describe('hands that delete', () => {
  it('make an older backup the newest again, and it loses its tag in time', () => {
    const world = newWorld(99);
    world.skewMs = 0;
    const start = FIRST_NIGHT;
    const finish = (day: number): string => {
      const now = start + day * DAY_MS + 2 * HOUR_MS;
      const id = formatBackupId({ app: 'hostmaster', time: new Date(now) });
      const iso = new Date(now).toISOString();
      const sample = sampleManifest({ id, startedAt: iso, finishedAt: iso });
      const manifest = { ...sample, dump: { ...sample.dump, size: 1000 } };
      world.bucket.putOnce(manifest.globals.key, manifest.globals.size, now);
      world.bucket.putOnce(manifest.dump.key, 1000, now);
      world.bucket.putOnce(`${id}.manifest.json`, 100, now);
      world.made.set(id, { madeAt: now, manifest });
      return id;
    };
    const old = finish(0);
    const young = finish(29);
    watch(world, start + 30.5 * DAY_MS);
    expect(world.bucket.tags(`${old}.sql.gz`)).toEqual({ lifeboat: 'expirable' });
    world.bucket.delete(`${young}.sql.gz`, start + 30.6 * DAY_MS);
    watch(world, start + 30.7 * DAY_MS);
    for (let day = 31; day < 400; day += 1) {
      world.bucket.runLifecycle(start + day * DAY_MS);
      watch(world, start + (day + 0.5) * DAY_MS);
    }
    expect(newestWhole(world)).toBe(old);
  });
});
