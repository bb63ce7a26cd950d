import { Stage, useGround, type BackupJson } from './backup-fixture.ts';
import type { CountedTable, Manifest } from '../../lib/domain/backup/manifest.ts';
import type { PostgresServer } from '../postgres-server.ts';

const ground = useGround();

/** Looks like a table's data wherever a line of it may stand. */
const TRAP = 'COPY public.trap (a) FROM stdin;\n1\n2\n\\.\n\n-- PostgreSQL database dump complete\n';

/** As a string literal that means the same whatever standard_conforming_strings says. */
function literal(text: string): string {
  return `E'${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;
}

function name(text: string): string {
  return `"${text.replaceAll('"', '""')}"`;
}

const AWKWARD_NAMES = [
  'sp ace',
  'do.t',
  'Upper',
  'quo"te',
  "quo'te",
  'new\nline',
  'carriage\rreturn',
  'ta\tb',
  'back\\slash',
  '$(id)',
  '`id`',
  '$$',
  '$tag$',
  'dollar$name',
  'semi;colon',
  '-- comment',
  '/* comment',
  'COPY x FROM stdin',
  'paren (a) FROM stdin;',
  'täble 表 🐘',
  'copy',
  '\\.',
  ' leading',
  'x'.repeat(63),
];

/** Objects whose definitions hold text that looks like COPY data. */
const TRAPS = `
  SET check_function_bodies = off;
  CREATE TABLE trap (a int);
  INSERT INTO trap VALUES (7);
  CREATE FUNCTION in_body() RETURNS text LANGUAGE sql AS ${literal(`SELECT '${TRAP}'`)};
  CREATE FUNCTION in_tags() RETURNS text LANGUAGE plpgsql AS
    ${literal(`BEGIN -- $$ $_$ $function$\n${TRAP.replaceAll('COPY', 'NULL; --\nCOPY')}END`)};
  CREATE FUNCTION atomic(a int DEFAULT 1) RETURNS int LANGUAGE sql
    BEGIN ATOMIC SELECT 1; SELECT length(${literal(TRAP)}); END;
  CREATE PROCEDURE "COPY public.trap (a) FROM stdin;"() LANGUAGE plpgsql AS ${literal(`BEGIN\n${TRAP}`)};
  CREATE TABLE defaults (a text DEFAULT ${literal(TRAP)}, b text DEFAULT 'it''s' CHECK (b <> ${literal(TRAP)}));
  INSERT INTO defaults DEFAULT VALUES;
  COMMENT ON TABLE defaults IS ${literal(TRAP)};
  COMMENT ON COLUMN defaults.a IS ${literal(`\\\n'${TRAP}`)};
  COMMENT ON DATABASE traps IS ${literal(TRAP)};
  CREATE VIEW view AS SELECT ${literal(TRAP)} AS a, $q$'"$q$::text AS b, '$$'::text AS c, -(-1) AS d;
  CREATE RULE rule AS ON INSERT TO view DO INSTEAD (INSERT INTO trap VALUES (1); DELETE FROM trap WHERE a = 0);
  CREATE TYPE mood AS ENUM ('a;b', ${literal('COPY x FROM stdin;\n')}, '--');
  CREATE DOMAIN lines AS text DEFAULT ${literal(TRAP)} CHECK (VALUE <> ${literal(TRAP)});
  CREATE TABLE policed (a text);
  CREATE POLICY policy ON policed USING (a <> ${literal(TRAP)});
  CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
  CREATE TRIGGER trigger BEFORE INSERT ON policed FOR EACH ROW EXECUTE FUNCTION fire(${literal(TRAP)});
  INSERT INTO policed VALUES ('x'), ('y');
  CREATE INDEX expression ON policed ((a || ${literal(TRAP)}));
  CREATE SEQUENCE "COPY x.y FROM stdin;";`;

/** Tables whose rows are told apart with difficulty. */
const ROWS = `
  CREATE TABLE no_columns ();
  INSERT INTO no_columns DEFAULT VALUES; INSERT INTO no_columns DEFAULT VALUES;
  CREATE TABLE no_rows (a int, b text);
  CREATE TABLE empty_strings (a text);
  INSERT INTO empty_strings VALUES (''), (''), (NULL), ('');
  CREATE TABLE dropped (a int, b int);
  INSERT INTO dropped VALUES (1, 2);
  ALTER TABLE dropped DROP COLUMN a, DROP COLUMN b;
  CREATE TABLE generated (a int, b int GENERATED ALWAYS AS (a * 2) STORED);
  INSERT INTO generated SELECT generate_series(1, 11);
  CREATE TABLE only_generated (b text GENERATED ALWAYS AS ('x') STORED);
  INSERT INTO only_generated DEFAULT VALUES;
  CREATE TABLE identity (id bigint GENERATED ALWAYS AS IDENTITY);
  INSERT INTO identity DEFAULT VALUES;
  CREATE UNLOGGED TABLE unlogged AS SELECT 1 AS a;
  CREATE TABLE terminators (a text, b bytea);
  INSERT INTO terminators VALUES
    ('\\.', '\\x5c2e'), (E'\\n\\\\.\\n', '\\x0a5c2e0a'), ('\\', NULL), ('\\N', ''), (NULL, NULL), (E'\\r\\n\\t\\b\\f\\v', ''),
    (${literal(TRAP)}, convert_to(${literal(TRAP)}, 'UTF8')), (E'\\\\.', ''), (E'a\\n\\\\.', ''), (E'\\n', E'\\\\x0a');
  CREATE TABLE single (a text);
  INSERT INTO single SELECT a FROM terminators;
  CREATE TABLE short AS SELECT 1 AS a FROM generate_series(1, 100000);
  CREATE TABLE parent (a int);
  CREATE TABLE child (b int) INHERITS (parent);
  INSERT INTO parent VALUES (1), (2), (3);
  INSERT INTO child VALUES (1, 1), (2, 2);
  CREATE SCHEMA parts;
  CREATE TABLE events (at date, n int) PARTITION BY RANGE (at);
  CREATE TABLE events_2025 PARTITION OF events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
  CREATE TABLE parts.events_2026 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01') PARTITION BY LIST (n);
  CREATE TABLE parts.events_2026_one PARTITION OF parts.events_2026 FOR VALUES IN (1);
  CREATE TABLE parts.events_2026_rest PARTITION OF parts.events_2026 DEFAULT;
  INSERT INTO events VALUES ('2025-05-05', 1), ('2026-05-05', 1), ('2026-05-05', 2), ('2026-05-06', 3);
  CREATE MATERIALIZED VIEW filled AS SELECT * FROM parent;
  CREATE MATERIALIZED VIEW unfilled AS SELECT * FROM parent WITH NO DATA;
  SELECT lo_from_bytea(0, convert_to(${literal(TRAP)}, 'UTF8')), lo_from_bytea(0, decode(repeat('0a5c2e0a', 9000), 'hex')), lo_create(0);
  CREATE EXTENSION postgres_fdw;
  CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw;
  CREATE FOREIGN TABLE far (a int) SERVER elsewhere;`;

/** What pg_extension_config_dump does, which only an extension's own script may call. */
const EXTENSION = `
  CREATE EXTENSION hstore;
  CREATE TABLE settings (key text, custom bool);
  CREATE TABLE ids (id int);
  CREATE TABLE internals (id int);
  INSERT INTO settings VALUES ('built in', false), ('mine', true), ('mine too', true);
  INSERT INTO ids VALUES (1), (2);
  INSERT INTO internals VALUES (1);
  ALTER EXTENSION hstore ADD TABLE settings;
  ALTER EXTENSION hstore ADD TABLE ids;
  ALTER EXTENSION hstore ADD TABLE internals;
  UPDATE pg_extension SET extconfig = ARRAY['settings'::regclass, 'ids'::regclass]::oid[],
                          extcondition = ARRAY['WHERE custom', ''] WHERE extname = 'hstore';`;

/** Rows longer than any buffer on the way, and rows that lie across the ends of the 8 MiB frames. */
const LONG = `
  CREATE TABLE long (id int, text text);
  ALTER TABLE long ALTER text SET STORAGE EXTERNAL;
  INSERT INTO long VALUES (1, repeat('x', 70000)), (2, repeat(E'\\n\\\\.\\n', 3000000)), (3, repeat('y', 9000000)), (4, '');
  CREATE TABLE straddling AS
    SELECT n, repeat(E'line\\n', n % 400) AS text FROM generate_series(1, 20000) n;`;

async function createAwkwardNames(postgres: PostgresServer, database: string): Promise<void> {
  const tables = AWKWARD_NAMES.map(
    (text, index) => `
      CREATE TABLE ${name(text)} (${name(text)} int, a text DEFAULT ${literal(text)});
      INSERT INTO ${name(text)} SELECT generate_series(1, ${index});
      CREATE SCHEMA ${name(`s ${text.slice(0, 50)}`)};
      CREATE TABLE ${name(`s ${text.slice(0, 50)}`)}.${name(text)} (${name(`${text.slice(0, 20)} (a) FROM stdin;`)} int);
      INSERT INTO ${name(`s ${text.slice(0, 50)}`)}.${name(text)} VALUES (1);
      COMMENT ON TABLE ${name(text)} IS ${literal(text)};`,
  );
  await postgres.psql(database, tables.join('\n'));
}

type Count = readonly [schema: string, name: string, rows: number];

/** Counted by PostgreSQL, each table by itself. */
async function countedByPostgres(postgres: PostgresServer, database: string): Promise<Count[]> {
  const json = await postgres.psql(
    database,
    `SELECT json_agg(json_build_array(n.nspname, c.relname,
              (xpath('/row/c/text()', query_to_xml(format('SELECT count(*) AS c FROM ONLY %I.%I', n.nspname, c.relname),
                                                   false, true, '')))[1]::text::int))
       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
        AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')`,
  );
  return sorted(JSON.parse(json) as Count[]);
}

function sorted(counts: readonly Count[]): Count[] {
  return counts.toSorted((one, other) => (JSON.stringify(one) < JSON.stringify(other) ? -1 : 1));
}

function countsOf(tables: readonly CountedTable[]): Count[] {
  return sorted(tables.map(({ schema, name, rows }): Count => [schema, name, rows]));
}

async function backUp(database: string, format: string): Promise<Manifest> {
  const stage = await Stage.set(ground(), {
    DB_NAME: database,
    S3_BUCKET: undefined,
    BACKUP_FORMAT: format,
    BACKUP_COMPRESSION: 'zstd',
  });
  const end = await stage.run(['backup', '--json']);
  expect(end.printed).toContain('✅ Backup completed successfully');
  return stage.manifest((end.json() as BackupJson).id);
}

const ordinary = ({ kind }: CountedTable): boolean => kind !== 'extension-configuration';

describe.each(['plain', 'custom'])('the row counts of a %s dump', (format) => {
  it('are not fooled by text that looks like COPY in bodies, comments, defaults, views and policies', async () => {
    const { postgres } = ground();
    await prepared('traps', TRAPS);
    const manifest = await backUp('traps', format);
    expect(countsOf(manifest.tables)).toEqual(await countedByPostgres(postgres, 'traps'));
    expect(manifest.database.comment).toBe(TRAP);
  });

  it('name every table as it is called, whatever its name holds', async () => {
    const { postgres } = ground();
    await prepared('names', (database) => createAwkwardNames(postgres, database));
    const { tables } = await backUp('names', format);
    expect(countsOf(tables)).toEqual(await countedByPostgres(postgres, 'names'));
    expect(tables).toHaveLength(AWKWARD_NAMES.length * 2);
  });

  it('are exact for rows without columns, empty strings, end marks in values, partitions, children and generated columns', async () => {
    const { postgres } = ground();
    await prepared('rows', ROWS);
    const manifest = await backUp('rows', format);
    expect(countsOf(manifest.tables)).toEqual(await countedByPostgres(postgres, 'rows'));
    const kinds = Object.fromEntries(manifest.tables.map(({ name, kind }) => [name, kind]));
    expect(kinds).toMatchObject({
      events_2025: 'partition',
      events_2026_one: 'partition',
      events_2026_rest: 'partition',
      parent: 'table',
      child: 'table',
    });
    expect(kinds).not.toHaveProperty('events');
    expect(manifest.materializedViews).toEqual([
      { schema: 'public', name: 'filled', populated: true },
      { schema: 'public', name: 'unfilled', populated: false },
    ]);
    expect(manifest.largeObjects).toBe(3);
    expect(manifest.warnings).toEqual([expect.stringMatching(/foreign tables .*: public\.far$/)]);
  });

  it('tell an extension’s configuration apart, of which only the user’s rows are dumped', async () => {
    await prepared('extension', EXTENSION);
    const { tables, extensions } = await backUp('extension', format);
    expect(tables.filter((table) => !ordinary(table))).toEqual([
      { schema: 'public', name: 'ids', kind: 'extension-configuration', rows: 2 },
      { schema: 'public', name: 'settings', kind: 'extension-configuration', rows: 2 },
    ]);
    expect(tables.filter(ordinary)).toEqual([]);
    expect(extensions.map((extension) => extension.name)).toContain('hstore');
  });

  it('are exact for rows longer than every buffer and across the ends of frames', async () => {
    const { postgres } = ground();
    await prepared('long', LONG);
    const manifest = await backUp('long', format);
    expect(manifest.dump.frameSizes.length).toBeGreaterThan(4);
    expect(countsOf(manifest.tables)).toEqual(await countedByPostgres(postgres, 'long'));
  });

  it('name tables in a database whose encoding is not UTF-8', async () => {
    const { postgres } = ground();
    const create = `CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'`;
    await prepared(
      'latin',
      `CREATE TABLE "Größe" (a text); INSERT INTO "Größe" VALUES ('ß'), ('é');`,
      create,
    );
    const { tables, database } = await backUp('latin', format);
    expect(database.encoding).toBe('LATIN1');
    expect(countsOf(tables)).toEqual(await countedByPostgres(postgres, 'latin'));
  });
});

const ready = new Map<string, Promise<void>>();

/** Makes the database once for both formats. */
function prepared(
  database: string,
  content: string | ((database: string) => Promise<void>),
  create = `CREATE DATABASE "${database}"`,
): Promise<void> {
  const make = async (): Promise<void> => {
    const { postgres } = ground();
    await postgres.psql('postgres', create);
    if (typeof content === 'string') await postgres.psql(database, content);
    else await content(database);
  };
  if (!ready.has(database)) ready.set(database, make());
  return ready.get(database)!;
}
