import { DeleteObjectCommand, PutObjectTaggingCommand } from '@aws-sdk/client-s3';
import { lsnOf } from '../domain/wal/wal-bucket.ts';
import type { LambdaContext } from '../../lambda/handler.ts';
import { isDue } from '../../lib/domain/watch/places.ts';
import { RecoveryBucket } from './recovery-bucket.ts';
import { CONFIG, HOST, startStage, type Stage } from './stage.ts';

let stage: Stage;
let cluster: RecoveryBucket;

beforeEach(async () => {
  stage = await startStage({ ...CONFIG, storage: { retentionDays: 5, lockDays: 5 } });
  cluster = new RecoveryBucket(stage);
});
afterEach(async () => stage.close());

const FOLDER = { prefix: 'database', apps: ['hostmaster'], instanceId: HOST };

const MEASURES = [
  'LatestRestorableAgeSeconds',
  'RestorableWindowSeconds',
  'BaseBackupAgeSeconds',
  'UnhealedHoles',
  'WalSilenceSeconds',
] as const;

/** What the last invocation told of the restorable window. */
function measured(): Partial<Record<(typeof MEASURES)[number], number | number[]>> {
  const values = stage.metrics().at(-1) ?? {};
  return Object.fromEntries(MEASURES.flatMap((name) => (name in values ? [[name, values[name]]] : [])));
}

function requestsSince(from: number): string[] {
  return stage.s3.requests
    .slice(from)
    .filter(({ key = '', query }) => /pitr|journal|holes/.test(`${key}${query}`))
    .map(({ action }) => action);
}

describe('the watch over restorable windows', () => {
  it('says nothing of a series without base backups and WAL', async () => {
    await stage.putBackup('hostmaster_db_20260117_010000');
    await stage.watch();
    expect(measured()).toEqual({});
  });

  it('tells the latest restorable instant from the commits in S3, and how long the window is', async () => {
    await cluster.base(3);
    stage.passMinutes(60);
    await cluster.segment(3);
    stage.passMinutes(60);
    await cluster.segment(4);
    await cluster.piece(5, 0, 1);
    stage.passMinutes(1);
    await cluster.piece(5, 1, 2, { commit: false });
    await stage.watch();
    expect(measured()).toEqual({
      LatestRestorableAgeSeconds: 60,
      RestorableWindowSeconds: 2 * 3600,
      BaseBackupAgeSeconds: 2 * 3600 + 60,
      UnhealedHoles: 0,
      WalSilenceSeconds: 0,
    });
  });

  it('lets the ages of a stream that has gone silent grow by themselves', async () => {
    await cluster.base(3);
    await cluster.segment(3);
    await stage.watch();
    stage.passMinutes(45);
    await stage.watch();
    expect(measured()).toMatchObject({ LatestRestorableAgeSeconds: 45 * 60, WalSilenceSeconds: 45 * 60 });
  });

  it('counts from its first WAL for a series of which nothing can be recovered yet', async () => {
    await cluster.segment(3);
    stage.passMinutes(30);
    await cluster.segment(4);
    await stage.watch();
    expect(measured()).toMatchObject({
      LatestRestorableAgeSeconds: 1800,
      BaseBackupAgeSeconds: 1800,
      RestorableWindowSeconds: 0,
      WalSilenceSeconds: 0,
    });
  });

  it('follows WAL that comes with two listings and the question about its newest object', async () => {
    await cluster.base(3);
    for (let number = 3; number < 20; number += 1) await cluster.segment(number);
    await stage.watch();
    do stage.passMinutes(5);
    while (isDue('listing', FOLDER, stage.clock.now()));
    await cluster.segment(21);
    await cluster.segment(20);
    await cluster.piece(22, 0, 1);
    const from = stage.s3.requests.length;
    await stage.watch();
    expect(measured()).toMatchObject({ LatestRestorableAgeSeconds: 0, UnhealedHoles: 0 });
    expect(requestsSince(from)).toEqual(['ListObjectsV2', 'ListObjectsV2', 'HeadObject']);
  });

  it('follows a timeline to its successor', async () => {
    await cluster.base(3);
    await cluster.segment(3);
    await cluster.segment(4);
    await stage.watch();
    stage.passMinutes(5);
    await cluster.history(2, 1, lsnOf(5, 1024));
    await cluster.partial(1, 5);
    await cluster.segment(5, { timeline: 2 });
    await stage.watch();
    expect(measured()).toMatchObject({ LatestRestorableAgeSeconds: 0, UnhealedHoles: 0 });
  });

  it('sees what comes of a timeline after its successor was heard of', async () => {
    await cluster.base(3);
    await cluster.segment(3);
    await cluster.history(2, 1, lsnOf(5, 8 * 1024 * 1024));
    await stage.watch();
    stage.passMinutes(5);
    await cluster.segment(4);
    await cluster.partial(1, 5);
    await stage.watch();
    expect(measured()).toMatchObject({
      LatestRestorableAgeSeconds: 0,
      WalSilenceSeconds: 0,
      UnhealedHoles: 0,
    });
  });

  it('goes by the old timeline again where a recovery in place was undone', async () => {
    await cluster.base(3);
    await cluster.segment(3);
    await cluster.segment(4);
    await stage.watch();
    stage.passMinutes(5);
    await cluster.history(2, 1, lsnOf(4, 1024));
    await cluster.segment(4, { timeline: 2 });
    await stage.watch();
    const fresh = { LatestRestorableAgeSeconds: 0, WalSilenceSeconds: 0, UnhealedHoles: 0 };
    expect(measured()).toMatchObject(fresh);
    for (const number of [5, 6, 7]) {
      stage.passMinutes(60);
      await cluster.segment(number);
      await cluster.piece(number + 1, 0, 1);
      await stage.watch();
      expect(measured()).toMatchObject(fresh);
    }
    stage.passMinutes(20);
    await cluster.piece(8, 1, 2, { commit: false });
    await stage.watch();
    expect(measured()).toMatchObject({ ...fresh, LatestRestorableAgeSeconds: 1200 });
    await stage.coldWatch();
    expect(measured()).toMatchObject({ ...fresh, LatestRestorableAgeSeconds: 1200 });
  });

  it('counts a hole until a base backup stands behind it', async () => {
    await cluster.base(3);
    await cluster.segment(3);
    stage.passMinutes(10);
    await cluster.segment(7);
    await cluster.hole(4, 7);
    await stage.watch();
    expect(measured()).toMatchObject({ UnhealedHoles: 1, LatestRestorableAgeSeconds: 600 });
    stage.passMinutes(30);
    await cluster.base(8);
    do stage.passMinutes(5);
    while (!isDue('listing', FOLDER, stage.clock.now()));
    await stage.watch();
    expect(measured()).toMatchObject({ UnhealedHoles: 0 });
    expect(measured().LatestRestorableAgeSeconds).toBeLessThanOrEqual(3600);
  });

  it('counts a gap that is not on record only when it is still there at the next look', async () => {
    await cluster.base(3);
    await cluster.segment(3);
    await cluster.segment(5);
    await stage.watch();
    expect(measured()).toMatchObject({ UnhealedHoles: 0 });
    // It was on its way, as is another one by now.
    await cluster.segment(4);
    await cluster.piece(7, 0, 1);
    stage.passMinutes(5);
    await stage.watch();
    expect(measured()).toMatchObject({ UnhealedHoles: 0 });
    stage.passMinutes(5);
    await stage.watch();
    expect(measured()).toMatchObject({ UnhealedHoles: 1 });
  });

  it('sees within the hour that a hole is filled, however far back', async () => {
    await cluster.base(3);
    await cluster.segment(3);
    for (let number = 5; number < 75; number += 1) await cluster.segment(number);
    await stage.watch();
    await stage.watch();
    expect(measured()).toMatchObject({ UnhealedHoles: 1 });
    await cluster.segment(4);
    do stage.passMinutes(5);
    while (!isDue('listing', FOLDER, stage.clock.now()));
    await stage.watch();
    expect(measured()).toMatchObject({ UnhealedHoles: 0 });
  });

  const passUntilListed = (): void => {
    do stage.passMinutes(5);
    while (!isDue('listing', FOLDER, stage.clock.now()));
  };

  it('counts a base backup no more that a verification found damaged, until one finds it sound', async () => {
    await cluster.base(3);
    stage.passMinutes(600);
    const { manifest } = await cluster.base(4);
    await cluster.segment(3);
    await cluster.segment(4);
    await stage.watch();
    const age = measured().BaseBackupAgeSeconds;
    expect(age).toBe(0);
    await cluster.verdict(manifest.label, 'damaged');
    passUntilListed();
    await stage.watch();
    expect(measured().BaseBackupAgeSeconds).toBeGreaterThanOrEqual(36_000);
    expect(measured()).toMatchObject({ UnhealedHoles: 0 });
    stage.passMinutes(1);
    await cluster.verdict(manifest.label, 'sound');
    passUntilListed();
    await stage.watch();
    expect(measured().BaseBackupAgeSeconds).toBeLessThan(36_000);
  });

  it('takes a segment that a verification found damaged for a hole, which a base backup behind it heals', async () => {
    await cluster.base(3);
    for (const number of [3, 4, 5]) await cluster.segment(number);
    await cluster.piece(4, 0, 1);
    await stage.watch();
    expect(measured()).toMatchObject({ UnhealedHoles: 0 });
    await cluster.verdict(4, 'damaged');
    passUntilListed();
    await stage.watch();
    expect(measured()).toMatchObject({ UnhealedHoles: 1 });
    await stage.coldWatch();
    expect(measured()).toMatchObject({ UnhealedHoles: 1 });
    await cluster.segment(6);
    await cluster.base(7);
    passUntilListed();
    await stage.watch();
    expect(measured()).toMatchObject({ UnhealedHoles: 0 });
  });

  it('goes on telling ages when S3 refuses to tell more, and says so', async () => {
    await cluster.base(3);
    await cluster.segment(3);
    await stage.watch();
    stage.passMinutes(5);
    stage.s3.faults.deny({ action: 'HeadObject' });
    await expect(stage.watch()).rejects.toThrow(/HeadObject/);
    expect(measured()).toMatchObject({ LatestRestorableAgeSeconds: 300 });
    stage.s3.faults.clear();
    await stage.watch();
  });

  it('looks after a new cluster of the same app from its first base backup on', async () => {
    await cluster.base(3);
    await cluster.segment(3);
    stage.passMinutes(600);
    const upgraded = new RecoveryBucket(stage, 'database', {
      app: 'hostmaster',
      systemIdentifier: '7400000000000000002',
    });
    await upgraded.segment(1);
    await stage.coldWatch();
    expect(measured()).toMatchObject({ LatestRestorableAgeSeconds: 36_000 });
  });
});

describe('the retention of base backups and WAL', () => {
  const DAY = 24 * 60;

  /** A base backup, a segment and a piece a day. */
  async function live(
    days: number,
  ): Promise<{ bases: (readonly string[])[]; wal: string[]; pieces: string[] }> {
    const [bases, wal, pieces]: [(readonly string[])[], string[], string[]] = [[], [], []];
    for (let day = 1; day <= days; day += 1) {
      bases.push((await cluster.base(day)).keys);
      pieces.push(await cluster.piece(day, 0, 1));
      stage.passMinutes(DAY);
      wal.push(await cluster.segment(day));
    }
    return { bases, wal, pieces };
  }

  async function tagged(keys: readonly string[]): Promise<boolean[]> {
    return await Promise.all(
      keys.map(async (key) => (await stage.backups.tags(key))['lifeboat'] === 'expirable'),
    );
  }

  async function listed(prefix: string): Promise<string[]> {
    const keys: string[] = [];
    for await (const { key } of stage.state.list(prefix)) keys.push(key);
    return keys;
  }

  it('tags whole base backups and the WAL that no other needs, and keeps what the first kept day begins with', async () => {
    const { bases, wal, pieces } = await live(9);
    const history = await cluster.backupHistory(1);
    stage.passMinutes(5);
    const answer = await stage.watch({ retention: 'all' });
    // Of nine days the last five are kept: the base backup of the fifth is what recovery to their first instant begins with.
    const gone = await Promise.all(bases.map(async (keys) => await tagged(keys)));
    expect(gone.map((all) => new Set(all).size)).toEqual(bases.map(() => 1));
    expect(gone.flatMap(([first], day) => (first ? [day + 1] : []))).toEqual([1, 2, 3, 4]);
    expect((await tagged(wal)).flatMap((is, day) => (is ? [day + 1] : []))).toEqual([1, 2, 3, 4]);
    expect(await tagged([history])).toEqual([false]);
    expect(await listed('database/journal/')).toEqual(pieces.slice(-1));
    expect(answer).toMatchObject({ tagged: 4 * 5 + 4, removed: 8 });
  });

  it('removes what verifications said of what is gone, and goes by what lies there, not by what they said', async () => {
    const { bases, wal } = await live(9);
    const [gone, newest] = ['hostmaster_base_20200101_000000', bases.at(-1)![0]!.split('/').at(-2)!];
    const stays = [await cluster.verdict(9, 'damaged'), await cluster.verdict(newest, 'damaged')];
    await cluster.verdict(gone, 'damaged');
    await cluster.verdict(200, 'damaged');
    await stage.watch({ retention: 'all' });
    expect(await listed('database/verdicts/')).toEqual(stays.toSorted());
    expect((await tagged(wal)).flatMap((is, day) => (is ? [day + 1] : []))).toEqual([1, 2, 3, 4]);
  });

  it('lets go of no good base backup in favour of one that a verification found damaged', async () => {
    const { bases, wal } = await live(9);
    const verdicts = async (found: 'damaged' | 'sound'): Promise<void> => {
      stage.passMinutes(1);
      for (const [key] of bases.slice(2)) await cluster.verdict(key!.split('/').at(-2)!, found);
    };
    const gone = async (): Promise<number[]> =>
      (await tagged(bases.map(([key]) => key!))).flatMap((is, day) => (is ? [day + 1] : []));
    await stage.watch({ retention: 'all' });
    expect(await gone()).toEqual([1, 2, 3, 4]);
    await verdicts('damaged');
    await stage.coldWatch({ retention: 'all' });
    // The second is what can be recovered from; behind the others nothing better stands.
    expect(await gone()).toEqual([1]);
    expect((await tagged(wal.slice(1, 4))).filter((is) => is)).toEqual([]);
    await verdicts('sound');
    await stage.coldWatch({ retention: 'all' });
    expect(await gone()).toEqual([1, 2, 3, 4]);
  });

  it('leaves alone what is said of a base backup that came while the pass was under way', async () => {
    await live(8);
    await stage.watch();
    expect(await stage.watch({ retention: 'all' }, withTimeFor(8))).toMatchObject({ removed: 0 });
    stage.passMinutes(5);
    const { manifest } = await cluster.base(9);
    const verdict = await cluster.verdict(manifest.label, 'damaged');
    let done = await stage.watch();
    while (done.removed === 0) {
      stage.passMinutes(5);
      done = await stage.watch();
    }
    expect(await listed('database/verdicts/')).toEqual([verdict]);
  });

  it('changes nothing the second time, and writes no tag twice', async () => {
    await live(8);
    await stage.watch({ retention: 'all' });
    const from = stage.s3.requests.length;
    expect(await stage.coldWatch({ retention: 'all' })).toMatchObject({ tagged: 0, removed: 0 });
    const actions = new Set(stage.s3.requests.slice(from).map(({ action }) => action));
    expect(actions).not.toContain('PutObjectTagging');
    expect(actions).not.toContain('DeleteObjects');
  });

  it('leaves a pinned base backup alone, with the WAL from it on', async () => {
    const { bases, wal } = await live(9);
    await stage.s3Client.send(
      new PutObjectTaggingCommand({
        Bucket: 'backups',
        Key: bases[1]![2]!,
        Tagging: { TagSet: [{ Key: 'lifeboat-pin', Value: 'audit' }] },
      }),
    );
    await stage.watch({ retention: 'all' });
    expect(await tagged([bases[0]![0]!, bases[1]![0]!, bases[2]![0]!])).toEqual([true, false, true]);
    expect(await tagged(wal.slice(0, 4))).toEqual([true, false, false, false]);
  });

  it('says so when it cannot ask whether a base backup is pinned, and keeps that one', async () => {
    const { bases } = await live(9);
    const key = bases[0]![0]!;
    stage.s3.faults.deny({ action: 'GetObjectTagging', key });
    await expect(stage.watch({ retention: 'all' })).rejects.toThrow(/GetObjectTagging/);
    expect(await tagged([bases[0]![1]!, bases[1]![1]!])).toEqual([false, true]);
    stage.s3.faults.clear();
    await stage.coldWatch({ retention: 'all' });
    expect(await tagged([key, bases[0]![1]!])).toEqual([true, true]);
  });

  it('takes tags off again when what superseded them is damaged', async () => {
    const { bases, wal } = await live(9);
    await stage.watch({ retention: 'all' });
    // Everything from the base backup of the third day on is of no use.
    for (const keys of bases.slice(2))
      await stage.s3Client.send(new DeleteObjectCommand({ Bucket: 'backups', Key: keys[0]! }));
    await stage.coldWatch({ retention: 'all' });
    expect(await tagged(bases[1]!)).toEqual(bases[1]!.map(() => false));
    expect(await tagged(bases[0]!)).toEqual(bases[0]!.map(() => true));
    expect(await tagged(wal.slice(0, 4))).toEqual([false, false, false, false]);
  });

  it('stops when its time is over, and goes on where it was with the next invocation', async () => {
    await live(8);
    await expect(stage.watch({}, withTimeFor(0))).rejects.toThrow(/no time/);
    await stage.watch();
    const answers = [await stage.watch({ retention: 'all' }, withTimeFor(8))];
    while (answers.at(-1)!.tagged === 0 && answers.length < 10) {
      stage.passMinutes(5);
      answers.push(await stage.watch({}, withTimeFor(8)));
    }
    expect(answers.length).toBeGreaterThan(1);
    const sum = answers.reduce((all, { tagged: count }) => all + count, 0);
    expect(sum).toBe(3 * 5 + 3);
  });

  it('tells what it could not tag, tags the rest, and tries again within the hour', async () => {
    const { wal } = await live(9);
    stage.s3.faults.deny({ action: 'PutObjectTagging', key: '*/wal/00000001/*', times: 1 });
    await expect(stage.watch({ retention: 'all' })).rejects.toThrow(/PutObjectTagging/);
    expect((await tagged(wal.slice(0, 4))).filter((is) => is)).toHaveLength(3);
    for (let slot = 0; slot < 12; slot += 1) {
      stage.passMinutes(5);
      await stage.watch();
    }
    expect(await tagged(wal.slice(0, 4))).toEqual([true, true, true, true]);
    expect(await tagged(wal.slice(5, 7))).toEqual([false, false]);
  });

  it('comes to every series once a day by itself', async () => {
    const { wal } = await live(8);
    let watched = 0;
    for (let slot = 0; slot < 288; slot += 1) {
      stage.passMinutes(5);
      const now = stage.clock.now();
      if (!isDue('tagging', FOLDER, now) && !isDue('tagging', FOLDER, new Date(now.getTime() + 300_000)))
        continue;
      expect(await tagged(wal.slice(0, 1))).toEqual([false]);
      await stage.watch();
      watched += 1;
    }
    expect(watched).toBe(2);
    expect((await tagged(wal.slice(0, 3))).slice(0, 2)).toEqual([true, true]);
  });
});

/** There is time enough until it has been asked for so often. */
function withTimeFor(questions: number): LambdaContext {
  let asked = 0;
  return stage.context({
    getRemainingTimeInMillis: () => {
      asked += 1;
      return asked <= questions ? 200_000 : 9_000;
    },
  });
}
