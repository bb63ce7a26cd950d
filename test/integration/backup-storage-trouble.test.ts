import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AgentEnd } from './agent-process.ts';
import {
  expectNothingLeft,
  fakeTools,
  onSmallDisk,
  Stage,
  useGround,
  withMount,
  type BackupJson,
  type FailureJson,
} from './backup-fixture.ts';

const ground = useGround();

const DATABASE = 'hostmaster_prod';
/** Dumps to more than one part of a multipart upload. */
const LARGE = 'large';
const MIB = 1024 * 1024;

beforeAll(async () => {
  const { postgres } = ground();
  await postgres.createDatabase(DATABASE);
  await postgres.psql(DATABASE, 'CREATE TABLE users AS SELECT generate_series(1, 1000) AS id');
  await postgres.createDatabase(LARGE);
  await postgres.psql(
    LARGE,
    `CREATE TABLE noise AS
       SELECT sha256(n::text::bytea) || sha256((n + 0.5)::text::bytea) || sha256((n + 0.2)::text::bytea) AS bytes
         FROM generate_series(1, 160000) n`,
  );
});

type Overrides = Record<string, string | undefined>;

const setStage = (env: Overrides = {}): Promise<Stage> =>
  Stage.set(ground(), { DB_NAME: DATABASE, AWS_MAX_ATTEMPTS: '2', ...env });

function failureOf(end: AgentEnd): FailureJson['error'] {
  return (end.json() as FailureJson).error;
}

describe('a backup on a disk that cannot take it', () => {
  it('is refused with status 6 before it starts when the dump will not fit', async () => {
    const stage = await setStage({ DB_NAME: LARGE, S3_BUCKET: undefined });
    const end = await stage.run(['backup'], {}, { through: onSmallDisk(stage.dir, 2 * MIB) });
    expect(end.stderr).toMatch(/❌ \S+ has 2\.0M free; the dump needs about \d+M/);
    expect(end.stderr).toContain('→ Free space in BACKUP_DIR');
    expect(end.status).toBe(6);
    expect(end.stdout).not.toContain('Starting database backup');
  });

  it('fails with status 6 and leaves nothing there when the disk fills up midway', async () => {
    const stage = await setStage({ DB_NAME: LARGE, S3_BUCKET: undefined });
    const end = await stage.run(['backup'], {}, { through: onSmallDisk(stage.dir, 15 * MIB) });
    expect(end.stdout).toContain('Starting database backup');
    expect(end.stderr).toMatch(/❌ Cannot write \S+\.sql\.gz\.partial: ENOSPC/);
    expect(end.stderr).toContain('→ Free space in BACKUP_DIR');
    expect(end.status).toBe(6);
    expect(end.stdout).toMatch(/^left: \.hostmaster\.lock (?:\.hostmaster\.runs\.jsonl )?$/m);
    expect(end.leftRunning).toEqual([]);
  });

  it('still makes the copy in S3, fails with status 6 all the same and says both', async () => {
    const stage = await setStage({ DB_NAME: LARGE });
    const end = await stage.run(['backup', '--json'], {}, { through: onSmallDisk(stage.dir, 15 * MIB) });
    expect(end.status).toBe(6);
    expect(end.stderr).toMatch(/❌ Cannot write .*ENOSPC/);
    expect(end.stderr).toMatch(
      new RegExp(`kept: s3://${stage.bucket}/database/hostmaster_db_\\S+\\.sql\\.gz`),
    );
    expect(await stage.list()).toMatchObject([{ copies: [{ store: 's3', state: 'complete' }] }]);
    expect((await stage.run(['verify'])).status).toBe(0);
  });

  it('goes to S3 alone when the dump will not fit, fails with status 6 all the same and says both', async () => {
    const stage = await setStage({ DB_NAME: LARGE });
    const through = onSmallDisk(stage.dir, 2 * MIB);
    const end = await stage.run(['backup', '--json'], {}, { through });
    expect(end.stderr).toMatch(
      /⚠️ +\S+ has 2\.0M free; the dump needs about \d+M\n.* The copy in S3 is made all the same; this run will be reported as failed\./,
    );
    expect(end.stderr).toMatch(/❌ \S+ has 2\.0M free/);
    expect(end.stderr).toMatch(/ A whole, verified copy was kept: s3:\S+\.sql\.gz\n/);
    expect(end.stderr).not.toContain('Backup completed successfully');
    expect(end.status).toBe(6);
    expect(end.stdout).toMatch(/^left: \.hostmaster\.lock (?:\.hostmaster\.runs\.jsonl )?$/m);
    expect(await stage.list()).toMatchObject([{ copies: [{ store: 's3', state: 'complete' }] }]);
    expect((await stage.run(['verify'])).status).toBe(0);
    // A dry run promises nothing that would fail.
    const dryRun = await stage.run(['backup', '--dry-run'], {}, { through });
    expect(dryRun.stderr).toMatch(/❌ \S+ has 2\.0M free/);
    expect(dryRun.status).toBe(6);
  });

  it('goes to S3 also when no disk has room for one byte or name more', async () => {
    const stage = await setStage();
    const temporary = `${stage.dir}-tmp`;
    for (const folder of [stage.dir, temporary]) mkdirSync(folder);
    const full = [
      `mount -t tmpfs -o size=64k,mode=700 tmpfs '${stage.dir}'`,
      `touch '${stage.dir}/.hostmaster.lock'`,
      `! cat /dev/zero 2>/dev/null > '${stage.dir}/.full'`,
      `mount -t tmpfs -o nr_inodes=1 tmpfs '${temporary}'`,
    ].join(' && ');
    const end = await stage.run(['backup'], { TMPDIR: temporary }, { through: withMount(full) });
    expect(end.stderr).toMatch(/❌ \S+ has 0 free/);
    expect(end.stderr).toMatch(/ A whole, verified copy was kept: s3:/);
    expect(end.status).toBe(6);
    expect(await stage.list()).toMatchObject([{ copies: [{ store: 's3', state: 'complete' }] }]);
  });

  it('is no backup anywhere when S3 does not take it either, and says both', async () => {
    const stage = await setStage({ DB_NAME: LARGE });
    ground().s3.faults.slowDown({ bucket: stage.bucket, times: 'always', action: 'UploadPart' });
    const end = await stage.run(['backup'], {}, { through: onSmallDisk(stage.dir, 2 * MIB) });
    const said = end.stderr.slice(end.stderr.indexOf('❌'));
    expect(said).toMatch(/S3 did not answer .*SlowDown/);
    expect(said).toMatch(/ has 2\.0M free; the dump needs/);
    expect(said).not.toContain('was kept');
    // Whichever failed last gives the code: S3 may take in most of a dump before it is asked for its word.
    expect([5, 6]).toContain(end.status);
    ground().s3.faults.clear();
    const copies = (await stage.list()).flatMap((backup) => backup.copies);
    expect(copies.filter(({ state }) => state !== 'unfinished')).toEqual([]);
  });

  it('fails with status 6 at a limit on the size of files', async () => {
    const stage = await setStage({ DB_NAME: LARGE, S3_BUCKET: undefined });
    const through = ['bash', '-c', 'ulimit -f 4096; exec "$@"', 'bash'];
    const end = await stage.run(['backup'], {}, { through });
    expect(end.stderr).toMatch(/❌ Cannot write \S+\.partial: EFBIG/);
    expect(end.status).toBe(6);
    expect(stage.files()).toEqual([]);
    expect(end.leftRunning).toEqual([]);
  });

  it('fails with status 6 when BACKUP_DIR is read-only, naming it', async () => {
    const stage = await setStage({ S3_BUCKET: undefined });
    mkdirSync(stage.dir);
    const mount = `mount -t tmpfs -o ro tmpfs '${stage.dir}'`;
    const end = await stage.run(['backup'], {}, { through: withMount(mount) });
    expect(end.stderr).toMatch(new RegExp(`❌ .*${stage.dir}.*(?:EROFS|read-only)`));
    expect(end.stderr).toContain('→ ');
    expect(end.status).toBe(6);
  });

  it('fails with status 6 when BACKUP_DIR would lie below a read-only disk, naming that cause', async () => {
    const stage = await setStage({ S3_BUCKET: undefined });
    mkdirSync(stage.dir);
    const mount = `mount -t tmpfs -o ro tmpfs '${stage.dir}'`;
    const folder = path.join(stage.dir, 'deep', 'down');
    const end = await stage.run(['backup'], { BACKUP_DIR: folder }, { through: withMount(mount) });
    expect(end.stderr).toMatch(new RegExp(`❌ Cannot create BACKUP_DIR ${folder}: EROFS`));
    expect(end.status).toBe(6);
  });

  it('fails with status 6 when BACKUP_DIR is a file, naming it', async () => {
    const stage = await setStage({ S3_BUCKET: undefined });
    writeFileSync(stage.dir, '');
    const end = await stage.run(['backup']);
    expect(end.stderr).toContain(stage.dir);
    expect(end.status).toBe(6);
  });

  it('fails with status 6 when the folder for temporary files is missing, naming TMPDIR', async () => {
    const stage = await setStage();
    const end = await stage.run(['backup'], { TMPDIR: '/no/such/folder' });
    expect(end.stderr).toContain('/no/such/folder');
    expect(end.stderr).toContain('TMPDIR');
    expect(end.status).toBe(6);
    await expectNothingLeft(stage, end);
  });

  it('fails with status 2 when BACKUP_DIR is relative', async () => {
    const stage = await setStage({ BACKUP_DIR: 'backups' });
    const end = await stage.run(['backup']);
    expect(end.stderr).toContain('BACKUP_DIR="backups": must be an absolute path');
    expect(end.status).toBe(2);
  });
});

describe('a backup that S3 does not take', () => {
  /** The run failed, and yet the local copy is a good backup. */
  async function expectLocalBackup(stage: Stage, end: AgentEnd, code: string): Promise<void> {
    expect(failureOf(end)).toMatchObject({ code, exitStatus: 5 });
    expect(failureOf(end).message).toMatch(/\nA whole, verified copy was kept: \/\S+\.sql\.gz$/);
    expect(failureOf(end).message).toContain(stage.dir);
    expect(end.status).toBe(5);
    expect(end.leftRunning).toEqual([]);
    expect(end.stderr).not.toContain('Backup completed successfully');
    expect(stage.lockIsFree()).toBe(true);
    ground().s3.faults.clear();
    expect(await stage.uploads()).toEqual([]);
    const [backup] = await stage.list();
    const local = backup!.copies.filter(({ store }) => store === 'local');
    expect(local).toMatchObject([{ state: 'complete', verified: true }]);
    expect(backup!.copies.filter(({ store, state }) => store === 's3' && state !== 'unfinished')).toEqual([]);
  }

  it.each([
    ['the secret key is wrong', { AWS_SECRET_ACCESS_KEY: 'wrong' }, 'S3_DENIED', /refused the signature/],
    ['the access key is unknown', { AWS_ACCESS_KEY_ID: 'AKIAUNKNOWN' }, 'S3_DENIED', /access key/],
    ['there is no such bucket', { S3_BUCKET: 'no-such-bucket' }, 'S3_NO_BUCKET', /no such bucket/],
    ['nobody answers', { AWS_ENDPOINT_URL_S3: 'http://127.0.0.1:1' }, 'S3_UNAVAILABLE', /ECONNREFUSED/],
  ])('is made locally and fails with status 5 when %s', async (_what, env, code, message) => {
    const stage = await setStage();
    const end = await stage.run(['backup', '--json'], env);
    expect(failureOf(end).message).toMatch(message);
    expect(failureOf(end).hint).not.toBe('');
    expect(end.stderr).toContain(
      'The local backup is made all the same; this run will be reported as failed.',
    );
    expect(end.printed).not.toContain(ground().s3.credentials.secretAccessKey);
    await expectLocalBackup(stage, end, code);
    expect(await stage.keys()).toEqual([]);
  });

  it.each([
    ['the policy denies writing', ['PutObject', 'CreateMultipartUpload']],
    ['the policy denies putting small objects', ['PutObject']],
    ['the policy denies listing', ['ListObjectsV2']],
    ['the policy denies completing', ['CompleteMultipartUpload']],
  ])('is made locally and fails with status 5 when %s', async (_what, action) => {
    const stage = await setStage({ DB_NAME: LARGE });
    ground().s3.faults.deny({ bucket: stage.bucket, action });
    const end = await stage.run(['backup', '--json']);
    expect(failureOf(end).message).toMatch(/denied s3:\w+ on s3:\/\//);
    expect(failureOf(end).hint).toContain('aws sts get-caller-identity');
    await expectLocalBackup(stage, end, 'S3_DENIED');
  });

  it.each([
    ['from the start', {}],
    ['once parts are uploaded', { action: 'UploadPart', skip: 1 }],
    ['when the upload is to be completed', { action: 'CompleteMultipartUpload' }],
    ['when the manifest is to be written', { action: 'PutObject', key: '*.manifest.json' }],
  ])('is made locally and fails with status 5 when S3 answers 503 for ever %s', async (_when, rule) => {
    const stage = await setStage({ DB_NAME: LARGE });
    ground().s3.faults.slowDown({ bucket: stage.bucket, times: 'always', ...rule });
    const end = await stage.run(['backup', '--json']);
    expect(failureOf(end).message).toMatch(/S3 did not answer .*\(SlowDown, HTTP 503, 2 tries\)/);
    await expectLocalBackup(stage, end, 'S3_UNAVAILABLE');
  });

  it.each([
    ['every connection is cut midway', { kind: 'cut-request', afterBytes: 100_000 }, 'S3_UNAVAILABLE'],
    ['every part arrives with a flipped bit', { kind: 'flip-request', offset: 4711 }, 'S3_FAILED'],
  ] as const)('is made locally and fails with status 5 when %s', async (_what, effect, code) => {
    const stage = await setStage({ DB_NAME: LARGE });
    ground().s3.faults.add({ bucket: stage.bucket, action: 'UploadPart', times: 'always', effect });
    const end = await stage.run(['backup', '--json']);
    await expectLocalBackup(stage, end, code);
  });

  it('is taken up by the next run as if nothing had been: the unfinished copy is no backup and hides none', async () => {
    const stage = await setStage();
    const rule = {
      bucket: stage.bucket,
      action: 'PutObject',
      key: '*.manifest.json',
      times: 'always',
    } as const;
    ground().s3.faults.slowDown(rule);
    await stage.run(['backup']);
    ground().s3.faults.clear();
    expect((await stage.run(['backup'])).status).toBe(0);
    const states = (await stage.list()).map(({ copies }) => copies.map(({ store, state }) => [store, state]));
    expect(states).toEqual([
      [
        ['local', 'complete'],
        ['s3', 'complete'],
      ],
      [
        ['local', 'complete'],
        ['s3', 'unfinished'],
      ],
    ]);
  });
});

describe('a backup to an S3 that stumbles', () => {
  const stumbles = [
    ['answers 503 for a while', { times: 4, effect: { kind: 'error', status: 503, code: 'SlowDown' } }],
    [
      'cuts a connection midway',
      { action: 'UploadPart', effect: { kind: 'cut-request', afterBytes: 100_000 } },
    ],
    [
      'receives a flipped bit in a part',
      { action: 'UploadPart', effect: { kind: 'flip-request', offset: 4711 } },
    ],
    [
      'receives a flipped bit in the manifest',
      { key: '*.manifest.json', effect: { kind: 'flip-request', offset: 9 } },
    ],
    ['loses the answer to the globals', { key: '*.globals.sql.gz', effect: { kind: 'lose-answer' } }],
    ['loses the answer to a part', { action: 'UploadPart', effect: { kind: 'lose-answer' } }],
    [
      'loses the answer to the completion',
      { action: 'CompleteMultipartUpload', effect: { kind: 'lose-answer' } },
    ],
    ['loses the answer to the manifest', { key: '*.manifest.json', effect: { kind: 'lose-answer' } }],
    [
      'fails late to complete',
      { action: 'CompleteMultipartUpload', effect: { kind: 'error', status: 200, code: 'InternalError' } },
    ],
  ] as const;
  it.each(stumbles)('succeeds, and S3 holds what the disk holds, when it %s', async (_what, rule) => {
    const stage = await setStage({ DB_NAME: LARGE, AWS_MAX_ATTEMPTS: undefined });
    ground().s3.faults.add({ bucket: stage.bucket, ...rule });
    const end = await stage.run(['backup', '--json']);
    expect(end.printed).toContain('✅ Backup completed successfully');
    expect(end.status).toBe(0);
    expect(ground().s3.faults.list()[0]!.hits).toBe('times' in rule ? rule.times : 1);
    for (const name of stage.files()) expect((await stage.object(name)).equals(stage.read(name))).toBe(true);
    expect(await stage.uploads()).toEqual([]);
  });

  it('works on a bucket with versions and object lock', async () => {
    const stage = await setStage();
    await ground().s3.createBucket('locked', { objectLockDays: 30 });
    const end = await stage.run(['backup', '--json'], { S3_BUCKET: 'locked' });
    expect(end.status).toBe(0);
    expect((end.json() as BackupJson).locations[1]).toMatch(/^s3:\/\/locked\/database\//);
  });
});

describe('a backup whose name is taken', () => {
  /** Another's object appears while the dump is running, when its name is known. */
  async function backUpWhileAnotherWrites(
    stage: Stage,
    suffix: string,
  ): Promise<[end: AgentEnd, key: string]> {
    const go = path.join(stage.dir, '..', `go-${stage.bucket}`);
    const waiting = `while [ ! -e '${go}' ]; do sleep 0.02; done; real "$@"`;
    const agent = stage.start(['backup', '--json'], {
      PG_BIN_DIR: fakeTools(ground(), { pg_dump: waiting }),
    });
    let partial: string | undefined;
    while (partial === undefined) {
      await sleep(20);
      partial = stage.files().find((name) => name.endsWith('.sql.gz.partial'));
    }
    const key = partial.replace('.sql.gz.partial', suffix);
    await stage.put(key, 'another’s');
    writeFileSync(go, '');
    return [await agent.ended, key];
  }

  it.each(['.sql.gz', '.globals.sql.gz', '.manifest.json'])(
    'by another’s object that ends in %s overwrites nothing, fails with status 5 and keeps the local copy',
    async (suffix) => {
      const stage = await setStage();
      const [end, key] = await backUpWhileAnotherWrites(stage, suffix);
      expect(failureOf(end)).toMatchObject({ code: 'OBJECT_EXISTS', exitStatus: 5 });
      expect(failureOf(end).message).toContain(`s3://${stage.bucket}/database/${key}`);
      expect(failureOf(end).hint).toContain('Nothing was overwritten');
      expect((await stage.object(key)).toString()).toBe('another’s');
      const [listed] = await stage.list();
      expect(listed!.copies[0]).toMatchObject({ store: 'local', state: 'complete' });
      expect(listed!.copies[1]?.state).not.toBe('complete');
      expect(existsSync(path.join(stage.dir, key.replace(suffix, '.manifest.json')))).toBe(true);
    },
  );

  it('moves on to the next free second', async () => {
    const stage = await setStage();
    const names = (from: number): string[] =>
      Array.from({ length: 120 }, (_, second) =>
        new Date(from + second * 1000).toISOString().slice(0, 19).replaceAll(/[-:]/g, '').replace('T', '_'),
      );
    const taken = names(Date.now() - 5000);
    await Promise.all(taken.map((time) => stage.put(`hostmaster_db_${time}.sql.gz`, 'old')));
    const end = await stage.run(['backup', '--json']);
    expect(end.status).toBe(0);
    const last = taken.at(-1)!;
    expect((end.json() as BackupJson).id > `hostmaster_db_${last}`).toBe(true);
    expect((await stage.object(`hostmaster_db_${last}.sql.gz`)).toString()).toBe('old');
  });
});

describe('list and status while S3 is away', () => {
  it('tell the local half, and fail with status 5', async () => {
    const stage = await setStage();
    await stage.run(['backup']);
    const away = { AWS_ENDPOINT_URL_S3: 'http://127.0.0.1:1' };
    const list = await stage.run(['list'], away);
    expect(list.stdout).toMatch(/hostmaster_db_\d+_\d+ .* local +✅/);
    expect(list.stderr).toMatch(/❌ S3 did not answer/);
    expect(list.stderr).not.toContain('local copy');
    expect(list.status).toBe(5);
    const status = await stage.run(['status'], away);
    expect(status.stdout).toMatch(/Last good backup +hostmaster_db_\d+_\d+, \d.*s ago \(Local\)/);
    expect(status.status).toBe(5);
  });
});

it('refuses a wrong AWS_MAX_ATTEMPTS or endpoint before anything is written to S3', async () => {
  const stage = await setStage();
  const end = await stage.run(['backup', '--dry-run'], { AWS_MAX_ATTEMPTS: 'many' });
  expect(end.stderr).toContain('AWS_MAX_ATTEMPTS "many" is no number from 1 to 999');
  expect(end.status).toBe(2);
  await expectNothingLeft(stage, end);
});
