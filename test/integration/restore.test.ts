import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { runPsql } from '../../scripts/set-up/psql.ts';
import { seenTool, Stage, useGround, type FailureJson } from './backup-fixture.ts';
import { watchCommandLines } from './agent-process.ts';
import {
  databasesLike,
  execute,
  fingerprint,
  halfMade,
  SHOP_SQL,
  TINY_SQL,
  type RestoreJson,
} from './restore-fixture.ts';

const ground = useGround();
const SHOP = 'shop';
const LARGE_ROWS = 400_000;
let databases = 0;

beforeAll(async () => {
  const { postgres } = ground();
  await postgres.psql(
    'postgres',
    `CREATE ROLE app_owner; CREATE ROLE "read er" LOGIN PASSWORD 'x'; CREATE DATABASE ${SHOP} OWNER app_owner`,
  );
  await postgres.psql(SHOP, SHOP_SQL);
  await postgres.createDatabase('tiny');
  await postgres.psql('tiny', TINY_SQL);
});

type Overrides = Record<string, string | undefined>;

interface BackedUp {
  readonly stage: Stage;
  readonly id: string;
  readonly file: string;
}

const made = new Map<string, Promise<BackedUp>>();

/** Made once for each combination: no test here changes a backup. */
function backedUp(env: Overrides = {}): Promise<BackedUp> {
  const key = JSON.stringify(env);
  const found = made.get(key) ?? backUp(env);
  made.set(key, found);
  return found;
}

async function backUp(env: Overrides): Promise<BackedUp> {
  const stage = await Stage.set(ground(), { DB_NAME: SHOP, ...env });
  const end = await stage.run(['backup', '--json']);
  expect(end.printed).toContain('completed successfully');
  const { id, file } = end.json() as { id: string; file: string };
  return { stage, id, file };
}

function newName(): string {
  databases += 1;
  return `restored_${databases}`;
}

async function restored(stage: Stage, args: readonly string[], env: Overrides = {}): Promise<RestoreJson> {
  const end = await stage.run(['restore', ...args, '--json'], env);
  expect(end.printed).toContain('✅ Restore completed successfully');
  expect(end.status).toBe(0);
  return end.json() as RestoreJson;
}

async function refused(
  stage: Stage,
  args: readonly string[],
  env: Overrides = {},
): Promise<FailureJson['error']> {
  const end = await stage.run(['restore', ...args, '--json'], env);
  const { error } = end.json() as FailureJson;
  expect(end.status).toBe(error.exitStatus);
  expect(await halfMade(ground().postgres)).toEqual([]);
  expect(scratchIn(stage)).toEqual([]);
  return error;
}

function scratchIn(stage: Stage): string[] {
  return readdirSync(stage.dir).filter((name) => name.endsWith('.partial'));
}

describe('lifeboat restore', () => {
  it.each([
    ['plain', 'gzip'],
    ['plain', 'zstd'],
    ['custom', 'gzip'],
    ['custom', 'zstd'],
  ])('brings back from %s and %s every object, row and property', async (format, compression) => {
    const { postgres } = ground();
    const { stage } = await backedUp({ BACKUP_FORMAT: format, BACKUP_COMPRESSION: compression });
    const name = newName();
    const result = await restored(stage, ['latest'], { DB_NAME: name });
    expect(result).toMatchObject({ database: name, tables: 7, rows: 36_006, keptAs: null });
    expect(await fingerprint(postgres, name)).toBe(await fingerprint(postgres, SHOP));
    expect(scratchIn(stage)).toEqual([]);
  });

  it('says what it does in the lines of the user’s guide', async () => {
    const { stage, id } = await backedUp();
    const name = newName();
    const end = await stage.run(['restore', 'latest', '--to-database', name]);
    expect(end.stdout.replaceAll(/^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\] /gm, '').split('\n')).toEqual([
      'Checking prerequisites...',
      `⚠️  ${name} gets the owner (app_owner), grants and settings that shop had.`,
      '✅ Prerequisites OK',
      '✅ Backup verified',
      `Restoring ${id} into "${name}"...`,
      '✅ Rows verified: 7 tables, 36,006 rows',
      '✅ Restore completed successfully',
      expect.stringMatching(/^Recovery time \(RTO\): \d.*s$/),
      `Queries may be slow until PostgreSQL has new statistics; now: vacuumdb --analyze-in-stages --dbname=${name}`,
      '',
    ]);
    expect(end.stderr).toBe('');
    expect(end.leftRunning).toEqual([]);
  });

  it('restores what an id, a path, a name in BACKUP_DIR, a manifest’s path and an S3 URL mean', async () => {
    const { stage, id, file } = await backedUp();
    const sources = [id, path.join(stage.dir, file), file, path.join(stage.dir, `${id}.manifest.json`)];
    for (const source of sources) {
      expect(await restored(stage, [source, '--to-database', newName()])).toMatchObject({
        id,
        from: path.join(stage.dir, file),
      });
    }
    const url = `s3://${stage.bucket}/${stage.prefix}/${file}`;
    expect(await restored(stage, [url, '--to-database', newName()])).toMatchObject({ id, from: url });
  });

  it('downloads from S3 where no copy lies here, in checked parts, and leaves no file behind', async () => {
    const large = 'large';
    const { postgres } = ground();
    await postgres.createDatabase(large);
    await postgres.psql(
      large,
      `CREATE TABLE noise AS SELECT n, encode(sha256(n::text::bytea), 'hex') AS t FROM generate_series(1, ${LARGE_ROWS}) n`,
    );
    const { stage } = await backedUp({ DB_NAME: large, APP_NAME: 'large' });
    const elsewhere = `${stage.dir}-new-host`;
    const name = newName();
    const result = await restored(stage, ['latest'], { DB_NAME: name, BACKUP_DIR: elsewhere });
    expect(result.from).toMatch(/^s3:/);
    expect(result.rows).toBe(LARGE_ROWS);
    expect(readdirSync(elsewhere).filter((entry) => !entry.startsWith('.'))).toEqual(['restore-rates.json']);
    expect(stage.requests().filter(({ action }) => action === 'GetObject').length).toBeGreaterThanOrEqual(3);
  });

  it('restores into a database that is empty, and leaves nothing beside it', async () => {
    const { postgres } = ground();
    const { stage } = await backedUp();
    const name = newName();
    await postgres.createDatabase(name);
    await restored(stage, ['latest', '--to-database', name]);
    expect(await fingerprint(postgres, name)).toBe(await fingerprint(postgres, SHOP));
    expect(await databasesLike(postgres, `${name}%`)).toEqual([name]);
  });

  it('grants again what was granted on the schema public of the empty database', async () => {
    const { postgres } = ground();
    const { stage } = await backedUp();
    const name = newName();
    await postgres.createDatabase(name);
    await postgres.psql(name, `CREATE ROLE ${name}; GRANT ALL ON SCHEMA public TO ${name} WITH GRANT OPTION`);
    const { rows } = await restored(stage, ['latest', '--to-database', name]);
    expect(rows).toBeGreaterThan(0);
    const acl = "SELECT nspacl::text FROM pg_namespace WHERE nspname = 'public'";
    expect(await postgres.psql(name, acl)).toContain(`${name}=U*C*/`);
  });

  it('refuses a database that holds data, and changes nothing there', async () => {
    const { postgres } = ground();
    const { stage } = await backedUp();
    for (const sql of [
      'CREATE TABLE t ()',
      'SELECT lo_create(1)',
      'CREATE TYPE mood AS ENUM ()',
      'CREATE SCHEMA s',
      'CREATE EXTENSION hstore',
    ]) {
      const name = newName();
      await postgres.createDatabase(name);
      await postgres.psql(name, sql);
      const error = await refused(stage, ['latest', '--to-database', name]);
      expect(error).toMatchObject({ code: 'TARGET_NOT_EMPTY', exitStatus: 3 });
      expect(error.hint).toContain('--replace');
      expect(await databasesLike(postgres, `${name}%`)).toEqual([name]);
    }
  });

  it('replaces with --replace, and keeps the old database whole under a name that says when', async () => {
    const { postgres } = ground();
    const { stage } = await backedUp();
    const name = newName();
    await postgres.createDatabase(name);
    await postgres.psql(name, 'CREATE TABLE precious AS SELECT 42 AS answer');
    const { keptAs } = await restored(stage, ['latest', '--to-database', name, '--replace']);
    expect(keptAs).toMatch(new RegExp(`^${name}_before_\\d{14}$`));
    expect(await postgres.psql(keptAs!, 'SELECT answer FROM precious')).toBe('42');
    expect(await fingerprint(postgres, name)).toBe(await fingerprint(postgres, SHOP));
  });

  it('prints with --dry-run the plan that the real run executes, and changes nothing', async () => {
    const { postgres } = ground();
    const { stage, file } = await backedUp();
    const name = newName();
    const before = await databasesLike(postgres, '%');
    const text = await stage.run(['restore', 'latest', '--to-database', name, '--dry-run']);
    expect(text.stdout).toContain(`from  ${path.join(stage.dir, file)}`);
    expect(text.stdout).toContain(`or    s3://${stage.bucket}/${stage.prefix}/${file}`);
    expect(text.stdout).toMatch(
      /CREATE DATABASE "restored_\d+_restoring_\d{14}" TEMPLATE template0 ENCODING 'UTF8'/,
    );
    expect(text.stdout).toContain('Nothing was changed (--dry-run).');
    expect(text.stdout.match(/gets the owner/g)).toHaveLength(1);
    const plan = (
      await stage.run(['restore', 'latest', '--to-database', name, '--dry-run', '--json'])
    ).json();
    expect(plan).toMatchObject({ operation: 'restore', succeeded: true, dryRun: true });
    expect(plan).toMatchObject({ target: name, action: 'create', fetchBytes: 0, backup: { rows: 36_006 } });
    expect(await databasesLike(postgres, '%')).toEqual(before);
  });

  it.each([
    ['plain', ['with space', 'quo"te', '$(touch x)', 'ünïcødé 🐘', '-x']],
    ['custom', ["apo'strophe", '..', 'back\\slash', 'dbname=x', 'postgresql://x']],
  ])('takes any name for a database, from %s', async (format, names) => {
    const { postgres } = ground();
    const { stage } = await backedUp({ DB_NAME: 'tiny', APP_NAME: 'tiny', BACKUP_FORMAT: format });
    for (const name of names) {
      await restored(stage, ['latest'], { DB_NAME: name });
      const { keptAs } = await restored(stage, ['latest', '--replace'], { DB_NAME: name });
      expect(await databasesLike(postgres, '%')).toEqual(expect.arrayContaining([name, keptAs]));
      expect(keptAs).toMatch(/_before_\d{14}$/);
    }
  });

  it('cuts a name of 63 bytes without losing the time', async () => {
    const { postgres } = ground();
    const { stage } = await backedUp();
    const name = 'ü'.repeat(31);
    await restored(stage, ['latest'], { DB_NAME: name });
    const { keptAs } = await restored(stage, ['latest', '--replace'], { DB_NAME: name });
    expect(keptAs).toMatch(/^ü+_before_\d{14}$/);
    expect(await databasesLike(postgres, 'ü%')).toEqual(expect.arrayContaining([name, keptAs]));
  });

  it('never shows the password to other users of the host', async () => {
    const { stage } = await backedUp({ BACKUP_FORMAT: 'custom' });
    const { folder, isCall, see } = seenTool(ground(), 'pg_restore');
    const agent = stage.start(['restore', 'latest', '--to-database', newName()], { PG_BIN_DIR: folder });
    const lines = await watchCommandLines(agent.pid, agent.ended, see);
    const end = await agent.ended;
    expect(end.status).toBe(0);
    expect([...lines].filter(isCall)).not.toEqual([]);
    for (const secret of [ground().postgres.password, ground().s3.credentials.secretAccessKey]) {
      expect([...lines].join('\n')).not.toContain(secret);
      expect(end.printed).not.toContain(secret);
    }
  });
});

describe('lifeboat restore --globals', () => {
  it('creates missing roles with their passwords, and changes none that exists', async () => {
    const { postgres } = ground();
    await postgres.createDatabase('roles_db');
    await postgres.psql(
      'roles_db',
      `
      CREATE ROLE late_owner LOGIN PASSWORD 'late'; CREATE ROLE stays LOGIN PASSWORD 'old-password'; GRANT late_owner TO stays;
      CREATE TABLE t (); ALTER TABLE t OWNER TO late_owner; GRANT SELECT ON t TO stays`,
    );
    const { stage } = await backedUp({ DB_NAME: 'roles_db', APP_NAME: 'roles' });
    await postgres.psql(
      'roles_db',
      `DROP TABLE t; DROP ROLE late_owner; ALTER ROLE stays PASSWORD 'new-password'`,
    );
    const name = newName();

    const error = await refused(stage, ['latest', '--to-database', name]);
    expect(error.code).toBe('RESTORE_REFUSED');
    expect(error.message).toMatch(/missing: late_owner$/);
    expect(error.hint).toContain('--globals');

    const plan = (
      await stage.run(['restore', 'latest', '--to-database', name, '--globals', '--dry-run', '--json'])
    ).json();
    expect(plan).toMatchObject({ globals: { created: ['late_owner'] } });
    expect(JSON.stringify(plan)).not.toContain('SCRAM');

    const result = await restored(stage, ['latest', '--to-database', name, '--globals']);
    expect(result.warnings.join()).toMatch(/left as they are, passwords included: .*stays/);
    expect(await postgres.psql(name, "SELECT tableowner FROM pg_tables WHERE tablename = 't'")).toBe(
      'late_owner',
    );
    const login = (user: string, password: string): Promise<string> =>
      runPsql({ ...postgres.env, DB_USER: user, DB_PASSWORD: password }, 'postgres', 'SELECT current_user');
    expect(await login('late_owner', 'late')).toBe('late_owner');
    expect(await login('stays', 'new-password')).toBe('stays');
  });
});

describe('a dump of the user’s own scripts', () => {
  it.each([
    ['gzip -9 of pg_dump', 'sql.gz', `pg_dump | gzip -9`],
    ['plain SQL', 'sql', 'pg_dump'],
    ['zstd -T2 of pg_dump', 'sql.zst', 'pg_dump | zstd -q -T2'],
    ['gzip of pg_dump -Fc -Z0', 'dump.gz', 'pg_dump -Fc -Z0 | gzip -1'],
    ['a custom dump with a plain one’s name', 'sql.gz', 'pg_dump -Fc -Z0'],
    ['pg_dump --clean --if-exists', 'sql', 'pg_dump --clean --if-exists'],
  ])(
    'restores from %s, with every row checked and a warning of what could not be',
    async (_, suffix, command) => {
      const { postgres } = ground();
      const stage = await Stage.set(ground(), { DB_NAME: SHOP, S3_BUCKET: undefined });
      const file = await dumpByHand(stage, `old.${suffix}`, command);
      const name = newName();
      const result = await restored(stage, [file, '--to-database', name]);
      expect(result).toMatchObject({ rows: 36_006, tables: 7 });
      expect(result.warnings.join('\n')).toMatch(/has no manifest: its SHA-256 .* could not be checked/);
      expect(await fingerprint(postgres, name, { properties: false })).toBe(
        await fingerprint(postgres, SHOP, { properties: false }),
      );
    },
  );

  it('restores one that pg_dump compressed itself, and says that it could compare no rows', async () => {
    const { postgres } = ground();
    const stage = await Stage.set(ground(), { DB_NAME: SHOP, S3_BUCKET: undefined });
    const name = newName();
    const result = await restored(stage, [
      await dumpByHand(stage, 'old.dump', 'pg_dump -Fc'),
      '--to-database',
      name,
    ]);
    expect(result).toMatchObject({ rows: null, tables: null });
    expect(result.warnings.join('\n')).toMatch(/rows are not compared/);
    expect(await fingerprint(postgres, name, { properties: false })).toBe(
      await fingerprint(postgres, SHOP, { properties: false }),
    );
  });

  it('restores one from S3, and as latest where there is nothing better', async () => {
    const stage = await Stage.set(ground(), { DB_NAME: SHOP });
    const bytes = await execute('pg_dump | gzip', { ...ground().postgres.env, DB_NAME: SHOP });
    await stage.put('hostmaster_db_20250101_020000.sql.gz', bytes);
    const url = `s3://${stage.bucket}/${stage.prefix}/hostmaster_db_20250101_020000.sql.gz`;
    expect(await restored(stage, [url, '--to-database', newName()])).toMatchObject({
      from: url,
      rows: 36_006,
    });
    expect(await restored(stage, ['latest', '--to-database', newName()])).toMatchObject({ from: url });
    const plan = await stage.run(['restore', url, '--to-database', newName(), '--dry-run']);
    expect(plan.stdout).toMatch(/this plan knows its name and size alone/);
  });

  it.each([
    ['pg_dump --create', 'pg_dump --create', /pg_dump --create/],
    ['pg_dump --create --clean', 'pg_dump --create --clean', /pg_dump --create/],
    ['pg_dumpall', 'pg_dumpall --schema-only', /whole cluster/],
  ])('is refused when it would drop or enter databases by itself: %s', async (_, command, message) => {
    const { postgres } = ground();
    const stage = await Stage.set(ground(), { DB_NAME: SHOP, S3_BUCKET: undefined });
    const before = await databasesLike(postgres, '%');
    const error = await refused(stage, [
      await dumpByHand(stage, 'own.sql', command),
      '--to-database',
      newName(),
    ]);
    expect(error).toMatchObject({
      code: 'RESTORE_REFUSED',
      message: expect.stringMatching(message) as string,
    });
    expect(await databasesLike(postgres, '%')).toEqual(before);
  });
});

async function dumpByHand(stage: Stage, name: string, command: string): Promise<string> {
  mkdirSync(stage.dir, { recursive: true });
  const file = path.join(stage.dir, name);
  writeFileSync(file, await execute(command, { ...ground().postgres.env, DB_NAME: SHOP }));
  return file;
}
