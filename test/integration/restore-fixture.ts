import { execFile } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Client } from 'pg';
import type { PostgresServer } from '../postgres-server.ts';

export interface RestoreJson {
  readonly succeeded: true;
  readonly database: string;
  readonly id: string;
  readonly from: string;
  readonly tables: number | null;
  readonly rows: number | null;
  readonly keptAs: string | null;
  readonly durationMs: number;
  readonly warnings: readonly string[];
}

/** Of everything that pg_dump treats in its own way, some; 7 tables with data, 36,006 rows. */
export const SHOP_SQL = `
  CREATE EXTENSION hstore;
  CREATE SCHEMA "odd; schema";
  CREATE TYPE mood AS ENUM ('sad', 'glad');
  CREATE TABLE users (id bigserial PRIMARY KEY, name text NOT NULL UNIQUE, doc jsonb, tags hstore, feels mood DEFAULT 'glad');
  INSERT INTO users (name, doc, tags) SELECT 'user ' || i, jsonb_build_object('n', i), hstore('k', i::text) FROM generate_series(1, 20000) i;
  CREATE TABLE "odd; schema"."Order ""Items""" ("we\\ird col" int REFERENCES users (id), note text);
  INSERT INTO "odd; schema"."Order ""Items""" SELECT i, E'line\\nbreak\\t\\\\. $(touch x) \\\\N' FROM generate_series(1, 5000) i;
  CREATE TABLE events (at date, v int) PARTITION BY RANGE (at);
  CREATE TABLE events_2025 PARTITION OF events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
  CREATE TABLE events_2026 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
  INSERT INTO events SELECT '2025-06-01'::date + (i % 500), i FROM generate_series(1, 10000) i;
  CREATE INDEX ON events (v);
  CREATE TABLE parent (a int); CREATE TABLE child (b int) INHERITS (parent);
  INSERT INTO parent VALUES (1), (2), (3); INSERT INTO child VALUES (1, 1), (2, 2), (3, 3);
  CREATE TABLE blank (id int GENERATED ALWAYS AS IDENTITY, doubled int GENERATED ALWAYS AS (1 + 1) STORED);
  INSERT INTO blank SELECT FROM generate_series(1, 1000);
  CREATE VIEW glad AS SELECT * FROM users WHERE feels = 'glad';
  CREATE MATERIALIZED VIEW totals AS SELECT count(*) AS n FROM users;
  CREATE MATERIALIZED VIEW untold AS SELECT 1 AS n WITH NO DATA;
  CREATE FUNCTION trap() RETURNS text LANGUAGE sql AS $$ SELECT 'COPY public.users (id) FROM stdin;
1
\\.
' $$;
  CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.name := NEW.name || '!'; RETURN NEW; END $$;
  CREATE TRIGGER touched BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION touch();
  ALTER TABLE users ENABLE ROW LEVEL SECURITY; ALTER TABLE users FORCE ROW LEVEL SECURITY;
  CREATE POLICY nobody ON users USING (false);
  ALTER TABLE users OWNER TO app_owner; GRANT SELECT (name) ON users TO "read er";
  SELECT lo_from_bytea(0, 'hello'::bytea), lo_from_bytea(0, decode(repeat('00ff', 5000), 'hex'));
  COMMENT ON TABLE users IS 'all of ''them''';
  ALTER DATABASE shop SET search_path TO "$user", public, "odd; schema";
  ALTER DATABASE shop SET app.tenant TO 'it''s \\ here';
  ALTER ROLE "read er" IN DATABASE shop SET statement_timeout = '5s';
  REVOKE CONNECT ON DATABASE shop FROM PUBLIC; GRANT CONNECT ON DATABASE shop TO "read er" WITH GRANT OPTION;
  COMMENT ON DATABASE shop IS 'the shop''s \\ own'; ALTER DATABASE shop CONNECTION LIMIT 77`;

/** Enough to see that a restore took place: 1 table, 10 rows. */
export const TINY_SQL = 'CREATE TABLE tiny AS SELECT generate_series(1, 10) AS n';

/**
 * A database as one text: its definition as pg_dump sees it, a checksum of every table's rows and of large objects, and
 * the database's own properties. Two databases with the same text are the same for every purpose of ours.
 */
export async function fingerprint(
  postgres: PostgresServer,
  database: string,
  { properties } = { properties: true },
): Promise<string> {
  const schema = (await execute('pg_dump --schema-only', { ...postgres.env, DB_NAME: database })).toString();
  const rows = await postgres.psql(
    database,
    `SET search_path = pg_catalog;
     SELECT format('SELECT %L, count(*), md5(string_agg(t::text, '','' ORDER BY t::text)) FROM ONLY %s t', oid::regclass, oid::regclass)
       FROM pg_class WHERE relkind IN ('r', 'm') AND relispopulated AND oid >= 16384 AND relnamespace <> 'pg_toast'::regnamespace ORDER BY oid::regclass::text \\gexec
     SELECT md5(string_agg(md5(lo_get(oid)), ',' ORDER BY oid)) FROM pg_largeobject_metadata;`,
  );
  const own = await postgres.psql(
    'postgres',
    `SELECT pg_get_userbyid(datdba), encoding, datcollate, datctype, datconnlimit, shobj_description(oid, 'pg_database'),
            (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(datacl) a),
            (SELECT array_agg((setrole, setconfig)::text ORDER BY setrole) FROM pg_db_role_setting WHERE setdatabase = oid)
       FROM pg_database WHERE datname = '${database.replaceAll("'", "''")}'`,
  );
  return [schema.replaceAll(/^\\(?:un)?restrict .*$/gm, ''), rows, ...(properties ? [own] : [])].join('\n');
}

export async function databasesLike(postgres: PostgresServer, pattern: string): Promise<string[]> {
  const names = await postgres.psql(
    'postgres',
    `SELECT datname FROM pg_database WHERE datname LIKE '${pattern.replaceAll("'", "''")}' ORDER BY 1`,
  );
  return names === '' ? [] : names.split('\n');
}

const holders = new Set<Client>();

/**
 * A dump of `source` whose restore waits in the midst, until releaseHeld().
 * @returns its path
 */
export async function heldDump(
  postgres: PostgresServer,
  { source, folder, format }: HeldDump,
): Promise<string> {
  mkdirSync(folder, { recursive: true });
  await postgres.psql(
    source,
    `CREATE FUNCTION held() RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN
       WHILE EXISTS (SELECT FROM pg_catalog.pg_stat_activity WHERE application_name = 'hold 0') LOOP
         PERFORM pg_catalog.pg_sleep(0.02), pg_catalog.pg_stat_clear_snapshot();
       END LOOP;
       RETURN 1; END $$;
     CREATE TABLE held_one (n int); INSERT INTO held_one VALUES (1); CREATE INDEX ON held_one ((n + held()))`,
  );
  const dump = await execute(format === 'plain' ? 'pg_dump -O' : 'pg_dump -O -Fc -Z0', {
    ...postgres.env,
    DB_NAME: source,
  });
  await postgres.psql(source, 'DROP TABLE held_one; DROP FUNCTION held()');
  const file = path.join(folder, `held-${format}`);
  // No longer than it was.
  writeFileSync(file, Buffer.from(dump.toString('latin1').replaceAll('hold 0', 'hold 1'), 'latin1'));
  const { host, port, superuser: user, password } = postgres;
  const holder = new Client({ host, port, user, password, database: 'postgres', application_name: 'hold 1' });
  // It goes with the server.
  holder.on('error', () => undefined);
  await holder.connect();
  holders.add(holder);
  return file;
}

/** Restores of held dumps go on; after every test, as one would hold up the next. */
export async function releaseHeld(): Promise<void> {
  for (const holder of holders) await holder.end().catch(() => undefined);
  holders.clear();
}

interface HeldDump {
  readonly source: string;
  readonly folder: string;
  readonly format: 'plain' | 'custom';
}

/** Until the restore of a held dump is where it waits. */
export async function untilLoading(postgres: PostgresServer, target: string): Promise<void> {
  for (;;) {
    const sleeping = await postgres.psql(
      'postgres',
      `SELECT count(*) FROM pg_stat_activity WHERE datname LIKE '${target}\\_restoring\\_%' AND query ILIKE '%create index%' AND state = 'active'`,
    );
    if (sleeping !== '0') return;
    await sleep(20);
  }
}

/** Databases that no restore should leave behind. */
export async function halfMade(postgres: PostgresServer): Promise<string[]> {
  return await databasesLike(postgres, '%\\_restoring\\_%');
}

/** A shell command of PostgreSQL's tools, as a user's script would have it; DB_NAME is its database. */
export async function execute(command: string, env: Readonly<Record<string, string>>): Promise<Buffer> {
  const { stdout } = await promisify(execFile)('bash', ['-o', 'pipefail', '-c', command], {
    encoding: 'buffer',
    maxBuffer: 1 << 30,
    env: {
      PATH: process.env['PATH'],
      PGHOST: env['DB_HOST'],
      PGPORT: env['DB_PORT'],
      PGUSER: env['DB_USER'],
      PGPASSWORD: env['DB_PASSWORD'],
      PGDATABASE: env['DB_NAME'],
    },
  });
  return stdout;
}
