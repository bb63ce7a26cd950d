import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Stage, useGround, type FailureJson } from './backup-fixture.ts';
import { databasesLike, execute, TINY_SQL, type RestoreJson } from './restore-fixture.ts';

const ground = useGround();
const SOURCE = 'tiny';
let databases = 0;

beforeAll(async () => {
  const { postgres } = ground();
  await postgres.psql(
    'postgres',
    `CREATE ROLE app_owner; CREATE ROLE bob LOGIN PASSWORD 'b';
     CREATE ROLE maker LOGIN CREATEDB PASSWORD 'm'; GRANT app_owner TO maker`,
  );
  await postgres.createDatabase(SOURCE);
  await postgres.psql(SOURCE, TINY_SQL);
});

const AS_MAKER = { DB_USER: 'maker', DB_PASSWORD: 'm' };

function newName(): string {
  databases += 1;
  return `props_${databases}`;
}

async function restored(stage: Stage, args: readonly string[], env: Record<string, string>) {
  const end = await stage.run(['restore', ...args, '--json'], env);
  expect(end.printed).toContain('✅ Restore completed successfully');
  return end.json() as RestoreJson;
}

/** A dump as a script of old wrote it: nothing beside the file. */
async function bareDump(): Promise<{ stage: Stage; file: string }> {
  const stage = await Stage.set(ground(), { DB_NAME: SOURCE, S3_BUCKET: undefined });
  mkdirSync(stage.dir, { recursive: true });
  const file = path.join(stage.dir, 'by-hand.sql');
  writeFileSync(file, await execute('pg_dump --no-owner', { ...ground().postgres.env, DB_NAME: SOURCE }));
  return { stage, file };
}

/** A database of bob's with everything that belongs to a database itself. */
async function bobsDatabase(): Promise<string> {
  const name = newName();
  await ground().postgres.psql(
    'postgres',
    `CREATE DATABASE ${name} OWNER bob TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C';
     REVOKE CONNECT ON DATABASE ${name} FROM PUBLIC; ALTER DATABASE ${name} CONNECTION LIMIT 7;
     ALTER DATABASE ${name} SET work_mem = '5MB'; ALTER ROLE bob IN DATABASE ${name} SET statement_timeout = '9s';
     COMMENT ON DATABASE ${name} IS 'bob''s'`,
  );
  return name;
}

function propertiesOf(database: string): Promise<string> {
  return ground().postgres.psql(
    'postgres',
    `SELECT pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype, datconnlimit,
            shobj_description(oid, 'pg_database'), (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(datacl) a),
            (SELECT array_agg((setrole, setconfig)::text ORDER BY setrole) FROM pg_db_role_setting WHERE setdatabase = oid)
       FROM pg_database WHERE datname = '${database}'`,
  );
}

describe('a dump without a manifest', () => {
  it.each([
    ['an empty', false],
    ['a replaced', true],
  ])(
    'leaves %s database its owner, grants, settings, limit, comment, encoding and locale',
    async (_, full) => {
      const { postgres } = ground();
      const { stage, file } = await bareDump();
      const target = await bobsDatabase();
      if (full) await postgres.psql(target, 'SET ROLE bob; CREATE TABLE precious AS SELECT 42 AS answer');
      const before = await propertiesOf(target);
      const result = await restored(stage, [file, ...(full ? ['--replace'] : [])], { DB_NAME: target });
      expect(await propertiesOf(target)).toBe(before);
      expect(result.warnings.join('\n')).toMatch(/keeps the owner, .* that it has/);
      // The application's role goes on as before.
      expect(
        await postgres.psql(target, 'SET ROLE bob; CREATE TABLE mine (a int); SELECT count(*) FROM mine'),
      ).toBe('0');
    },
  );

  it('says that a new database gets the server’s defaults', async () => {
    const { stage, file } = await bareDump();
    const { warnings } = await restored(stage, [file], { DB_NAME: newName() });
    expect(warnings.join('\n')).toMatch(/the server’s defaults are used/);
  });
});

describe('what counts as data', () => {
  it.each([
    ['1 composite type', 'CREATE TYPE pair AS (a int, b int)'],
    ['1 type', 'CREATE TYPE shell'],
    ['1 default privilege', 'ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO bob'],
    ['1 foreign-data wrapper', 'CREATE FOREIGN DATA WRAPPER fdw'],
    ['1 text search dictionary', 'CREATE TEXT SEARCH DICTIONARY dict (TEMPLATE = simple)'],
    ['1 language', 'CREATE LANGUAGE lang HANDLER plpgsql_call_handler'],
    ['1 conversion', "CREATE CONVERSION conv FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8"],
    ['1 operator family', 'CREATE OPERATOR FAMILY fam USING btree'],
    ['1 access method', 'CREATE ACCESS METHOD am TYPE TABLE HANDLER heap_tableam_handler'],
    ['1 text search template', 'CREATE TEXT SEARCH TEMPLATE temp (LEXIZE = dsimple_lexize)'],
  ])('%s alone makes a database one that is not dropped unasked', async (what, sql) => {
    const { postgres } = ground();
    const { stage, file } = await bareDump();
    const target = newName();
    await postgres.createDatabase(target);
    await postgres.psql(target, sql);
    const end = await stage.run(['restore', file, '--json'], { DB_NAME: target });
    expect((end.json() as FailureJson).error).toMatchObject({
      code: 'TARGET_NOT_EMPTY',
      message: expect.stringContaining(what) as string,
    });
  });
});

async function backedUp(database: string): Promise<Stage> {
  const stage = await Stage.set(ground(), { DB_NAME: database, S3_BUCKET: undefined });
  expect((await stage.run(['backup'])).status).toBe(0);
  return stage;
}

/** A database of app_owner's, of which `maker` is a member. */
async function ownersDatabase(): Promise<string> {
  const { postgres } = ground();
  const name = newName();
  await postgres.psql('postgres', `CREATE DATABASE ${name} OWNER app_owner`);
  await postgres.psql(name, `SET ROLE app_owner; ${TINY_SQL}`);
  return name;
}

describe('a role that is no superuser', () => {
  it('restores a database that belongs to a role it is a member of', async () => {
    const database = await ownersDatabase();
    const stage = await backedUp(database);
    const before = await propertiesOf(database);
    await restored(stage, ['latest', '--replace'], AS_MAKER);
    expect(await propertiesOf(database)).toBe(before);
    expect(await ground().postgres.psql(database, 'SELECT count(*) FROM tiny')).toBe('10');
  });

  it.each([
    [
      'another role’s setting',
      'ALTER ROLE bob IN DATABASE @ SET statement_timeout = 9',
      /ALTER ROLE "bob" IN DATABASE .* SET "statement_timeout"/,
    ],
    ['a superuser’s setting', "ALTER DATABASE @ SET log_statement = 'all'", /SET "log_statement"/],
  ])('learns before the load that it may not give the database %s', async (_, sql, statement) => {
    const { postgres } = ground();
    const database = await ownersDatabase();
    await postgres.psql('postgres', sql.replace('@', database));
    const stage = await backedUp(database);
    const end = await stage.run(['restore', 'latest', '--replace', '--json'], AS_MAKER);
    const { error } = end.json() as FailureJson;
    expect(error.code).toBe('DB_RIGHTS');
    expect(error.message).toMatch(statement);
    expect(error.message).toMatch(/permission denied|must/);
    expect(end.printed).not.toContain('Rows verified');
    expect(await databasesLike(postgres, `${database}%`)).toEqual([database]);
  });

  it('is told to have BYPASSRLS where rows are hidden from it, which cannot be counted', async () => {
    const { postgres } = ground();
    const database = await ownersDatabase();
    await postgres.psql(
      database,
      'ALTER TABLE tiny ENABLE ROW LEVEL SECURITY; ALTER TABLE tiny FORCE ROW LEVEL SECURITY',
    );
    const stage = await backedUp(database);
    const end = await stage.run(['restore', 'latest', '--replace', '--json'], AS_MAKER);
    const { error } = end.json() as FailureJson;
    expect(error.code).toBe('DB_RIGHTS');
    expect(error.message).toContain('tiny');
    expect(error.hint).toContain('BYPASSRLS');
    expect(await databasesLike(postgres, `${database}%`)).toEqual([database]);
  });

  it('is refused at once where it is a member that inherits nothing, and so could not even rename', async () => {
    const { postgres } = ground();
    await postgres.psql(
      'postgres',
      "CREATE ROLE distant LOGIN CREATEDB NOINHERIT PASSWORD 'd'; GRANT app_owner TO distant",
    );
    const stage = await backedUp(await ownersDatabase());
    const end = await stage.run(['restore', 'latest', '--json'], {
      DB_USER: 'distant',
      DB_PASSWORD: 'd',
      DB_NAME: newName(),
    });
    expect((end.json() as FailureJson).error).toMatchObject({ code: 'DB_RIGHTS' });
    expect(await databasesLike(postgres, '%\\_restoring\\_%')).toEqual([]);
  });
});
