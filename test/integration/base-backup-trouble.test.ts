import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { reloadConfiguration, startPostgres } from '../postgres-server.ts';
import { Stage, useGround, type FailureJson } from './backup-fixture.ts';
import { baseManifest, labelsIn, noise, prefixOf, type BaseBackupJson } from './base-backup-fixture.ts';

const ground = useGround({ settings: { max_wal_size: '64MB', min_wal_size: '32MB', wal_recycle: 'off' } });

beforeAll(async () => {
  await ground().postgres.psql('postgres', noise(40));
});

const BACKUP = ['backup', '--kind', 'base', '--json'];
const setStage = (env: Record<string, string | undefined> = {}): Promise<Stage> => Stage.set(ground(), env);
const errorOf = (end: { json(): unknown }): FailureJson['error'] => (end.json() as FailureJson).error;

/** Slows the upload down: the backup stays in its midst until the faults are cleared. */
function slowUploads(stage: Stage, bytesPerSecond = 50_000) {
  return ground().s3.faults.add({
    bucket: stage.bucket,
    action: 'UploadPart',
    times: 'always',
    effect: { kind: 'bandwidth', bytesPerSecond },
  });
}

async function untilUploading(fault: { readonly hits: number }): Promise<void> {
  while (fault.hits === 0) await sleep(20);
}

async function expectNoBackup(stage: Stage): Promise<void> {
  expect((await labelsIn(stage)).whole).toEqual([]);
  const { postgres } = ground();
  while ((await postgres.psql('postgres', 'SELECT count(*) FROM pg_replication_slots')) !== '0')
    await sleep(20);
}

describe('S3 in trouble', () => {
  it.each([
    ['is busy for a while', { kind: 'error', status: 503, code: 'SlowDown' }, 'UploadPart'],
    ['breaks off in the midst of a part', { kind: 'cut-request', afterBytes: 3_000_000 }, 'UploadPart'],
    ['loses its answer to a part', { kind: 'lose-answer' }, 'UploadPart'],
    ['loses its answer to the completion', { kind: 'lose-answer' }, 'CompleteMultipartUpload'],
    [
      'fails late at the completion',
      { kind: 'error', status: 200, code: 'InternalError' },
      'CompleteMultipartUpload',
    ],
    ['damages a byte on its way', { kind: 'flip-request', offset: 1_000_000 }, 'UploadPart'],
    ['loses its answer to the manifest', { kind: 'lose-answer' }, 'PutObject'],
  ] as const)('that %s is overcome', async (_what, effect, action) => {
    const stage = await setStage();
    const fault = ground().s3.faults.add({ bucket: stage.bucket, action, times: 2, effect });
    const end = await stage.run(BACKUP);
    expect(fault.hits).toBe(2);
    expect(end.json()).toMatchObject({ succeeded: true });
    const backup = end.json() as BaseBackupJson;
    const manifest = await baseManifest(stage, backup);
    for (const { key, size } of manifest.volumes) {
      expect((await stage.object(prefixOf(backup) + key)).length).toBe(size);
    }
    expect(await stage.uploads()).toEqual([]);
  });

  it('that stays away fails the run, and what was stored is known as unfinished', async () => {
    const stage = await setStage();
    ground().s3.faults.add({
      bucket: stage.bucket,
      action: 'CompleteMultipartUpload',
      times: 'always',
      effect: { kind: 'error', status: 403, code: 'AccessDenied' },
    });
    const end = await stage.run(BACKUP);
    expect(errorOf(end)).toMatchObject({ code: 'S3_DENIED' });
    expect(end.status).toBe(5);
    await expectNoBackup(stage);
    expect(await stage.uploads()).toEqual([]);
    ground().s3.faults.clear();
    const next = await stage.run(BACKUP);
    expect(next.status).toBe(0);
  });

  it('that lacks the bucket is told before anything is asked of the server', async () => {
    const stage = await setStage({ S3_BUCKET: 'no-such-bucket-anywhere' });
    const end = await stage.run(BACKUP);
    expect(errorOf(end)).toMatchObject({ code: 'S3_NO_BUCKET' });
    expect(end.printed).not.toContain('Starting base backup');
  });

  it('holds the volumes of a run that failed: the next one says so, and counts only its own', async () => {
    const stage = await setStage();
    ground().s3.faults.add({
      bucket: stage.bucket,
      key: '*/manifest.json',
      action: 'PutObject',
      times: 'always',
      effect: { kind: 'error', status: 403, code: 'AccessDenied' },
    });
    expect((await stage.run(BACKUP)).status).toBe(5);
    const { unfinished } = await labelsIn(stage);
    expect(unfinished).toHaveLength(1);
    ground().s3.faults.clear();
    await sleep(1000);
    const end = await stage.run(BACKUP);
    expect(end.printed).toContain(`of ${unfinished[0]} in S3`);
    expect(end.printed).toContain('retention removes them');
    const { label } = end.json() as BaseBackupJson;
    expect(await labelsIn(stage)).toEqual({ whole: [label], unfinished });
  });
});

describe('PostgreSQL in trouble', () => {
  beforeAll(() => ground().postgres.psql('postgres', noise(120)));
  afterAll(() => ground().postgres.psql('postgres', 'TRUNCATE noise'));

  it('that is restarted in the midst fails the run, which leaves nothing that counts', async () => {
    const { postgres } = ground();
    const stage = await setStage();
    const agent = stage.start(BACKUP);
    await untilUploading(slowUploads(stage));
    await postgres.restart();
    const end = await agent.ended;
    expect(errorOf(end)).toMatchObject({ code: 'DB_LOST' });
    expect(end.status).toBe(4);
    await expectNoBackup(stage);
    expect(await stage.uploads()).toEqual([]);
    ground().s3.faults.clear();
    expect((await stage.run(BACKUP)).status).toBe(0);
  });

  it('whose slot is lost, and with it the WAL of the backup, fails the run with the reason', async () => {
    const { postgres } = ground();
    const stage = await setStage();
    const agent = stage.start(BACKUP);
    await untilUploading(slowUploads(stage));
    const [slot] = (
      await postgres.psql('postgres', 'SELECT active_pid, slot_name FROM pg_replication_slots')
    ).split('\n');
    const [pid, name] = slot!.split('|');
    expect(name).toMatch(/^lifeboat_hostmaster_base_\d{8}_\d{6}$/);
    await postgres.psql('postgres', `SELECT pg_terminate_backend(${pid})`);
    for (let round = 0; round < 5; round += 1) {
      await postgres.psql(
        'postgres',
        'CREATE TABLE gone AS SELECT 1; DROP TABLE gone; SELECT pg_switch_wal()',
      );
    }
    await postgres.psql('postgres', 'CHECKPOINT');
    ground().s3.faults.clear();
    const end = await agent.ended;
    expect(errorOf(end).message).toMatch(/WAL/);
    expect(end.status).toBe(4);
    await expectNoBackup(stage);
  });

  it('keeps the WAL of the backup for it although much is written meanwhile, and idle sessions are ended', async () => {
    const { postgres } = ground();
    const stage = await setStage();
    await postgres.psql('postgres', `ALTER SYSTEM SET idle_session_timeout = '500ms'`);
    await reloadConfiguration(postgres);
    const agent = stage.start(BACKUP);
    await untilUploading(slowUploads(stage));
    for (let round = 0; round < 5; round += 1) {
      await postgres.psql(
        'postgres',
        'CREATE TABLE gone AS SELECT 1; DROP TABLE gone; SELECT pg_switch_wal()',
      );
    }
    await sleep(1000);
    await postgres.psql('postgres', 'CHECKPOINT');
    ground().s3.faults.clear();
    const end = await agent.ended;
    await postgres.psql('postgres', 'ALTER SYSTEM RESET idle_session_timeout');
    await reloadConfiguration(postgres);
    expect(end.status).toBe(0);
    const manifest = await baseManifest(stage, end.json() as BaseBackupJson);
    const wal = manifest.volumes.find(({ series }) => series === 'wal')!;
    expect(wal.rawSize).toBeGreaterThan(5 * 16 * 1024 * 1024);
  });

  it('that finds damaged pages: the backup is stored, says which, and does not count as a good one', async () => {
    const { postgres } = ground();
    const stage = await setStage();
    await postgres.psql(
      'postgres',
      `CREATE TABLE hurt WITH (autovacuum_enabled = off) AS SELECT i, repeat('x', 500) FROM generate_series(1, 1000) i; CHECKPOINT`,
    );
    const file = await postgres.psql('postgres', `SELECT pg_relation_filepath('hurt')`);
    const handle = openSync(path.join(postgres.dataDir, file), 'r+');
    for (const block of [3, 7]) writeSync(handle, Buffer.from('damage'), 0, 6, block * 8192 + 4000);
    closeSync(handle);
    const end = await stage.run(BACKUP);
    const answer = end.json() as BaseBackupJson & FailureJson;
    expect(answer.error.code).toBe('PAGES_DAMAGED');
    expect(answer.error.message).toContain('2 damaged pages');
    expect(answer.error.message).toContain(path.basename(file));
    expect(answer.error.message).toContain(answer.location);
    expect(end.status).toBe(7);
    const manifest = await baseManifest(stage, answer);
    expect(manifest.pageChecksums).toEqual({ verified: false, failures: 2 });
    expect(manifest.warnings.join('\n')).toMatch(/block 3[^]*block 7/);
    expect(readFileSync(path.join(stage.dir, '.hostmaster.runs.jsonl'), 'utf8')).toContain(
      '"succeeded":false',
    );
    expect((await stage.run(['list'])).stdout).toContain('❌ damaged pages: PostgreSQL found 2 in it');
    await postgres.psql('postgres', 'DROP TABLE hurt; CHECKPOINT');
    expect((await stage.run(BACKUP)).status).toBe(0);
  });

  it('with another system identifier begins a series of its own, and says so', async () => {
    const stage = await setStage();
    const first = (await stage.run(BACKUP)).json() as BaseBackupJson;
    const other = await startPostgres({ settings: { fsync: 'off' } });
    try {
      await sleep(1000);
      const end = await stage.run(BACKUP, { ...other.env });
      const second = end.json() as BaseBackupJson;
      expect(second.systemIdentifier).not.toBe(first.systemIdentifier);
      expect(second.warnings).toEqual([
        expect.stringContaining(`another cluster than that of ${first.label}`),
      ]);
      expect((await labelsIn(stage)).whole.toSorted()).toEqual([first.label, second.label].toSorted());
      expect(await baseManifest(stage, first)).toBeDefined();
      expect(end.status).toBe(0);
    } finally {
      await other.remove();
    }
  });
});

describe('Missing rights and settings', () => {
  it('of a role without REPLICATION are told with the statement that grants it', async () => {
    const { postgres } = ground();
    await postgres.psql('postgres', `CREATE ROLE plain LOGIN PASSWORD 'plain-s3cret'`);
    const stage = await setStage({ DB_USER: 'plain', DB_PASSWORD: 'plain-s3cret' });
    const end = await stage.run(BACKUP);
    expect(errorOf(end)).toMatchObject({ code: 'DB_RIGHTS' });
    expect(errorOf(end).hint).toContain('ALTER ROLE "plain" REPLICATION;');
    expect(end.printed).not.toContain('plain-s3cret');
    expect(await stage.keys()).toEqual([]);
  });

  it('are none for a role that may replicate and nothing else', async () => {
    const { postgres } = ground();
    await postgres.psql('postgres', `CREATE ROLE copier LOGIN REPLICATION PASSWORD 'copier-s3cret'`);
    const stage = await setStage({ DB_USER: 'copier', DB_PASSWORD: 'copier-s3cret' });
    const end = await stage.run(BACKUP);
    expect(end.status).toBe(0);
    const backup = end.json() as BaseBackupJson;
    expect(backup.warnings).toEqual([expect.stringContaining('GRANT pg_read_all_settings')]);
    expect((await baseManifest(stage, backup)).settings).not.toHaveProperty('data_directory');
  });

  it('of a wrong password are told once, and without it', async () => {
    const stage = await setStage({ DB_PASSWORD: 'wrong-s3cret' });
    const end = await stage.run(BACKUP);
    expect(errorOf(end)).toMatchObject({ code: 'DB_CONNECT' });
    expect(errorOf(end).problems).toBeUndefined();
    expect(end.printed).not.toContain('wrong-s3cret');
    expect(end.status).toBe(4);
  });

  it('of the server and of the bucket are told all at once', async () => {
    const server = await startPostgres({
      settings: { fsync: 'off', wal_level: 'minimal', max_wal_senders: '0' },
    });
    try {
      const stage = await setStage({ ...server.env, S3_BUCKET: 'no-such-bucket-anywhere' });
      const end = await stage.run(BACKUP);
      const codes = errorOf(end).problems!.map(({ code }) => code);
      expect(codes).toContain('SETTINGS_INVALID');
      expect(codes).toContain('DB_CONNECT');
      expect(codes).toContain('S3_NO_BUCKET');
      expect(end.status).toBe(3);
    } finally {
      await server.remove();
    }
  });

  it('of a standby: refused, unless it is wanted', async () => {
    const server = await startPostgres({ settings: { fsync: 'off', hot_standby: 'on' } });
    try {
      await server.stop();
      closeSync(openSync(path.join(server.dataDir, 'standby.signal'), 'w'));
      await server.start();
      const stage = await setStage({ ...server.env });
      const end = await stage.run(BACKUP);
      expect(errorOf(end)).toMatchObject({ code: 'STANDBY_REFUSED' });
      expect(end.status).toBe(3);
      const allowed = await stage.run([...BACKUP, '--allow-standby']);
      expect(allowed.status).toBe(0);
      const backup = allowed.json() as BaseBackupJson;
      expect(backup.warnings).toContain('Taken from a standby');
      expect((await baseManifest(stage, backup)).server.standby).toBe(true);
    } finally {
      await server.remove();
    }
  });
});
