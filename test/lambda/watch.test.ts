import { DeleteObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import { HOST, SCHEDULED, startStage, statusEvent, type Stage } from './stage.ts';

let stage: Stage;
afterEach(async () => stage.close());

async function startNight(scheduledFor = SCHEDULED): Promise<{ runId: string; commandId: string }> {
  const { runs } = await stage.startRun({ operation: 'backup', scheduledFor });
  return { runId: runs[0]!.runId, commandId: runs[0]!.commandId };
}

/** The values of one metric since `from` lines ago. */
function valuesOf(metric: string, app?: string): (number | number[])[] {
  return stage.metrics(app).flatMap((values) => (metric in values ? [values[metric]!] : []));
}

describe('the watch over runs', () => {
  beforeEach(async () => {
    stage = await startStage();
  });

  it('measures how much of its time a run at work has used', async () => {
    await startNight();
    stage.passMinutes(180);
    await stage.watch();
    expect(valuesOf('RunningShareOfTimeout')).toEqual([0.5]);
    expect(stage.published).toEqual([]);
  });

  it('tells once of a run of which nothing is heard until its time is over', async () => {
    const { runId, commandId } = await startNight();
    stage.passMinutes(550);
    await stage.watch();
    expect(stage.published).toEqual([]);
    stage.passMinutes(2);
    await stage.watch();
    await stage.coldWatch();
    stage.passMinutes(60);
    await stage.watch();
    expect(stage.published).toHaveLength(1);
    expect(stage.published[0]!.text).toMatch(
      /Backup FAILED\n❌ Nothing was heard of the run[^]*Error: RUN_LOST[^]*There is no good backup/,
    );
    expect(valuesOf('HostUnreachable')).toEqual([1]);
    // Its late event changes nothing any more.
    Object.assign(stage.ssm.commands[0]!, { statusDetails: 'Success' });
    await stage.putResult(runId);
    expect(await stage.reportRun(statusEvent(commandId, 'Success'))).toMatchObject({
      action: 'reported before',
    });
    expect(stage.published).toHaveLength(1);
  });

  it('does not call a run lost whose command was sent an hour after its request', async () => {
    const down = { status: 500, name: 'InternalServerError' };
    stage.ssm.faults.set('SendCommand', [down, down, down, down]);
    await expect(startNight()).rejects.toThrow();
    stage.passMinutes(60);
    await startNight();
    stage.passMinutes(550);
    await stage.watch();
    expect(stage.published).toEqual([]);
    stage.passMinutes(2);
    await stage.watch();
    expect(stage.published).toHaveLength(1);
  });

  it('reports a result whose event was lost, but gives the event ten minutes', async () => {
    const { runId } = await startNight();
    stage.passMinutes(1);
    await stage.putResult(runId);
    stage.passMinutes(9);
    await stage.watch();
    expect(stage.published).toEqual([]);
    stage.passMinutes(2);
    await Promise.all([stage.watch(), stage.coldWatch()]);
    expect(stage.published).toHaveLength(1);
    expect(stage.published[0]!.text).toContain('✅ Backup completed successfully');
  });

  it('publishes what was claimed by a publisher that died', async () => {
    const { runId, commandId } = await startNight();
    await stage.putResult(runId);
    Object.assign(stage.ssm.commands[0]!, { statusDetails: 'Success' });
    stage.snsFaults.push(500);
    await expect(stage.reportRun(statusEvent(commandId, 'Success'))).rejects.toThrow();
    stage.passMinutes(9);
    await stage.watch();
    expect(stage.published).toEqual([]);
    stage.passMinutes(2);
    await stage.watch();
    await stage.watch();
    expect(stage.published).toHaveLength(1);
    expect(valuesOf('RunSucceeded')).toEqual([1]);
  });

  it('tells within minutes of a host that SSM took no command for', async () => {
    stage.ssm.unmanaged.add(HOST);
    await stage.startRun({ operation: 'backup', scheduledFor: SCHEDULED });
    stage.passMinutes(5);
    await stage.watch();
    expect(stage.published).toHaveLength(1);
    expect(stage.published[0]!.text).toMatch(
      /SSM did not take the command for this host[^]*Error: HOST_UNREACHABLE/,
    );
  });

  it('takes a result that is none for silence', async () => {
    const { runId } = await startNight();
    await stage.putResult(runId, { instanceId: 'i-0000000000000000f' });
    stage.passMinutes(30);
    await stage.watch();
    expect(stage.published).toEqual([]);
    stage.passMinutes(541);
    await stage.watch();
    expect(stage.published[0]!.text).toContain('Error: RUN_LOST');
    expect(stage.published[0]!.text).toContain('was not believed: it is of another run or host');
  });

  it.each([
    ['no JSON at all', '{"schemaVersion":', /no JSON/],
    ['of another version', '{"schemaVersion":99,"runId":"x"}', /cannot be understood/],
  ])('tells once, by its key, of a run whose request is %s', async (_, body, why) => {
    const key = 'database/runs/2026/01/17/20260117T020000Z-0123456789ab/request.json';
    await stage.s3Client.send(new PutObjectCommand({ Bucket: 'state', Key: key, Body: body }));
    // Another version of the stack may know it, and tell of it better.
    stage.passMinutes(9);
    await stage.watch();
    expect(stage.published).toEqual([]);
    stage.passMinutes(2);
    await Promise.all([stage.watch(), stage.coldWatch()]);
    stage.passMinutes(60);
    await stage.watch();
    await stage.coldWatch();
    expect(stage.published).toHaveLength(1);
    expect(stage.published[0]!.subject).toBe('Lifeboat: a run cannot be read');
    expect(stage.published[0]!.text).toContain(`s3://state/${key}`);
    expect(stage.published[0]!.text).toMatch(why);
  });

  it('publishes what it could not at first of a run that cannot be read', async () => {
    const key = 'database/runs/2026/01/17/20260117T020000Z-0123456789ab/request.json';
    await stage.s3Client.send(new PutObjectCommand({ Bucket: 'state', Key: key, Body: '{}' }));
    stage.passMinutes(11);
    stage.snsFaults.push(500);
    await expect(stage.watch()).rejects.toThrow(/sns:Publish/);
    stage.passMinutes(6);
    await stage.watch();
    await stage.watch();
    expect(stage.published).toHaveLength(1);
  });

  it('reads a run’s request once for as long as the function is warm', async () => {
    await startNight();
    stage.passMinutes(5);
    await stage.watch();
    const from = stage.s3.requests.length;
    await stage.watch();
    const read = stage.s3.requests.slice(from).filter(({ action }) => action === 'GetObject');
    expect(read).toEqual([]);
  });
});

describe('the watch over backups', () => {
  const NIGHTS = Array.from(
    { length: 9 },
    (_, index) => `hostmaster_db_202601${String(index + 8).padStart(2, '0')}_020000`,
  );

  beforeEach(async () => {
    stage = await startStage();
  });

  it('measures the newest verified backup’s age from what lies in S3', async () => {
    await stage.putBackup('hostmaster_db_20260116_020000');
    await stage.putBackup('hostmaster_db_20260117_010000', { without: ['dump'] });
    await stage.putBackup('hostmaster_db_20990101_000000');
    await stage.putBackup('other_db_20260117_020000');
    await stage.watch();
    expect(valuesOf('BackupAgeSeconds')).toEqual([24 * 3600 + 5]);
  });

  it('counts the age from when the backup was finished, and what would be lost from when it was begun', async () => {
    const manifest = { startedAt: '2026-01-16T02:00:00.000Z', finishedAt: '2026-01-16T05:00:00.000Z' };
    await stage.putBackup('hostmaster_db_20260116_020000', { manifest });
    stage.passMinutes(180);
    await stage.watch();
    expect(valuesOf('BackupAgeSeconds')).toEqual([24 * 3600 + 5]);
    expect(valuesOf('RecoveryPointAgeSeconds')).toEqual([27 * 3600 + 5]);
  });

  it.each(['2099-01-01T00:00:00.000Z', '2026-01-15T00:00:00.000Z'])(
    'does not believe a backup that it was finished at %s',
    async (finishedAt) => {
      await stage.putBackup('hostmaster_db_20260116_020000', { manifest: { finishedAt } });
      await stage.watch();
      expect(valuesOf('BackupAgeSeconds')).toEqual([24 * 3600 + 5]);
    },
  );

  it('counts the age of a series without a backup from its first request, and says nothing of what it knows nothing of', async () => {
    await stage.watch();
    expect(valuesOf('BackupAgeSeconds')).toEqual([]);
    await startNight();
    stage.passMinutes(90);
    await stage.watch();
    expect(valuesOf('BackupAgeSeconds')).toEqual([5400]);
  });

  it('compares the newest size with the median of the seven before', async () => {
    const sizes = [1, 9000, 1000, 1100, 900, 1000, 1200, 800, 400];
    for (const [index, id] of NIGHTS.entries()) await stage.putBackup(id, { bytes: sizes[index]! });
    await stage.watch();
    expect(valuesOf('BackupSizeRatio')).toEqual([0.4]);
  });

  it('has too few to compare with in the first nights', async () => {
    for (const id of NIGHTS.slice(0, 3)) await stage.putBackup(id);
    await stage.watch();
    expect(valuesOf('BackupSizeRatio')).toEqual([]);
  });

  it('lists a folder again after a new result and once an hour, and reads each manifest once', async () => {
    for (const id of NIGHTS) await stage.putBackup(id);
    await stage.watch();
    const listings = (): number =>
      stage.s3.requests.filter(
        ({ action, query }) => action === 'ListObjectsV2' && query.includes('hostmaster_db_'),
      ).length;
    const manifests = (): number =>
      stage.s3.requests.filter(({ action, key }) => action === 'GetObject' && key?.endsWith('.manifest.json'))
        .length;
    expect(listings()).toBe(1);
    expect(manifests()).toBe(8);
    const { runId } = await startNight();
    await stage.putResult(runId);
    await stage.watch();
    expect(listings()).toBe(2);
    stage.passMinutes(1);
    await stage.watch();
    const before = listings();
    for (let tick = 0; tick < 12; tick += 1) {
      stage.passMinutes(5);
      await stage.watch();
    }
    expect(listings() - before).toBe(1);
    expect(manifests()).toBe(8);
  });

  it('goes on with the other series when one cannot be read, and throws in the end', async () => {
    await stage.close();
    stage = await startStage({
      series: [
        { app: 'bad', database: 'bad', host: { instanceId: HOST } },
        { app: 'good', database: 'good', host: { instanceId: HOST } },
      ],
    });
    await stage.putBackup('good_db_20260117_010000');
    await stage.putBackup('bad_db_20260117_010000');
    stage.s3.faults.add({
      action: 'GetObject',
      key: 'database/bad_db_*',
      times: 'always',
      effect: { kind: 'error', status: 403, code: 'AccessDenied' },
    });
    await expect(stage.watch()).rejects.toThrow(/bad_db_/);
    expect(valuesOf('BackupAgeSeconds', 'good')).toEqual([3605]);
  });
});

describe('the watch over hosts that were chosen by tag', () => {
  const HOSTS = ['i-00000000000000001', 'i-00000000000000002'];
  const [OLD = '', YOUNG = ''] = HOSTS;
  const DAYS = 24 * 60;

  beforeEach(async () => {
    stage = await startStage({
      series: [{ app: 'shop', database: 'shop', host: { tag: { key: 'Role', value: 'db' } } }],
    });
    stage.ssm.tagged.set('Role=db', HOSTS);
  });

  const agesNow = async (watch = stage.watch): Promise<number[]> => {
    const before = valuesOf('BackupAgeSeconds', 'shop').length;
    await watch();
    const ages = valuesOf('BackupAgeSeconds', 'shop').slice(before).flat();
    return ages.toSorted((one, other) => one - other);
  };

  it('measures each host that carries the tag, and none that does not', async () => {
    await stage.putBackup('shop_db_20260117_010000', { prefix: `database/${OLD}` });
    await stage.putBackup('shop_db_20250101_010000', { prefix: 'database/i-0000000000000000f' });
    await stage.startRun({ operation: 'backup', scheduledFor: SCHEDULED });
    stage.passMinutes(10);
    expect(await agesNow()).toEqual([600, 3600 + 5 + 600]);
  });

  it.each(['running', 'stopped'] as const)(
    'lets a host grow older that is %s and that nobody has asked for a backup for weeks',
    async (state) => {
      for (const host of HOSTS)
        await stage.putBackup('shop_db_20260117_010000', { prefix: `database/${host}` });
      stage.ssm.tagged.set('Role=db', [YOUNG]);
      stage.ec2.instances.set(OLD, { tags: { Role: 'db' }, state });
      stage.passMinutes(20 * DAYS);
      await stage.putBackup('shop_db_20260206_010000', { prefix: `database/${YOUNG}` });
      expect(await agesNow(stage.coldWatch)).toEqual([3600 + 5, 20 * 86_400 + 3600 + 5]);
    },
  );

  it.each([
    ['is terminated', { tags: { Role: 'db' }, state: 'terminated' }],
    ['has lost its tag', { tags: { Role: 'web' }, state: 'running' }],
  ] as const)('forgets a host that %s, as soon as EC2 says so', async (_, instance) => {
    for (const host of HOSTS)
      await stage.putBackup('shop_db_20260117_010000', { prefix: `database/${host}` });
    await stage.startRun({ operation: 'backup', scheduledFor: SCHEDULED });
    expect(await agesNow()).toHaveLength(2);
    stage.ssm.tagged.set('Role=db', [YOUNG]);
    stage.ec2.instances.set(OLD, instance);
    expect(await agesNow()).toHaveLength(1);
  });

  it('goes by what EC2 said last while it does not answer, and says that it does not', async () => {
    for (const host of HOSTS)
      await stage.putBackup('shop_db_20260117_010000', { prefix: `database/${host}` });
    expect(await agesNow()).toHaveLength(2);
    const denied = { status: 403, code: 'UnauthorizedOperation' };
    stage.ec2.faults.push(denied);
    const before = valuesOf('BackupAgeSeconds', 'shop').length;
    await expect(stage.watch()).rejects.toThrow(/ec2:DescribeInstances/);
    expect(valuesOf('BackupAgeSeconds', 'shop').slice(before).flat()).toHaveLength(2);
  });

  it('goes by who was asked for a backup lately when EC2 has never answered', async () => {
    await stage.putBackup('shop_db_20250101_010000', { prefix: 'database/i-0000000000000000f' });
    await stage.startRun({ operation: 'backup', scheduledFor: SCHEDULED });
    stage.passMinutes(1);
    stage.ec2.faults.push({ status: 403, code: 'UnauthorizedOperation' });
    await expect(stage.coldWatch()).rejects.toThrow(/ec2:DescribeInstances/);
    expect(valuesOf('BackupAgeSeconds', 'shop').flat()).toEqual([60, 60]);
  });

  it('asks SSM about hosts outside of EC2', async () => {
    const host = 'mi-00000000000000001';
    await stage.putBackup('shop_db_20260117_010000', { prefix: `database/${host}` });
    expect(await agesNow()).toEqual([]);
    stage.ssm.tagged.set('Role=db', [host]);
    expect(await agesNow()).toEqual([3605]);
  });
});

describe('what the watch is invoked with', () => {
  const SCHEDULED_EVENT = {
    version: '0',
    id: '89d1a02d-5ec7-412e-82f5-13505f849b41',
    'detail-type': 'Scheduled Event',
    source: 'aws.events',
    account: '111122223333',
    time: '2026-01-17T02:00:00Z',
    region: 'eu-west-1',
    resources: ['arn:aws:events:eu-west-1:111122223333:rule/watch'],
    detail: {},
  };

  beforeEach(async () => {
    stage = await startStage();
  });

  it.each([[SCHEDULED_EVENT], [{}], [null], [{ retention: 'all' }]])('takes %j', async (event) => {
    expect(await stage.watch(event)).toMatchObject({ series: 1 });
  });

  it.each([
    [{ retention: 'al' }, /retention: /],
    [{ retention: true }, /retention: /],
    [{ retenion: 'all' }, /retenion/],
    ['all', /expected object/],
    [[], /expected object/],
  ])('refuses %j and says what it expects', async (event, problem) => {
    const error = await stage.watch(event).catch((thrown: Error) => thrown);
    expect(error).toMatchObject({ code: 'USAGE', message: expect.stringMatching(problem) });
    expect((error as Error).message).toContain('{"retention":"all"}');
    expect(stage.s3.requests).toEqual([]);
  });
});

describe('retention', () => {
  const ALL = { retention: 'all' };
  const tagsOf = async (key: string): Promise<object> => await stage.backups.tags(`database/${key}`);

  beforeEach(async () => {
    stage = await startStage();
    await stage.putBackup('hostmaster_db_20260117_010000');
    // A dump of the user's own script, and what a killed run left.
    await stage.putBackup('hostmaster_db_20260117_000000', { without: ['globals', 'manifest'] });
    await stage.putBackup('hostmaster_db_20260117_003000', { without: ['dump', 'manifest'] });
    await stage.putBackup('other_db_20260117_010000');
  });

  async function passDays(days: number): Promise<void> {
    stage.passMinutes(days * 24 * 60);
  }

  const OLD = [
    'hostmaster_db_20260117_010000.manifest.json',
    'hostmaster_db_20260117_010000.sql.gz',
    'hostmaster_db_20260117_010000.globals.sql.gz',
    'hostmaster_db_20260117_000000.sql.gz',
    'hostmaster_db_20260117_003000.globals.sql.gz',
  ];

  it('tags what is over and superseded, orphans and old dumps included, and nothing else', async () => {
    await passDays(29.9);
    await stage.putBackup('hostmaster_db_20260216_010000');
    await stage.watch(ALL);
    for (const key of OLD) expect(await tagsOf(key)).toEqual({});
    await passDays(1);
    expect(await stage.watch(ALL)).toMatchObject({ tagged: OLD.length });
    for (const key of OLD) expect(await tagsOf(key)).toEqual({ lifeboat: 'expirable' });
    expect(await tagsOf('hostmaster_db_20260216_010000.sql.gz')).toEqual({});
    expect(await tagsOf('other_db_20260117_010000.sql.gz')).toEqual({});
    expect(valuesOf('ObjectsTaggedExpirable').at(-1)).toBe(OLD.length);
  });

  it('never tags without a newer verified backup, nor the newest one', async () => {
    await passDays(400);
    await stage.putBackup('hostmaster_db_20270217_010000', { without: ['manifest'] });
    await stage.putBackup('hostmaster_db_20270218_010000', { without: ['dump'] });
    await stage.watch(ALL);
    expect(await tagsOf('hostmaster_db_20260117_010000.sql.gz')).toEqual({});
    expect(await tagsOf('hostmaster_db_20260117_003000.globals.sql.gz')).toEqual({ lifeboat: 'expirable' });
  });

  it('writes no tag twice, and keeps the tags of others', async () => {
    await stage.backups.setTags(`database/${OLD[1]}`, { team: 'db' });
    await passDays(31);
    await stage.putBackup('hostmaster_db_20260216_010000');
    const puts = (): number => stage.s3.requests.filter(({ action }) => action === 'PutObjectTagging').length;
    const before = puts();
    await stage.watch(ALL);
    expect(await tagsOf(OLD[1]!)).toEqual({ team: 'db', lifeboat: 'expirable' });
    expect(puts() - before).toBe(OLD.length);
    expect(await stage.watch(ALL)).toMatchObject({ tagged: 0 });
    expect(puts() - before).toBe(OLD.length);
  });

  it('leaves a backup alone of which one object is pinned, and takes the tag off when it was there before', async () => {
    await passDays(31);
    await stage.putBackup('hostmaster_db_20260216_010000');
    await stage.watch(ALL);
    await stage.backups.setTags(`database/${OLD[1]}`, { lifeboat: 'expirable', 'lifeboat-pin': 'audit' });
    await stage.coldWatch(ALL);
    expect(await tagsOf(OLD[0]!)).toEqual({});
    expect(await tagsOf(OLD[1]!)).toEqual({ 'lifeboat-pin': 'audit' });
    expect(await tagsOf(OLD[3]!)).toEqual({ lifeboat: 'expirable' });
  });

  it('takes the tag off when what superseded the backup is damaged', async () => {
    await passDays(31);
    await stage.putBackup('hostmaster_db_20260216_010000');
    await stage.watch(ALL);
    await stage.s3Client.send(
      new DeleteObjectCommand({ Bucket: 'backups', Key: 'database/hostmaster_db_20260216_010000.sql.gz' }),
    );
    await stage.watch(ALL);
    for (const key of OLD.slice(0, 3)) expect(await tagsOf(key)).toEqual({});
  });

  it('comes to every folder once a day by itself', async () => {
    await passDays(31);
    await stage.putBackup('hostmaster_db_20260216_010000');
    for (let tick = 0; tick < 288; tick += 1) {
      stage.passMinutes(5);
      await stage.watch();
    }
    expect(await tagsOf(OLD[1]!)).toEqual({ lifeboat: 'expirable' });
    expect(valuesOf('ObjectsTaggedExpirable')).toHaveLength(1);
  });
});
