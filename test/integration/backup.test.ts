import { execFileSync } from 'node:child_process';
import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { HeadObjectCommand } from '@aws-sdk/client-s3';
import { runPsql } from '../../scripts/set-up/psql.ts';
import { gunzip, Stage, useGround, type BackupJson, type RecordedRequest } from './backup-fixture.ts';

const ground = useGround();

const ROWS = 5000;
const DATABASE = 'hostmaster_prod';
/** Its dump stays above one part of a multipart upload (8 MiB) when compressed, and spans several frames. */
const LARGE = 'large';
const LARGE_ROWS = 330_000;
const DAY_MS = 24 * 60 * 60 * 1000;

beforeAll(async () => {
  const { postgres } = ground();
  await postgres.createDatabase(DATABASE);
  await postgres.psql(
    DATABASE,
    `CREATE TABLE users (id int PRIMARY KEY, name text NOT NULL);
     INSERT INTO users SELECT n, 'user ' || n FROM generate_series(1, ${ROWS}) n;
     CREATE TABLE empty (id int);
     CREATE ROLE app_owner LOGIN PASSWORD 'role-password-4711';
     CREATE ROLE backup LOGIN PASSWORD 'pw';
     GRANT SELECT ON ALL TABLES IN SCHEMA public TO backup;`,
  );
  await postgres.createDatabase(LARGE);
  await postgres.psql(
    LARGE,
    `CREATE TABLE noise AS
       SELECT n, encode(sha256(n::text::bytea), 'hex') AS text FROM generate_series(1, ${LARGE_ROWS}) n`,
  );
});

const setStage = (env: Record<string, string | undefined> = {}): Promise<Stage> =>
  Stage.set(ground(), { DB_NAME: DATABASE, ...env });

const localOnly = { S3_BUCKET: undefined };

async function backUp(stage: Stage, env: Record<string, string | undefined> = {}): Promise<BackupJson> {
  const end = await stage.run(['backup', '--json'], env);
  expect(end.printed).toContain('✅ Backup completed successfully');
  expect(end.status).toBe(0);
  return end.json() as BackupJson;
}

function stampless(text: string): string {
  return text.replaceAll(/^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\] /gm, '');
}

function modeOf(file: string): string {
  return (statSync(file).mode & 0o777).toString(8);
}

describe('lifeboat backup', () => {
  it('prints the lines of the user’s guide, in their order, each with its UTC time, and ends with status 0', async () => {
    const stage = await setStage();
    const end = await stage.run(['backup']);
    const [listed] = await stage.list();
    const id = listed!.id;
    const bytes = listed!.bytes!;
    expect(stampless(end.stdout).split('\n')).toEqual([
      'Checking prerequisites...',
      '✅ Prerequisites OK',
      'Starting database backup...',
      `✅ Backup created: ${stage.dir}/${id}.sql.gz`,
      `Backup size: ${Math.ceil(bytes / 1024)}K`,
      '✅ Backup verified',
      `✅ Uploaded to s3://${stage.bucket}/database/${id}.sql.gz`,
      `Rows: 5,000 in 2 tables`,
      '✅ Backup completed successfully',
      '',
    ]);
    const unstamped = end.stdout.split('\n').filter((line) => line && !/^\[[\d :-]{19}\] /.test(line));
    expect(unstamped).toEqual([]);
    expect(end.stderr).toBe('');
    expect(end.status).toBe(0);
    expect(id).toMatch(/^hostmaster_db_\d{8}_\d{6}$/);
    expect(end.leftRunning).toEqual([]);
    expect(stage.lockIsFree()).toBe(true);
  });

  it('makes by default a file that gzip -t accepts and gunzip | psql restores', async () => {
    const stage = await setStage(localOnly);
    const { file } = await backUp(stage);
    const dump = path.join(stage.dir, file);
    execFileSync('gzip', ['-t', dump]);
    await ground().postgres.createDatabase('by_hand');
    await runPsql(ground().postgres.env, 'by_hand', gunzip(stage.read(file)));
    expect(await ground().postgres.psql('by_hand', 'SELECT count(*), max(name) FROM users')).toBe(
      `${ROWS}|user 999`,
    );
  });

  it.each([
    ['plain', 'gzip', '.sql.gz'],
    ['plain', 'zstd', '.sql.zst'],
    ['custom', 'gzip', '.dump.gz'],
    ['custom', 'zstd', '.dump.zst'],
  ])(
    'makes a %s dump with %s in several frames that the standard tools read, and counts its rows',
    async (format, compression, suffix) => {
      const stage = await setStage({ ...localOnly, DB_NAME: LARGE });
      const env = { BACKUP_FORMAT: format, BACKUP_COMPRESSION: compression };
      const result = await backUp(stage, env);
      const { id, file, rawBytes, rows, tables } = result;
      expect(file).toBe(id + suffix);
      expect({ rows, tables }).toEqual({ rows: LARGE_ROWS, tables: 1 });
      const tool = compression === 'gzip' ? 'gzip' : 'zstd';
      execFileSync(tool, ['-tq', path.join(stage.dir, file)]);
      const raw = execFileSync(tool, ['-dcq', path.join(stage.dir, file)], { maxBuffer: 1 << 28 });
      expect(raw).toHaveLength(rawBytes);
      if (format === 'custom') {
        const archive = path.join(ground().folder, 'archive.dump');
        writeFileSync(archive, raw);
        const contents = execFileSync('pg_restore', ['--list', archive]).toString();
        expect(contents).toMatch(/TABLE DATA public noise postgres/);
      } else expect(raw.toString('latin1')).toContain('-- PostgreSQL database dump complete');
      const { dump } = stage.manifest(id);
      expect(dump.frameSizes).toHaveLength(Math.ceil(rawBytes / dump.rawFrameSize));
      expect(dump.frameSizes.length).toBeGreaterThan(2);
      expect(dump.frameSizes.reduce((sum, size) => sum + size, 0)).toBe(dump.size);
      expect(await stage.list()).toMatchObject([
        { id, bytes: dump.size, format, compression, copies: [{ state: 'complete', verified: true }] },
      ]);
    },
  );

  it('writes a manifest that holds what a stranger needs, and keeps every file for its owner alone', async () => {
    const stage = await setStage(localOnly);
    const started = Date.now();
    const { id } = await backUp(stage);
    expect(stage.files()).toEqual([`${id}.globals.sql.gz`, `${id}.manifest.json`, `${id}.sql.gz`]);
    expect(stage.files().map((name) => modeOf(path.join(stage.dir, name)))).toEqual(['600', '600', '600']);
    expect(modeOf(stage.dir)).toBe('700');
    const manifest = stage.manifest(id);
    expect(manifest).toMatchObject({
      schemaVersion: 1,
      kind: 'dump',
      id,
      app: 'hostmaster',
      host: { platform: 'linux', architecture: process.arch, libc: expect.stringMatching(/^glibc \d/) },
      server: { versionNumber: expect.any(Number), standby: false },
      database: { name: DATABASE, owner: 'postgres', encoding: 'UTF8', collate: 'C.UTF-8', grants: null },
      tools: { psqlNeeded: expect.stringContaining('psql 13.22') },
      dump: { key: `${id}.sql.gz`, format: 'plain', compression: 'gzip' },
      globals: { key: `${id}.globals.sql.gz`, rolePasswords: true },
      tables: [
        { schema: 'public', name: 'empty', kind: 'table', rows: 0 },
        { schema: 'public', name: 'users', kind: 'table', rows: ROWS },
      ],
      warnings: [],
    });
    expect(new Date(manifest.startedAt).getTime()).toBeGreaterThanOrEqual(started - 1000);
    expect(new Date(manifest.finishedAt).getTime()).toBeGreaterThan(new Date(manifest.startedAt).getTime());
    const identifier = await ground().postgres.psql(
      'postgres',
      'SELECT system_identifier FROM pg_control_system()',
    );
    expect(manifest.server.systemIdentifier).toBe(identifier);
    const checksum = execFileSync('sha256sum', [path.join(stage.dir, manifest.dump.key)]).toString();
    expect(checksum.split(' ')[0]).toBe(manifest.dump.sha256);
  });

  it('prints with --json one object on standard output, and its log on standard error', async () => {
    const stage = await setStage();
    const end = await stage.run(['backup', '--json']);
    const result = end.json() as BackupJson;
    expect(result).toMatchObject({
      operation: 'backup',
      app: 'hostmaster',
      database: DATABASE,
      succeeded: true,
      format: 'plain',
      compression: 'gzip',
      tables: 2,
      rows: ROWS,
      locations: [`${stage.dir}/${result.file}`, `s3://${stage.bucket}/database/${result.file}`],
      expired: [],
      warnings: [],
      messages: [],
    });
    expect(stampless(end.stderr)).toMatch(/^Checking prerequisites\.\.\.\n✅ Prerequisites OK\n/);
  });

  it('shows with --dry-run the plan and writes nothing, neither here nor in S3', async () => {
    const stage = await setStage();
    const end = await stage.run(['backup', '--dry-run']);
    expect(end.status).toBe(0);
    expect(end.stdout).toMatch(/^Backup hostmaster_db_\d{8}_\d{6} of "hostmaster_prod" \(PostgreSQL 1\d/);
    expect(end.stdout).toMatch(/writes \S+\.sql\.gz\n/);
    expect(end.stdout).toContain(`writes s3://${stage.bucket}/database/hostmaster_db_`);
    expect(end.stdout).toContain('Nothing was written (--dry-run).');
    expect(stage.files()).toEqual([]);
    expect(await stage.keys()).toEqual([]);
    expect(await stage.uploads()).toEqual([]);
    expect((await stage.run(['status', '--json'])).json()).toMatchObject({ lastFailure: null });
    const plan = (await stage.run(['backup', '--dry-run', '--json'])).json() as { files: string[] };
    expect(plan).toMatchObject({ operation: 'backup', succeeded: true, dryRun: true });
    expect(plan).toMatchObject({ app: 'hostmaster', database: DATABASE });
    expect(plan.files).toHaveLength(6);
  });

  it('draws on a terminal a bar with the table, the bytes and the rate, and no line of the log is lost to it', async () => {
    const stage = await setStage({ ...localOnly, DB_NAME: LARGE, TERM: 'xterm' });
    const terminal =
      'printf -v line "%q " "$@"; exec script --quiet --return --command "stty cols 120; $line" /dev/null';
    const end = await stage.run(['backup'], {}, { through: ['bash', '-c', terminal, 'bash'] });
    expect(end.status).toBe(0);
    const pieces = end.stdout.split('\r\u001B[2K');
    const bars = pieces.filter((piece) => piece.startsWith('Dumping'));
    expect(bars.length).toBeGreaterThan(1);
    expect(bars.at(-1)).toMatch(/^Dumping +[█░]+ +\d+% +[\d.]+M +[\d.]+[KM]\/s .*public\.noise/);
    const log = stampless(pieces.filter((piece) => !piece.startsWith('Dumping')).join(''));
    expect(log.replaceAll('\r', '').split('\n').slice(0, 3)).toEqual([
      'Checking prerequisites...',
      '✅ Prerequisites OK',
      'Starting database backup...',
    ]);
    expect(log).toContain('✅ Backup completed successfully');
  });

  it('reads its settings from .env in the working directory, which exported ones overrule', async () => {
    const stage = await setStage();
    const cwd = path.join(ground().folder, 'backend');
    mkdirSync(cwd);
    const { DB_PASSWORD, DB_NAME, AWS_SECRET_ACCESS_KEY, ...exported } = stage.env();
    writeFileSync(
      path.join(cwd, '.env'),
      [
        '# settings of the backend',
        `DB_PASSWORD=\`${DB_PASSWORD}\``,
        `export DB_NAME=${DB_NAME}`,
        `AWS_SECRET_ACCESS_KEY="${AWS_SECRET_ACCESS_KEY}"`,
        'APP_NAME=from_file',
        'DB_PORT=1',
        '',
      ].join('\n'),
    );
    const nothing = { DB_PASSWORD: undefined, DB_NAME: undefined, AWS_SECRET_ACCESS_KEY: undefined };
    expect(exported).not.toHaveProperty('DB_PASSWORD');
    const end = await stage.run(['backup', '--json'], nothing, { cwd });
    expect(end.status).toBe(0);
    expect(end.json()).toMatchObject({ app: 'from_file', database: DATABASE, rows: ROWS });
    expect(await stage.keys()).toHaveLength(3);
  });
});

describe('the roles and tablespaces beside the dump', () => {
  it('hold the roles with their passwords when DB_USER may read them', async () => {
    const stage = await setStage(localOnly);
    const { id } = await backUp(stage);
    const globals = gunzip(stage.read(`${id}.globals.sql.gz`));
    expect(globals).toMatch(/ALTER ROLE app_owner WITH .*PASSWORD 'SCRAM-SHA-256\$/);
    expect(stage.manifest(id).globals.rolePasswords).toBe(true);
  });

  it('hold them without passwords for an ordinary role, which the log, the result and the manifest say', async () => {
    const stage = await setStage({ ...localOnly, DB_USER: 'backup', DB_PASSWORD: 'pw' });
    const end = await stage.run(['backup', '--json']);
    expect(end.status).toBe(0);
    const said = 'Roles were dumped without their passwords';
    expect(end.stderr).toContain(said);
    const { id, warnings } = end.json() as BackupJson;
    expect(warnings).toEqual([expect.stringContaining(said)]);
    const manifest = stage.manifest(id);
    expect(manifest.warnings).toEqual([expect.stringContaining(said)]);
    expect(manifest.globals.rolePasswords).toBe(false);
    const globals = gunzip(stage.read(`${id}.globals.sql.gz`));
    expect(globals).toContain('CREATE ROLE app_owner');
    expect(globals).not.toContain('PASSWORD');
  });
});

describe('the copy in S3', () => {
  const writes = new Set(['PutObject', 'CreateMultipartUpload', 'UploadPart', 'CompleteMultipartUpload']);
  const isWrite = ({ action, key }: RecordedRequest): boolean =>
    writes.has(action) && !key?.endsWith('.lifeboat-write-probe');

  it('is byte for byte the local one, encrypted, in the class for its size, with its run and app as metadata', async () => {
    const stage = await setStage({ DB_NAME: LARGE });
    const { id, runId } = await backUp(stage);
    const names = stage.files();
    expect(await stage.keys()).toEqual(names);
    for (const name of names) expect((await stage.object(name)).equals(stage.read(name))).toBe(true);
    const { client } = ground();
    const head = (name: string): Promise<object> =>
      client.send(new HeadObjectCommand({ Bucket: stage.bucket, Key: `database/${name}` }));
    const common = {
      ServerSideEncryption: 'AES256',
      Metadata: { 'lifeboat-run-id': runId, 'lifeboat-app': 'hostmaster' },
    };
    expect(await head(`${id}.sql.gz`)).toMatchObject({ ...common, StorageClass: 'STANDARD_IA' });
    for (const small of [`${id}.globals.sql.gz`, `${id}.manifest.json`]) {
      expect(await head(small)).toMatchObject(common);
      expect(await head(small)).not.toHaveProperty('StorageClass');
    }
  });

  it('is written once and only once, the manifest last, without tags, ACLs or deletions', async () => {
    const stage = await setStage({ DB_NAME: LARGE });
    const { id } = await backUp(stage);
    const written = stage.requests().filter(isWrite);
    const order = written.map(({ action, key }) => `${action} ${key?.replace(`database/${id}`, '')}`);
    const bounds = (action: string, suffix: string): [number, number] => {
      const line = `${action} ${suffix}`;
      return [order.indexOf(line), order.lastIndexOf(line)];
    };
    const manifest = bounds('PutObject', '.manifest.json');
    expect(manifest).toEqual([order.length - 1, order.length - 1]);
    const [complete] = bounds('CompleteMultipartUpload', '.sql.gz');
    expect(bounds('UploadPart', '.sql.gz')[1]).toBeLessThan(complete);
    expect(complete).toBeLessThan(manifest[0]);
    expect(bounds('PutObject', '.globals.sql.gz')[0]).toBeLessThan(complete);
    const final = written.filter(({ action }) => /^PutObject|^Complete/.test(action));
    expect(final.map(({ headers }) => headers['if-none-match'])).toEqual(['*', '*', '*']);
    const asked = new Set(stage.requests().map(({ action }) => action));
    expect([...asked].filter((action) => /Tagging|Acl|Delete|Retention|LegalHold|Copy/.test(action))).toEqual(
      [],
    );
    const headers = stage.requests().flatMap((request) => Object.keys(request.headers));
    expect(headers.filter((name) => /acl|grant|tagging|object-lock/.test(name))).toEqual([]);
    expect(await stage.uploads()).toEqual([]);
  });

  it('uses the KMS key that is set', async () => {
    const key = 'arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab';
    const stage = await setStage({ S3_KMS_KEY_ID: key });
    await backUp(stage);
    const created = stage.requests().filter(({ action }) => action === 'PutObject');
    expect(created.map(({ headers }) => headers['x-amz-server-side-encryption'])).toEqual(
      created.map(() => 'aws:kms'),
    );
    expect(created.map(({ headers }) => headers['x-amz-server-side-encryption-aws-kms-key-id'])).toEqual(
      created.map(() => key),
    );
  });

  it('is not there without S3_BUCKET, which the log says', async () => {
    const stage = await setStage(localOnly);
    const end = await stage.run(['backup']);
    expect(end.status).toBe(0);
    expect(end.stdout).toContain('No S3_BUCKET is set: this backup lies on this host only');
    expect(end.stdout).not.toContain('Uploaded');
    expect(stage.requests()).toEqual([]);
    expect(await stage.list()).toMatchObject([{ copies: [{ store: 'local', state: 'complete' }] }]);
  });

  it('expires thirty days after it was made once a newer one stands, and the local one after seven', async () => {
    const stage = await setStage();
    await backUp(stage);
    await backUp(stage);
    const [newer, older] = await stage.list();
    expect(newer!.copies.map(({ expiresAt }) => expiresAt)).toEqual([null, null]);
    const made = new Date(older!.time).getTime();
    expect(older!.copies.map(({ store, expiresAt }) => [store, Date.parse(expiresAt!) - made])).toEqual([
      ['local', 7 * DAY_MS],
      ['s3', 30 * DAY_MS],
    ]);
  });
});
