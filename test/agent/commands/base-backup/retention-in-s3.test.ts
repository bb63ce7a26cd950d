import '../../../contract/one-realm.ts';
import { ListObjectVersionsCommand, PutObjectTaggingCommand } from '@aws-sdk/client-s3';
import { isUsable } from '../../../../lib/domain/base/base-catalog.ts';
import type { BaseManifest } from '../../../../lib/domain/base/base-manifest.ts';
import { DEFAULT_SEGMENT_SIZE } from '../../../../lib/domain/wal/segment.ts';
import { restorableWindow } from '../../../../lib/domain/wal/window.ts';
import { readBases } from '../../../../scripts/agent/catalog/bases.ts';
import { readWalArchive, type WalStores } from '../../../../scripts/agent/catalog/wal.ts';
import {
  retention,
  type RetentionPorts,
  type RetentionResult,
} from '../../../../scripts/agent/commands/catalog/retention.ts';
import type { ObjectStore } from '../../../../scripts/agent/ports/store.ts';
import { openS3Store } from '../../../../scripts/agent/s3/s3-store.ts';
import { RecoveryBucket } from '../../../lambda/recovery-bucket.ts';
import { CONFIG, startStage, type Stage } from '../../../lambda/stage.ts';

/** The command and its S3 store against the local S3, whose clock is the test's: there are objects of weeks ago. */
const DAY = 24 * 60;
const KEPT_DAYS = 5;

let stage: Stage;
let cluster: RecoveryBucket;
let stores: ObjectStore[];

beforeEach(async () => {
  stage = await startStage(CONFIG);
  cluster = new RecoveryBucket(stage);
  stores = [];
});
afterEach(async () => {
  for (const store of stores) store.close();
  await stage.close();
});

interface Laid {
  readonly bases: (readonly string[])[];
  readonly wal: string[];
  readonly pieces: string[];
}

/** A base backup a day, a full one every third day and increments on it; a segment and a piece of the journal a day. */
async function live(days: number): Promise<Laid> {
  const laid: Laid = { bases: [], wal: [], pieces: [] };
  let parent: BaseManifest | undefined;
  for (let day = 1; day <= days; day += 1) {
    const made = await cluster.base(day, day % 3 === 1 || !parent ? {} : { parent });
    parent = made.manifest;
    laid.bases.push(made.keys);
    laid.pieces.push(await cluster.piece(day, 0, 1));
    stage.passMinutes(DAY);
    laid.wal.push(await cluster.segment(day));
  }
  return laid;
}

function open(bucket: 'backups' | 'state'): ObjectStore {
  const { s3, clock } = stage;
  const overrides = {
    endpoint: s3.endpoint,
    region: s3.region,
    credentials: s3.credentials,
    forcePathStyle: true,
    systemClockOffset: clock.now().getTime() - Date.now(),
  };
  const settings = { bucket, prefix: 'database', stateBucket: 'state', kmsKeyId: undefined };
  const store = openS3Store(settings, { environment: {}, clientOverrides: overrides });
  stores.push(store);
  return store;
}

function openWal(): WalStores {
  return { backups: open('backups'), state: open('state') };
}

const EMPTY = {
  kind: 'local',
  async *list() {},
  async *folders() {},
} as unknown as ObjectStore;

async function retain(s3: 'leave' | 'tag' | 'delete'): Promise<RetentionResult> {
  const wal = openWal();
  const ports = {
    stores: [EMPTY, wal.backups],
    wal,
    journal: { records: () => Promise.resolve([]) },
    host: { boot: () => ({ id: 'x', uptimeMs: 1 }) },
    clock: { now: stage.clock.now, monotonic: () => 0 },
    log: { info: () => undefined, warn: () => undefined },
  } as unknown as RetentionPorts;
  return await retention(ports, { app: 'hostmaster', localDays: 7, s3Days: KEPT_DAYS, dryRun: false, s3 });
}

async function listed(bucket: 'backups' | 'state'): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of stage[bucket].list('')) keys.push(key);
  return keys.toSorted();
}

async function versions(): Promise<string[]> {
  const { Versions: all = [] } = await stage.s3Client.send(
    new ListObjectVersionsCommand({ Bucket: 'backups', Prefix: 'database/pitr/' }),
  );
  return all.map(({ Key }) => Key!);
}

async function tagged(keys: readonly string[]): Promise<boolean[]> {
  return await Promise.all(
    keys.map(async (key) => (await stage.backups.tags(key))['lifeboat'] === 'expirable'),
  );
}

/** What can be recovered from what is left, and whether all base backups that are left can be. */
async function recoverable() {
  const wal = openWal();
  const bases = await readBases('hostmaster', wal.backups);
  const archive = await readWalArchive(wal, cluster.series, DEFAULT_SEGMENT_SIZE);
  const { timelines, holes } = restorableWindow({ archive, bases });
  const [stretch, ...others] = timelines.flatMap(({ stretches }) => stretches);
  expect([others, holes]).toEqual([[], []]);
  return {
    usable: bases.map((base) => isUsable(base)),
    anchored: stretch!.bases.map(({ label }) => label),
    bases: bases.map(({ label }) => label).toReversed(),
    earliest: new Date(stretch!.earliest.time),
    end: stretch!.walEnd,
  };
}

describe('Retention of base backups and WAL in S3, applied by an operator', () => {
  it('deletes what no kept day needs, and leaves every base backup that stays with its chain and its WAL', async () => {
    const { bases, wal, pieces } = await live(10);
    const before = await recoverable();
    const result = await retain('delete');
    // Of ten days the last five are kept. The one that the first of them begins with builds on the full one of day 4.
    expect(await listed('backups')).toEqual([...bases.slice(3).flat(), ...wal.slice(3)].toSorted());
    expect(await listed('state')).toEqual(pieces.slice(-1));
    expect(result).toMatchObject({ s3Action: 'deleted' });
    const after = await recoverable();
    expect(after).toMatchObject({ usable: after.bases.map(() => true), end: before.end });
    expect(after.anchored).toEqual(after.bases);
    expect(after.bases).toEqual(before.bases.slice(3));
    const firstKept = new Date(stage.clock.now().getTime() - KEPT_DAYS * DAY * 60_000);
    expect(after.earliest.getTime()).toBeLessThanOrEqual(firstKept.getTime());
    // Object Lock holds the bytes of what went.
    expect(await versions()).toEqual(expect.arrayContaining(bases.flat()));
    // Nothing more goes the second time.
    expect((await retain('delete')).recovery.s3!.bases.filter(({ expire }) => expire)).toEqual([]);
    expect(await listed('backups')).toHaveLength(7 * 5 + 7);
  });

  it('tags the same, and what is pinned neither goes nor loses what it needs', async () => {
    const { bases, wal } = await live(10);
    await stage.s3Client.send(
      new PutObjectTaggingCommand({
        Bucket: 'backups',
        Key: bases[1]![0]!,
        Tagging: { TagSet: [{ Key: 'lifeboat-pin', Value: 'audit' }] },
      }),
    );
    await retain('tag');
    const gone = await Promise.all(bases.map(async (keys) => await tagged(keys)));
    // Day 2 is pinned and builds on day 1; day 3 builds on both, and nothing on it.
    expect(gone.map((all) => [...new Set(all)])).toEqual(bases.map((_, day) => [day === 2]));
    expect((await tagged(wal)).flatMap((is, day) => (is ? [day + 1] : []))).toEqual([]);
  });

  it('keeps an older base backup where a verification, on whatever host, found the needed one damaged', async () => {
    const { bases, wal } = await live(10);
    const [needed] = bases[3]!;
    await cluster.verdict(needed!.split('/').at(-2)!, 'damaged');
    await retain('delete');
    expect(await listed('backups')).toEqual([...bases.flat(), ...wal].toSorted());
  });

  it('says which right is missing when a deletion is denied; what stays can be recovered, and the next one goes on', async () => {
    const { bases, wal } = await live(10);
    stage.s3.faults.deny({ action: 'DeleteObject', key: '*/wal/*' });
    await expect(retain('delete')).rejects.toThrow(/S3 denied s3:DeleteObject on s3:.*wal/);
    const halfway = await recoverable();
    expect(halfway.usable).toEqual(halfway.bases.map(() => true));
    stage.s3.faults.clear();
    await retain('delete');
    expect(await listed('backups')).toEqual([...bases.slice(3).flat(), ...wal.slice(3)].toSorted());
  });
});
