import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { Stage, useGround } from './backup-fixture.ts';
import { watchCommandLines } from './agent-process.ts';
import {
  baseManifest,
  checksumOf,
  createTablespace,
  labelsIn,
  prefixOf,
  RestoredServer,
  Unpacked,
  type BaseBackupJson,
} from './base-backup-fixture.ts';

const ground = useGround({ settings: { max_wal_size: '64MB' } });

const DATABASE = 'hostmaster_prod';
/** Together more than a volume takes, none of them alone. */
const FILLERS = Array.from({ length: 10 }, (_, index) => `filler_${index}`);
const TABLES = ['users', 'in_fast', 'in_slow', ...FILLERS];

beforeAll(async () => {
  const { postgres } = ground();
  await postgres.createDatabase(DATABASE);
  await createTablespace(ground(), 'fast');
  await createTablespace(ground(), 'slow');
  await postgres.psql(
    DATABASE,
    `CREATE TABLE users AS SELECT i AS id, md5(i::text) AS name FROM generate_series(1, 20000) i;
     CREATE TABLE in_fast TABLESPACE fast AS SELECT i AS id, md5(i::text) AS name FROM generate_series(1, 5000) i;
     CREATE TABLE in_slow TABLESPACE slow AS SELECT i AS id, repeat(md5(i::text), 20) AS name FROM generate_series(1, 5000) i;
     ${FILLERS.map(
       (table) =>
         `CREATE TABLE ${table} (id int, body text) TABLESPACE slow;
          ALTER TABLE ${table} ALTER body SET STORAGE EXTERNAL;
          INSERT INTO ${table} SELECT i, repeat(md5(i::text), 32768) FROM generate_series(1, 28) i;`,
     ).join('\n')}
     CREATE UNLOGGED TABLE scratch AS SELECT 1 AS id;
     CREATE TABLE accounts AS SELECT i AS id, 100 AS balance FROM generate_series(1, 50) i;
     CREATE TABLE marks (id bigserial PRIMARY KEY, at timestamptz DEFAULT clock_timestamp()) TABLESPACE fast`,
  );
});

/** Transfers between accounts, each with a mark, until it is stopped. */
async function startLoad(): Promise<() => Promise<void>> {
  const { postgres, folder } = ground();
  const script = path.join(folder, 'load.sql');
  writeFileSync(
    script,
    String.raw`\set one random(1, 50)
\set other random(1, 50)
BEGIN;
UPDATE accounts SET balance = balance - 1 WHERE id = least(:one, :other);
UPDATE accounts SET balance = balance + 1 WHERE id = greatest(:one, :other);
INSERT INTO marks DEFAULT VALUES;
COMMIT;
`,
  );
  const { env } = postgres;
  const load = spawn(path.join(postgres.binDir, 'pgbench'), ['-n', '-f', script, '-c', '2', '-T', '300'], {
    env: {
      PATH: process.env['PATH'],
      PGHOST: env.DB_HOST,
      PGPORT: env.DB_PORT,
      PGUSER: env.DB_USER,
      PGPASSWORD: env.DB_PASSWORD,
      PGDATABASE: DATABASE,
    },
    stdio: 'ignore',
  });
  while ((await postgres.psql(DATABASE, 'SELECT count(*) > 20 FROM marks')) !== 't');
  return async () => {
    const gone = once(load, 'exit');
    load.kill('SIGINT');
    await gone;
  };
}

describe('A base backup under load', () => {
  let stage: Stage;
  let backup: BaseBackupJson;
  let printed: string;
  let live: string[];
  let marks: { before: number; after: number };

  beforeAll(async () => {
    const { postgres } = ground();
    stage = await Stage.set(ground(), { DB_NAME: undefined });
    const countMarks = async () => Number(await postgres.psql(DATABASE, 'SELECT count(*) FROM marks'));
    const stopLoad = await startLoad();
    const before = await countMarks();
    const end = await stage.run(['backup', '--kind', 'base', '--json']);
    marks = { before, after: await countMarks() };
    await stopLoad();
    live = await Promise.all(TABLES.map((table) => postgres.psql(DATABASE, checksumOf(table))));
    printed = end.printed;
    if (end.status !== 0) throw new Error(printed);
    backup = end.json() as BaseBackupJson;
  });

  it('is restored by zstd, tar and PostgreSQL alone, every row of every tablespace', async () => {
    const { postgres } = ground();
    const unpacked = await Unpacked.fetch(stage, backup);
    try {
      expect(unpacked.verify(postgres.binDir)).toContain('backup successfully verified');
      unpacked.rewriteTablespaceMap();
      const server = await RestoredServer.start(postgres, unpacked);
      try {
        expect(TABLES.map((table) => server.psql(DATABASE, checksumOf(table)))).toEqual(live);
        expect(server.psql(DATABASE, 'SELECT sum(balance) FROM accounts')).toBe('5000');
        const found = Number(server.psql(DATABASE, 'SELECT count(*) FROM marks'));
        expect(found).toBeGreaterThanOrEqual(marks.before);
        expect(found).toBeLessThanOrEqual(marks.after);
        expect(server.psql(DATABASE, 'SELECT count(*) FROM scratch')).toBe('0');
        const links = server.psql(
          'postgres',
          `SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname IN ('fast', 'slow')`,
        );
        for (const location of links.split('\n')) expect(location).toContain(unpacked.root);
      } finally {
        await server.stop();
      }
    } finally {
      unpacked.remove();
    }
  });

  it('lies in S3 as the manifest says, nothing more and nothing less, in STANDARD_IA where that pays', async () => {
    const manifest = await baseManifest(stage, backup);
    const prefix = prefixOf(backup);
    const named = [...manifest.volumes.map(({ key }) => key), 'backup_manifest', 'manifest.json'];
    expect(await stage.keys()).toEqual(named.map((key) => prefix + key).toSorted());
    expect(await stage.uploads()).toEqual([]);
    const series = new Set(manifest.volumes.map((volume) => volume.series));
    expect(series.size).toBe(4);
    const slow = manifest.tablespaces.find(({ name }) => name === 'slow')!;
    expect(manifest.volumes.filter((volume) => volume.series === `ts-${slow.oid}`)).toHaveLength(2);
    const writes = stage.requests().filter(({ method }) => method === 'PUT' || method === 'POST');
    expect(writes.at(-1)).toMatchObject({ action: 'PutObject', key: `database/${prefix}manifest.json` });
    const classes = writes
      .filter(({ action }) => action === 'CreateMultipartUpload')
      .map(({ headers }) => headers);
    expect(classes.every((headers) => headers['x-amz-storage-class'] === 'STANDARD_IA')).toBe(true);
    expect(writes.filter(({ key }) => key?.endsWith('.zst')).every(({ status }) => status === 200)).toBe(
      true,
    );
  });

  it('has a manifest that says what a stranger needs', async () => {
    const { postgres } = ground();
    const manifest = await baseManifest(stage, backup);
    expect(manifest).toMatchObject({
      app: 'hostmaster',
      type: 'full',
      parent: null,
      chain: [],
      server: { standby: false, dataChecksums: true, walSegmentSize: 16 * 1024 * 1024, blockSize: 8192 },
      startTimeline: 1,
      stopTimeline: 1,
      pageChecksums: { verified: true, failures: 0 },
      warnings: [],
    });
    expect(manifest.server.versionNumber).toBeGreaterThan(150_000);
    expect(manifest.server.systemIdentifier).toBe(
      await postgres.psql('postgres', 'SELECT system_identifier FROM pg_control_system()'),
    );
    expect(manifest.databases.map(({ name }) => name).toSorted()).toEqual([
      DATABASE,
      'postgres',
      'template0',
      'template1',
    ]);
    expect(manifest.tablespaces.map(({ name }) => name).toSorted()).toEqual(['fast', 'slow']);
    expect(manifest.tablespaces.every(({ size }) => size > 100_000)).toBe(true);
    expect(manifest.settings).toMatchObject({
      max_connections: '60',
      max_wal_senders: '10',
      full_page_writes: 'on',
      wal_level: 'replica',
      data_directory: postgres.dataDir,
      port: String(postgres.port),
    });
    expect(Date.parse(manifest.stopTime!)).toBeGreaterThan(Date.parse(manifest.startedAt));
    expect(manifest.stopTime).toMatch(/\.\d{6}Z$/);
  });

  it('tells its story in the log and its facts in JSON, and no password anywhere', () => {
    const { postgres } = ground();
    for (const line of [
      'Checking prerequisites...',
      '✅ Prerequisites OK',
      'Starting base backup...',
      `✅ Base backup created: s3://${stage.bucket}/database/${prefixOf(backup)}`,
      `WAL: ${backup.startLsn} to ${backup.stopLsn} on timeline 1, all of it in the backup`,
      '✅ Base backup completed successfully',
    ]) {
      expect(printed).toContain(line);
    }
    expect(printed).not.toContain(postgres.password);
    expect(backup).toMatchObject({ operation: 'backup', kind: 'base', succeeded: true, volumes: 5 });
    expect(backup.rawBytes).toBeGreaterThan(280 * 1024 * 1024);
    expect(backup.bytes).toBeLessThan(backup.rawBytes / 3);
  });

  it('is shown by list and by status', async () => {
    const list = await stage.run(['list']);
    expect(list.stdout).toMatch(new RegExp(`^${backup.label}  .*  full  S3 +✅$`, 'm'));
    expect((await stage.run(['list', '--json'])).json()).toMatchObject({
      backups: [],
      bases: [
        { label: backup.label, type: 'full', chain: [], store: 's3', state: 'usable', url: backup.location },
      ],
    });
    const status = await stage.run(['status']);
    expect(status.stdout).toMatch(new RegExp(`^Last base backup  ${backup.label}, \\d.* ago \\(S3\\)$`, 'm'));
  });

  it('leaves no slot and no connection behind', async () => {
    const { postgres } = ground();
    expect(await postgres.psql('postgres', 'SELECT count(*) FROM pg_replication_slots')).toBe('0');
    expect(await postgres.psql('postgres', 'SELECT count(*) FROM pg_stat_replication')).toBe('0');
  });
});

describe('backup --kind base', () => {
  it('shows its plan and changes nothing', async () => {
    const stage = await Stage.set(ground(), {});
    const end = await stage.run(['backup', '--kind', 'base', '--dry-run']);
    expect(end.stdout).toMatch(/^Base backup hostmaster_base_\d{8}_\d{6} \(PostgreSQL 15\./);
    expect(end.stdout).toContain('  kind   full\n');
    expect(end.stdout).toContain(`  writes s3://${stage.bucket}/database/pitr/hostmaster/`);
    expect(end.stdout).toContain('Nothing was written (--dry-run).');
    expect(await stage.keys()).toEqual([]);
    expect(end.status).toBe(0);
    const json = await stage.run(['backup', '--kind', 'base', '--dry-run', '--json']);
    expect(json.json()).toMatchObject({
      operation: 'backup',
      kind: 'base',
      dryRun: true,
      type: 'full',
      parent: null,
    });
  });

  it('is what BACKUP_KIND=base means, and shows no password to other users of the host', async () => {
    const { postgres } = ground();
    const stage = await Stage.set(ground(), { BACKUP_KIND: 'base' });
    const agent = stage.start(['backup']);
    const seen = await watchCommandLines(agent.pid, agent.ended);
    const end = await agent.ended;
    expect(end.printed).toContain('✅ Base backup completed successfully');
    expect(end.leftRunning).toEqual([]);
    expect([...seen].join('\n')).not.toContain(postgres.password);
    expect((await labelsIn(stage)).whole).toHaveLength(1);
  });

  it('refuses a kind that there is not', async () => {
    const stage = await Stage.set(ground(), {});
    expect((await stage.run(['backup', '--kind', 'snapshot'])).status).toBe(2);
    const end = await stage.run(['backup'], { BACKUP_KIND: 'snapshot' });
    expect(end.stderr).toContain('BACKUP_KIND="snapshot"');
    expect(end.status).toBe(2);
  });

  it('goes with a dump beside it, neither waiting for the other', async () => {
    const stage = await Stage.set(ground(), { DB_NAME: DATABASE });
    const [base, dump] = await Promise.all([stage.run(['backup', '--kind', 'base']), stage.run(['backup'])]);
    expect([base.status, dump.status]).toEqual([0, 0]);
  });

  it('refuses to run twice at once', async () => {
    const stage = await Stage.set(ground(), {});
    const fault = ground().s3.faults.add({
      bucket: stage.bucket,
      action: 'PutObject',
      effect: { kind: 'delay', milliseconds: 600_000 },
    });
    const first = stage.start(['backup', '--kind', 'base'], { LIFEBOAT_RUN_ID: 'nightly-1' });
    while (fault.hits === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    const second = await stage.run(['backup', '--kind', 'base']);
    expect(second.stderr).toContain('base backup, run nightly-1');
    expect(second.status).toBe(8);
    ground().s3.faults.clear();
    expect((await first.ended).status).toBe(0);
  });
});

describe('backup --kind both', () => {
  interface BothJson {
    readonly succeeded: boolean;
    readonly error?: { readonly code: string };
    readonly dump: { readonly succeeded: boolean; readonly id: string };
    readonly base: BaseBackupJson;
  }

  it('makes a dump, then a base backup', async () => {
    const stage = await Stage.set(ground(), { DB_NAME: DATABASE });
    const end = await stage.run(['backup', '--kind', 'both', '--json']);
    const { dump, base } = end.json() as BothJson;
    expect(end.printed).toMatch(/✅ Backup completed successfully[^]*✅ Base backup completed successfully/);
    expect(dump.succeeded && base.succeeded).toBe(true);
    expect((await labelsIn(stage)).whole).toEqual([base.label]);
    expect((await stage.list()).map(({ id }) => id)).toContain(dump.id);
    expect(end.status).toBe(0);
  });

  it('tries the base backup although the dump has failed, and fails with the worse status', async () => {
    const stage = await Stage.set(ground(), { DB_NAME: DATABASE });
    const away = { DB_PORT: '1', PG_BIN_DIR: '/nowhere' };
    const end = await stage.run(['backup', '--kind', 'both', '--json'], away);
    const { succeeded, dump, base } = end.json() as BothJson;
    expect(end.printed).toContain('The dump failed:');
    expect([succeeded, dump.succeeded]).toEqual([false, false]);
    expect(base.succeeded).toBe(false);
    expect(end.status).toBe(4);
    const other = await stage.run(['backup', '--kind', 'both', '--json'], { PG_BIN_DIR: '/nowhere' });
    const result = other.json() as BothJson;
    expect(result).toMatchObject({
      succeeded: false,
      error: { code: 'CLIENT_MISSING' },
      dump: { succeeded: false },
      base: { succeeded: true },
    });
    expect(other.status).toBe(3);
    expect((await labelsIn(stage)).whole).toEqual([result.base.label]);
  });

  it('wants to know which database', async () => {
    const stage = await Stage.set(ground(), { DB_NAME: undefined });
    expect((await stage.run(['backup', '--kind', 'both'])).stderr).toContain('DB_NAME is not set');
  });
});
