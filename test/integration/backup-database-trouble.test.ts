import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { postgres18BinDir, startPostgres } from '../postgres-server.ts';
import {
  expectNothingLeft,
  fakeTools,
  Stage,
  useGround,
  type BackupJson,
  type FailureJson,
} from './backup-fixture.ts';

const ground = useGround();

const DATABASE = 'hostmaster_prod';

beforeAll(async () => {
  const { postgres } = ground();
  await postgres.createDatabase(DATABASE);
  await postgres.psql(
    DATABASE,
    `CREATE TABLE noise AS SELECT n, encode(sha256(n::text::bytea), 'hex') AS text FROM generate_series(1, 300000) n;
     CREATE TABLE secret (a int); CREATE TABLE policed (a int);
     ALTER TABLE policed ENABLE ROW LEVEL SECURITY;
     CREATE SEQUENCE hidden;
     CREATE ROLE reader LOGIN PASSWORD 'pw';
     GRANT SELECT ON noise, policed TO reader;`,
  );
});

type Overrides = Record<string, string | undefined>;

const setStage = (env: Overrides = {}): Promise<Stage> => Stage.set(ground(), { DB_NAME: DATABASE, ...env });

describe('a backup whose pg_dump fails', () => {
  const plain = {};
  const custom = { BACKUP_FORMAT: 'custom' };
  it.each([
    ['is killed midway', 'real "$@" | head -c 9000000; kill -KILL $$', plain, /pg_dump was ended by SIGKILL/],
    [
      'ends with status 1 after its whole output',
      'real "$@"; echo "pg_dump: error: the sky fell" >&2; exit 1',
      plain,
      /pg_dump ended with status 1: pg_dump: error: the sky fell/,
    ],
    [
      'ends with status 0 after half of its output',
      'real "$@" | head -c 9000000; exit 0',
      plain,
      /pg_dump ended well, but the dump lacks its end mark/,
    ],
    [
      'ends with status 0 after half of its output, in the custom format',
      'real "$@" | head -c 9000000; exit 0',
      custom,
      /pg_dump ended well, but the dump lacks its end mark/,
    ],
    ['writes nothing and ends with status 0', 'exit 0', plain, /lacks its end mark/],
    ['writes nothing in the custom format and ends with status 0', 'exit 0', custom, /lacks its end mark/],
    ['loses only the last line', 'real "$@" | grep -v "database dump complete"', plain, /lacks its end mark/],
  ])('fails with status 4 and leaves nothing when it %s', async (_what, script, env, message) => {
    const stage = await setStage({ PG_BIN_DIR: fakeTools(ground(), { pg_dump: script }), ...env });
    const end = await stage.run(['backup', '--json']);
    const { error } = end.json() as FailureJson;
    expect(error).toMatchObject({
      code: 'DUMP_FAILED',
      exitStatus: 4,
      message: expect.stringMatching(message),
    });
    expect(error.hint).toContain('Run the backup again');
    expect(end.status).toBe(4);
    expect(end.stderr).not.toContain('Backup created');
    await expectNothingLeft(stage, end);
  });

  it('shows what pg_dump said even though it ended well', async () => {
    const script = 'real "$@"; echo "pg_dump: warning: the sky darkens" >&2';
    const stage = await setStage({ PG_BIN_DIR: fakeTools(ground(), { pg_dump: script }) });
    const end = await stage.run(['backup']);
    expect(end.status).toBe(0);
    expect(end.stdout).toContain('Backup completed successfully');
    expect(end.printed.split('pg_dump: warning: the sky darkens')).toHaveLength(2);
  });

  it('fails with status 4 when what it writes is no archive', async () => {
    const tools = fakeTools(ground(), { pg_dump: 'echo hello; real "$@"' });
    const stage = await setStage({ PG_BIN_DIR: tools, BACKUP_FORMAT: 'custom' });
    const end = await stage.run(['backup']);
    expect(end.stderr).toMatch(/❌ What pg_dump wrote is no dump: .*begin with PGDMP/);
    expect(end.status).toBe(4);
    await expectNothingLeft(stage, end);
  });

  it('fails with status 4 when the roles cannot be dumped', async () => {
    const script = 'echo "pg_dumpall: error: permission denied for table pg_authid" >&2; exit 1';
    const stage = await setStage({ PG_BIN_DIR: fakeTools(ground(), { pg_dumpall: script }) });
    const end = await stage.run(['backup']);
    expect(end.stderr).toMatch(/❌ pg_dumpall ended with status 1: pg_dumpall: error: permission denied/);
    expect(end.status).toBe(4);
    await expectNothingLeft(stage, end);
  });

  it('fails with status 4 when the roles’ dump is cut short', async () => {
    const stage = await setStage({
      PG_BIN_DIR: fakeTools(ground(), { pg_dumpall: 'real "$@" | head -c 100' }),
    });
    const end = await stage.run(['backup']);
    expect(end.stderr).toContain('pg_dumpall ended well, but its output lacks the end mark');
    expect(end.status).toBe(4);
    await expectNothingLeft(stage, end);
  });

  it('tells the next status check and the next person what failed', async () => {
    const stage = await setStage({ PG_BIN_DIR: fakeTools(ground(), { pg_dump: 'exit 3' }) });
    await stage.run(['backup']);
    const end = await stage.run(['status']);
    expect(end.stdout).toMatch(/Last failure +[\d: -]+ backup: pg_dump ended with status 3 and said nothing/);
    expect(end.status).toBe(9);
  });

  it('succeeds with what pg_dump only warned of, and keeps the warning', async () => {
    const script = 'real "$@"; echo "pg_dump: warning: there are circular foreign-key constraints" >&2';
    const stage = await setStage({ PG_BIN_DIR: fakeTools(ground(), { pg_dump: script }) });
    const end = await stage.run(['backup', '--json']);
    expect(end.status).toBe(0);
    const { id, warnings } = end.json() as BackupJson;
    expect(warnings).toEqual([expect.stringContaining('circular foreign-key')]);
    expect(stage.manifest(id).warnings).toEqual(warnings);
  });
});

describe('a backup without a fitting client', () => {
  it('is refused with status 3 and the package to install when there is no pg_dump', async () => {
    const empty = mkdtempSync(path.join(ground().folder, 'empty-'));
    const stage = await setStage({ PG_BIN_DIR: empty });
    const end = await stage.run(['backup']);
    expect(end.stderr).toContain(`❌ pg_dump: command not found in ${empty}`);
    expect(end.stderr).toMatch(/→ .*sudo apt-get install postgresql-client-\d\d/);
    expect(end.status).toBe(3);
    await expectNothingLeft(stage, end);
  });

  it('is refused with status 3 when pg_dump does not run', async () => {
    const broken = mkdtempSync(path.join(ground().folder, 'broken-'));
    writeFileSync(path.join(broken, 'pg_dump'), '#!/bin/sh\nexit 127\n', { mode: 0o755 });
    const stage = await setStage({ PG_BIN_DIR: broken });
    const end = await stage.run(['backup']);
    expect(end.stderr).toContain(`${broken}/pg_dump --version failed`);
    expect(end.status).toBe(3);
  });

  it('is refused with both versions named when the client is older than the server', async () => {
    const newer = await startPostgres({ binDir: postgres18BinDir() });
    try {
      const stage = await setStage({ ...newer.env, DB_NAME: 'postgres' });
      const end = await stage.run(['backup', '--json']);
      const { error } = end.json() as FailureJson;
      const problems = error.problems ?? [error];
      expect(problems.map(({ code }) => code)).toEqual(['CLIENT_TOO_OLD', 'CLIENT_TOO_OLD']);
      expect(problems[0]!.message).toMatch(/pg_dump is version 1[4-7]\S*, older than the server’s 18\.\d+/);
      expect(problems[0]!.hint).toContain('apt-get install postgresql-client-18');
      expect(end.status).toBe(3);
      await expectNothingLeft(stage, end);
    } finally {
      await newer.remove();
    }
  });
});

describe('a backup that cannot read the database', () => {
  it('fails with status 4 at a wrong password, and prints neither the wrong nor the right one', async () => {
    const stage = await setStage({ DB_PASSWORD: 'wr0ng-pa55word' });
    const end = await stage.run(['backup']);
    expect(end.stderr).toMatch(
      /❌ Cannot connect to database "hostmaster_prod" on .*password authentication failed/,
    );
    expect(end.stderr).toContain('→ Check DB_USER and DB_PASSWORD');
    expect(end.status).toBe(4);
    expect(end.printed).not.toContain('wr0ng-pa55word');
    await expectNothingLeft(stage, end);
  });

  it('fails with status 4 when no password is set and the server asks for one, and says so', async () => {
    const stage = await setStage({ DB_PASSWORD: undefined });
    const end = await stage.run(['backup']);
    expect(end.stderr).toMatch(
      /❌ Cannot connect to database "hostmaster_prod" on .*: the server asks for a password, and DB_PASSWORD is not set/,
    );
    expect(end.stderr).toContain('→ Set DB_PASSWORD');
    expect(end.stderr).not.toContain('SASL');
    expect(end.status).toBe(4);
    await expectNothingLeft(stage, end);
  });

  it('fails with status 4 when the database does not exist, naming it', async () => {
    const stage = await setStage({ DB_NAME: 'hostmaster_typo' });
    const end = await stage.run(['backup']);
    expect(end.stderr).toContain('database "hostmaster_typo" does not exist');
    expect(end.stderr).toContain('→ Check DB_NAME');
    expect(end.status).toBe(4);
    await expectNothingLeft(stage, end);
  });

  it('fails with status 4 when no server listens, naming host and port', async () => {
    const stage = await setStage({ DB_PORT: '1' });
    const end = await stage.run(['backup']);
    expect(end.stderr).toMatch(/❌ Cannot connect to .* on 127\.0\.0\.1:1 .*ECONNREFUSED/);
    expect(end.stderr).toContain('that PostgreSQL is running');
    expect(end.status).toBe(4);
  });

  it('fails with status 2 when DB_NAME is not set', async () => {
    const stage = await setStage({ DB_NAME: undefined });
    const end = await stage.run(['backup']);
    expect(end.stderr).toContain('❌ DB_NAME is not set: which database?');
    expect(end.stderr).toContain('export DB_NAME=hostmaster_prod');
    expect(end.status).toBe(2);
  });

  it('fails with status 2 and every wrong setting at once', async () => {
    const stage = await setStage({
      DB_PORT: 'five',
      BACKUP_FORMAT: 'tar',
      S3_BUCKET: 'Not_A_Bucket',
      LOCAL_RETENTION_DAYS: '0',
      BACKUP_COMPRESSION_LEVEL: '20',
    });
    const end = await stage.run(['backup']);
    for (const name of [
      'DB_PORT="five"',
      'BACKUP_FORMAT="tar"',
      'S3_BUCKET="Not_A_Bucket"',
      'LOCAL_RETENTION_DAYS="0"',
      'BACKUP_COMPRESSION_LEVEL="20"',
    ])
      expect(end.stderr).toContain(name);
    expect(end.status).toBe(2);
  });

  it('fails with status 2 for a level that the compression does not have', async () => {
    const stage = await setStage({ BACKUP_COMPRESSION_LEVEL: '15' });
    const end = await stage.run(['backup']);
    expect(end.stderr).toMatch(/BACKUP_COMPRESSION_LEVEL.*15.*gzip/);
    expect(end.status).toBe(2);
  });

  it('fails with status 4 before it starts, naming every table and sequence that the role may not read whole', async () => {
    const stage = await setStage({ DB_USER: 'reader', DB_PASSWORD: 'pw' });
    const end = await stage.run(['backup']);
    expect(end.stderr).toContain(
      'Role "reader" may not read all of the database: public.hidden, public.policed, public.secret',
    );
    expect(end.stderr).toContain('GRANT pg_read_all_data TO "reader"');
    expect(end.status).toBe(4);
    expect(end.stdout).not.toContain('Starting database backup');
    await expectNothingLeft(stage, end);
  });

  it('reports everything that is wrong in one go', async () => {
    const empty = mkdtempSync(path.join(ground().folder, 'empty-'));
    const stage = await setStage({ PG_BIN_DIR: empty, DB_PASSWORD: 'wrong', S3_BUCKET: 'no-such-bucket' });
    const end = await stage.run(['backup', '--json']);
    const { error } = end.json() as FailureJson;
    expect(error.code).toBe('PREFLIGHT_FAILED');
    expect(error.problems!.map(({ code }) => code).toSorted()).toEqual([
      'CLIENT_MISSING',
      'DB_CONNECT',
      'S3_NO_BUCKET',
    ]);
    for (const { message } of error.problems!) expect(end.stderr).toContain(message);
    expect(end.status).toBe(3);
  });

  it('is not stopped by time limits, a read-only default or a search path that the role has for applications', async () => {
    const { postgres } = ground();
    await postgres.psql(
      DATABASE,
      `CREATE ROLE limited SUPERUSER LOGIN PASSWORD 'pw';
       ALTER ROLE limited SET statement_timeout = '20ms';
       ALTER ROLE limited SET lock_timeout = '20ms';
       ALTER ROLE limited SET idle_in_transaction_session_timeout = '20ms';
       ALTER ROLE limited SET default_transaction_read_only = on;
       ALTER ROLE limited SET search_path = nowhere;
       ALTER ROLE limited SET client_encoding = 'LATIN1';
       ALTER ROLE limited SET datestyle = 'German, DMY';
       ALTER ROLE limited SET row_security = off;`,
    );
    const stage = await setStage({ DB_USER: 'limited', DB_PASSWORD: 'pw' });
    const end = await stage.run(['backup']);
    expect(end.printed).toContain('Rows: 300,000 in 3 tables');
    expect(end.status).toBe(0);
  });
});

describe('a backup during which the database goes away', () => {
  it('fails with status 4 and leaves nothing when the server restarts, and the next run works', async () => {
    const { postgres } = ground();
    const stage = await setStage();
    const mark = path.join(ground().folder, 'dumping');
    const go = path.join(ground().folder, 'restarted');
    const slow = `set -o pipefail; real "$@" | { head -c 3000000; touch '${mark}'; while [ ! -e '${go}' ]; do sleep 0.02; done; cat; }`;
    const agent = stage.start(['backup', '--json'], { PG_BIN_DIR: fakeTools(ground(), { pg_dump: slow }) });
    while (!existsSync(mark)) await sleep(20);
    await postgres.restart();
    writeFileSync(go, '');
    const end = await agent.ended;
    const { error } = end.json() as FailureJson;
    expect(error.code).toBe('DUMP_FAILED');
    expect(error.message).toMatch(/pg_dump ended with status 1: .*(?:terminating|closed the connection)/s);
    expect(end.status).toBe(4);
    await expectNothingLeft(stage, end);
    expect((await stage.run(['backup'])).status).toBe(0);
  });

  it('fails with status 4 when an administrator ends the dump’s session', async () => {
    const { postgres } = ground();
    const stage = await setStage();
    // A lock that pg_dump has to wait for keeps its session in place.
    const hold = postgres
      .psql(DATABASE, 'BEGIN; LOCK TABLE secret; SELECT pg_sleep(600)')
      .catch(() => 'ended');
    const held = `SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'`;
    while ((await postgres.psql('postgres', held)) === '0') await sleep(20);
    const agent = stage.start(['backup', '--json']);
    await agent.untilPrinted(/Starting database backup/);
    const terminate = (which: string): Promise<string> =>
      postgres.psql(
        'postgres',
        `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE ${which}`,
      );
    while ((await terminate(`application_name = 'lifeboat' AND wait_event_type = 'Lock'`)) === '0')
      await sleep(50);
    const end = await agent.ended;
    expect((end.json() as FailureJson).error.message).toMatch(/terminating connection due to administrator/);
    expect(end.status).toBe(4);
    await terminate(`wait_event = 'PgSleep'`);
    expect(await hold).toBe('ended');
    await expectNothingLeft(stage, end);
  });
});

describe('a backup from a standby', () => {
  it('is refused with status 3 unless it is allowed, and then says so', async () => {
    const { postgres } = ground();
    const signal = path.join(postgres.dataDir, 'standby.signal');
    await postgres.stop();
    writeFileSync(signal, '', { mode: 0o644 });
    await postgres.start();
    try {
      const stage = await setStage();
      const refused = await stage.run(['backup']);
      expect(refused.stderr).toContain('❌ The server is a standby');
      expect(refused.stderr).toContain('--allow-standby');
      expect(refused.status).toBe(3);
      const end = await stage.run(['backup', '--allow-standby', '--json']);
      expect(end.status).toBe(0);
      const { id, warnings } = end.json() as BackupJson;
      expect(warnings).toContain('Dumped from a standby');
      expect(stage.manifest(id).server.standby).toBe(true);
    } finally {
      await postgres.stop();
      rmSync(signal);
      await postgres.start();
    }
  });
});
