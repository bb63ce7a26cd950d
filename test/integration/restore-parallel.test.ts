import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import { Stage, useGround, type BackupJson, type FailureJson } from './backup-fixture.ts';
import { fingerprint, halfMade, type RestoreJson } from './restore-fixture.ts';

const ground = useGround();
let names = 0;

/** A table of several frames, a row longer than two, and what rows and tables may look like at their worst. */
const WORST_SQL = `
  CREATE EXTENSION hstore;
  CREATE SCHEMA "odd; -- schema";
  CREATE DOMAIN even AS int CHECK (VALUE % 2 = 0);
  CREATE TABLE big (id bigint PRIMARY KEY, half even, t text, twice bigint GENERATED ALWAYS AS (id * 2) STORED, doc jsonb, x xml);
  INSERT INTO big (id, half, t, doc, x)
    SELECT i, CASE i % 3 WHEN 0 THEN NULL ELSE i * 2 END,
           CASE i % 7 WHEN 0 THEN E'\\\\.' WHEN 1 THEN E'a\\n\\\\.\\nb\\r\\n' WHEN 2 THEN '' WHEN 3 THEN NULL WHEN 4 THEN E'\\\\N' WHEN 5 THEN E'\\t\\x08\\x0b\\x01 \\\\' ELSE repeat('é', 200) END,
           jsonb_build_object('n', i, 's', E'"\\\\\\n'), CASE WHEN i % 1000 = 0 THEN XMLPARSE(CONTENT '<a/>text') END
      FROM generate_series(1, 150000) i;
  CREATE TABLE long_rows (n int, t text);
  INSERT INTO long_rows SELECT n, repeat(md5(n::text), 600000) FROM generate_series(1, 2) n;
  CREATE TABLE "odd; -- schema"."COPY ""t"" (a) FROM stdin;
two lines" ("a ""b"" FROM stdin;" int, "\\." text DEFAULT 'x', "naïve ☃" int);
  INSERT INTO "odd; -- schema"."COPY ""t"" (a) FROM stdin;
two lines" SELECT i, E'\\\\.', NULL FROM generate_series(1, 10) i;
  CREATE TABLE nothing (); INSERT INTO nothing SELECT FROM generate_series(1, 1000);
  CREATE TABLE empty (a int);
  CREATE TABLE "CamelCase" (a text); INSERT INTO "CamelCase" VALUES (''), (E'\\\\'), (NULL);
  CREATE TABLE parted (k int, v text) PARTITION BY LIST (k);
  CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1); CREATE TABLE parted_rest PARTITION OF parted DEFAULT;
  INSERT INTO parted SELECT i % 3, i FROM generate_series(1, 3000) i; CREATE INDEX ON parted (v);
  CREATE TABLE father (a int); CREATE TABLE son (b hstore) INHERITS (father);
  INSERT INTO father VALUES (1); INSERT INTO son VALUES (2, 'k=>v');
  CREATE TABLE sequenced (id int GENERATED ALWAYS AS IDENTITY, big_id bigint REFERENCES big DEFERRABLE);
  INSERT INTO sequenced (big_id) SELECT i FROM generate_series(1, 5000) i;
  CREATE FUNCTION bang() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.a := NEW.a || '!'; RETURN NEW; END $$;
  CREATE TRIGGER bang BEFORE INSERT ON "CamelCase" FOR EACH ROW EXECUTE FUNCTION bang();
  CREATE RULE nowhere AS ON INSERT TO empty DO INSTEAD NOTHING;
  CREATE MATERIALIZED VIEW totals AS SELECT k, count(*) FROM parted GROUP BY k;
  CREATE UNLOGGED TABLE unlogged AS SELECT 1 AS a;
  SELECT lo_from_bytea(0, decode(repeat('0a5c2e0a', 5000), 'hex'));
  REVOKE ALL ON empty FROM CURRENT_USER`;
const WORST_TABLES = 12;

beforeAll(async () => {
  const { postgres } = ground();
  await postgres.createDatabase('worst');
  await postgres.psql('worst', WORST_SQL);
});

type Format = 'plain' | 'custom';
const FORMATS = ['plain', 'custom'] as const;

function newName(): string {
  names += 1;
  return `parallel_${names}_x`;
}

async function backUp(database: string, format: Format): Promise<{ stage: Stage; backup: BackupJson }> {
  const stage = await Stage.set(ground(), {
    DB_NAME: database,
    BACKUP_FORMAT: format,
    S3_BUCKET: undefined,
  });
  const end = await stage.run(['backup', '--json']);
  expect(end.status).toBe(0);
  return { stage, backup: end.json() as BackupJson };
}

async function restored(stage: Stage, args: readonly string[] = []): Promise<RestoreJson> {
  const end = await stage.run(['restore', 'latest', '--to-database', newName(), '--json', ...args]);
  expect(end.printed).toContain('✅ Restore completed successfully');
  expect(scratchIn(stage)).toEqual([]);
  return end.json() as RestoreJson;
}

async function refused(stage: Stage): Promise<FailureJson['error']> {
  const name = newName();
  const end = await stage.run(['restore', 'latest', '--to-database', name, '--json']);
  const { error } = end.json() as FailureJson;
  expect(end.leftRunning).toEqual([]);
  await nothingIsLeft(stage, name);
  return error;
}

async function nothingIsLeft(stage: Stage, target: string): Promise<void> {
  const { postgres } = ground();
  expect(await halfMade(postgres)).toEqual([]);
  const left = `SELECT (SELECT count(*) FROM pg_database WHERE datname LIKE '${target}%') + (SELECT count(*) FROM pg_stat_activity WHERE datname LIKE '${target}%')`;
  expect(await postgres.psql('postgres', left)).toBe('0');
  expect(scratchIn(stage)).toEqual([]);
}

function scratchIn(stage: Stage): string[] {
  return readdirSync(stage.dir).filter((name) => name.includes('.partial'));
}

/** Each connection that took rows did so in a transaction of its own. */
async function connectionsOf(database: string, table: string): Promise<number> {
  return Number(await ground().postgres.psql(database, `SELECT count(DISTINCT xmin::text) FROM ${table}`));
}

describe.each(FORMATS)('a %s restore over several connections', (format) => {
  it('brings back the worst rows and names, from many chunks, whatever the number of connections', async () => {
    const { postgres } = ground();
    const { stage, backup } = await backUp('worst', format);
    expect(backup.rawBytes).toBeGreaterThan(4 * 8 * 1024 * 1024);
    const source = await fingerprint(postgres, 'worst', { properties: false });
    for (const jobs of [1, 2, 5]) {
      const { database, tables } = await restored(stage, ['--jobs', String(jobs)]);
      expect(await fingerprint(postgres, database, { properties: false })).toBe(source);
      expect(tables).toBe(WORST_TABLES);
      expect(await connectionsOf(database, 'big')).toBe(jobs);
      expect(await connectionsOf(database, '"CamelCase"')).toBe(1);
      await postgres.psql('postgres', `DROP DATABASE ${database}`);
    }
  });

  it.each([
    ['LATIN1', 'größe'],
    ['EUC_JP', '日本語'],
    ['SQL_ASCII', 'größe 日本語'],
  ])('brings back a database in %s', async (encoding, text) => {
    const { postgres } = ground();
    const source = newName();
    await postgres.psql(
      'postgres',
      `CREATE DATABASE ${source} TEMPLATE template0 ENCODING '${encoding}' LOCALE 'C'`,
    );
    const client = encoding === 'SQL_ASCII' ? 'SQL_ASCII' : 'UTF8';
    await postgres.psql(
      source,
      `SET client_encoding = ${client}; CREATE TABLE "${text}" ("${text} b" text); INSERT INTO "${text}" SELECT '${text} ' || i FROM generate_series(1, 100000) i`,
    );
    const { stage } = await backUp(source, format);
    const { database, rows } = await restored(stage, ['--jobs', '2']);
    expect(rows).toBe(100_000);
    const all = `SET client_encoding = ${client}; SELECT md5(string_agg("${text} b", ',' ORDER BY "${text} b")) FROM "${text}"`;
    expect(await postgres.psql(database, all)).toBe(await postgres.psql(source, all));
  });

  it('ends at a row that the server refuses, with the table and the reason, and leaves nothing', async () => {
    const { postgres } = ground();
    const source = newName();
    await postgres.createDatabase(source);
    await postgres.psql(
      source,
      `${ELSEWHERE_SQL} SET app.here = 'yes';
       CREATE TABLE picky (n int, t text, CONSTRAINT only_here CHECK (n <> 123456 OR here()));
       INSERT INTO picky SELECT i, repeat('x', 80) FROM generate_series(1, 200000) i;
       CREATE TABLE z_after AS SELECT 1 AS a`,
    );
    const { stage } = await backUp(source, format);
    const error = await refused(stage);
    expect(error).toMatchObject({ code: 'RESTORE_FAILED', exitStatus: 4 });
    expect(error.message).toMatch(/"picky" violates check constraint "only_here"/);
    expect(error.message).toMatch(/CONTEXT: {2}COPY picky: /);
  });

  it('ends at a statement after the rows that fails, with its line in the dump', async () => {
    const { postgres } = ground();
    const source = newName();
    await postgres.createDatabase(source);
    await postgres.psql(
      source,
      `${ELSEWHERE_SQL} SET app.here = 'yes';
       CREATE TABLE a_first AS SELECT i, E'x\\n' AS t FROM generate_series(1, 50000) i;
       CREATE TABLE "b
second" AS SELECT 1 AS a; CREATE SEQUENCE s;
       CREATE INDEX wanting ON a_first ((i / CASE WHEN here() THEN 1 ELSE 0 END))`,
    );
    const { stage, backup } = await backUp(source, format);
    const error = await refused(stage);
    expect(error).toMatchObject({ code: 'RESTORE_FAILED', exitStatus: 4 });
    expect(error.message).toMatch(/division by zero/);
    if (format === 'custom') return;
    const dump = gunzipSync(readFileSync(path.join(stage.dir, backup.file))).toString();
    // psql tells the line in which the statement ends.
    const end = dump.indexOf(';', dump.indexOf('CREATE INDEX wanting'));
    const line = dump.slice(0, end).split('\n').length;
    expect(error.message).toContain(`psql:<stdin>:${line}: ERROR:  division by zero`);
  });

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('leaves nothing behind when %s comes while rows are loaded', async (signal, status) => {
    const { stage, target, agent } = await startSlowRestore(format);
    agent.killGroup(signal);
    const end = await agent.ended;
    expect(end.status).toBe(status);
    expect(end.leftRunning).toEqual([]);
    await nothingIsLeft(stage, target);
  });

  it('fails when one of its connections is ended, and leaves nothing', async () => {
    const { stage, target, agent } = await startSlowRestore(format);
    await ground().postgres.psql(
      'postgres',
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE '${target}%' AND query LIKE 'COPY%' LIMIT 1`,
    );
    const end = await agent.ended;
    expect((end.json() as FailureJson).error).toMatchObject({
      code: 'RESTORE_FAILED',
      message: expect.stringMatching(/terminating connection due to administrator command/) as string,
    });
    expect(end.leftRunning).toEqual([]);
    await nothingIsLeft(stage, target);
  });
});

/** Says where it is: only sessions of the source have the setting. */
const ELSEWHERE_SQL = `CREATE FUNCTION here() RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS
  $$ BEGIN RETURN coalesce(current_setting('app.here', true), '') = 'yes'; END $$;`;

const SLOW_SQL = `CREATE FUNCTION slow(n int) RETURNS boolean LANGUAGE plpgsql AS
  $$ BEGIN IF current_setting('app.here', true) IS NULL THEN PERFORM pg_sleep(0.01); END IF; RETURN true; END $$;
  SET app.here = 'yes'; CREATE TABLE sleepy (n int CHECK (slow(n)), t text);
  INSERT INTO sleepy SELECT i, repeat('x', 200) FROM generate_series(1, 50000) i`;

/** Rows of a table go in slowly, over two connections, when it returns. */
async function startSlowRestore(format: Format) {
  const { postgres } = ground();
  const [source, target] = [newName(), newName()];
  await postgres.createDatabase(source);
  await postgres.psql(source, SLOW_SQL);
  const { stage } = await backUp(source, format);
  const agent = stage.start(['restore', 'latest', '--to-database', target, '--jobs', '2', '--json']);
  const loading = `SELECT count(*) FROM pg_stat_activity WHERE datname LIKE '${target}%' AND query LIKE 'COPY%' AND state = 'active'`;
  while ((await postgres.psql('postgres', loading)) !== '2') await sleep(20);
  return { stage, target, agent };
}
