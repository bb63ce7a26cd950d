import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Manifest } from '../../lib/domain/backup/manifest.ts';
import { Stage, useGround, type FailureJson } from './backup-fixture.ts';
import { databasesLike, execute, SHOP_SQL, type RestoreJson } from './restore-fixture.ts';

const ground = useGround();
const SHOP = 'shop';
let targets = 0;

beforeAll(async () => {
  const { postgres } = ground();
  await postgres.psql('postgres', `CREATE ROLE app_owner; CREATE ROLE "read er"; CREATE DATABASE ${SHOP}`);
  await postgres.psql(SHOP, SHOP_SQL);
});

async function backUp(format: string): Promise<{ stage: Stage; id: string }> {
  const stage = await Stage.set(ground(), { DB_NAME: SHOP, S3_BUCKET: undefined, BACKUP_FORMAT: format });
  const end = await stage.run(['backup', '--json']);
  return { stage, id: (end.json() as { id: string }).id };
}

/** A copy of the whole database, to wreck. */
async function copyOfShop(): Promise<string> {
  targets += 1;
  const name = `copy_${targets}`;
  await ground().postgres.psql('postgres', `CREATE DATABASE ${name} TEMPLATE ${SHOP}`);
  return name;
}

function definitionOf(database: string, table: string): Promise<string> {
  return execute(`pg_dump --table='${table}'`, { ...ground().postgres.env, DB_NAME: database }).then((dump) =>
    dump.toString().replaceAll(/^\\(?:un)?restrict .*$/gm, ''),
  );
}

describe.each(['plain', 'custom'])('lifeboat restore --table from %s', (format) => {
  let stage: Stage;
  beforeAll(async () => {
    ({ stage } = await backUp(format));
  });

  async function restored(args: readonly string[]): Promise<RestoreJson> {
    const end = await stage.run(['restore', 'latest', '--json', ...args]);
    expect(end.printed).toContain('✅ Restore completed successfully');
    return end.json() as RestoreJson;
  }

  async function refused(args: readonly string[]): Promise<FailureJson['error']> {
    const end = await stage.run(['restore', 'latest', '--json', ...args]);
    expect((end.json() as FailureJson).succeeded).toBe(false);
    return (end.json() as FailureJson).error;
  }

  it('brings back a dropped table as it was, with all that belongs to it, and touches no other', async () => {
    const { postgres } = ground();
    const copy = await copyOfShop();
    await postgres.psql(copy, 'DROP TABLE users CASCADE; DROP TABLE events; INSERT INTO blank SELECT');
    const result = await restored(['--table', 'users,events', '--to-database', copy]);
    expect(result).toMatchObject({ tables: 3, rows: 30_000 });
    for (const table of ['users', 'events*'])
      expect(await definitionOf(copy, table)).toBe(await definitionOf(SHOP, table));
    expect(await postgres.psql(copy, 'SELECT count(*) FROM blank')).toBe('1001');
  });

  it('replaces a table with --replace only, and keeps the old one in another schema', async () => {
    const { postgres } = ground();
    const copy = await copyOfShop();
    await postgres.psql(
      copy,
      "DELETE FROM events WHERE v > 10; INSERT INTO events VALUES ('2026-05-05', -1)",
    );
    expect(await refused(['--table', 'events', '--to-database', copy])).toMatchObject({
      code: 'TARGET_NOT_EMPTY',
      exitStatus: 3,
    });
    expect(await postgres.psql(copy, 'SELECT count(*) FROM events')).toBe('11');
    await restored(['--table', 'events', '--to-database', copy, '--replace']);
    expect(await postgres.psql(copy, 'SELECT count(*) FROM events')).toBe('10000');
    const aside = await postgres.psql(
      copy,
      "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'before\\_%'",
    );
    expect(await postgres.psql(copy, `SELECT count(*) FROM ${aside}.events`)).toBe('11');
    expect(await postgres.psql(copy, `SELECT count(*) FROM ${aside}.events_2026`)).not.toBe('0');
  });

  it('restores a table of an awkward name into a database that it makes', async () => {
    const { postgres } = ground();
    const name = `made_${format}`;
    const table = '"odd; schema"."Order ""Items"""';
    const result = await restored(['--table', table, '--to-database', name]);
    expect(result.warnings.join('\n')).toContain('odd; schema.Order "Items" → public.users');
    expect(await postgres.psql(name, `SELECT count(*) FROM ${table}`)).toBe('5000');
  });

  it('changes nothing when it fails: a type that is not there, rows that differ', async () => {
    const { postgres } = ground();
    const name = `fails_${format}`;
    const error = await refused(['--table', 'users', '--to-database', name]);
    expect(error).toMatchObject({ code: 'RESTORE_FAILED', exitStatus: 4 });
    expect(error.message).toMatch(/hstore|mood/);
    expect(await databasesLike(postgres, name)).toEqual([]);

    const copy = await copyOfShop();
    await postgres.psql(copy, 'DROP TABLE blank');
    const file = path.join(
      stage.dir,
      stage.files().find((each) => each.endsWith('.manifest.json'))!,
    );
    const text = readFileSync(file, 'utf8');
    const manifest = JSON.parse(text) as Manifest;
    const tables = manifest.tables.map((table) => (table.name === 'blank' ? { ...table, rows: 999 } : table));
    writeFileSync(file, JSON.stringify({ ...manifest, tables }));
    const differs = await refused(['--table', 'blank', '--to-database', copy]);
    writeFileSync(file, text);
    expect(differs.message).toContain('public.blank: 999 rows in the backup, 1000 restored');
    expect(await postgres.psql(copy, "SELECT to_regclass('blank') IS NULL")).toBe('t');
  });

  it('prints its plan with --dry-run and leaves no file behind', async () => {
    const copy = await copyOfShop();
    const end = await stage.run([
      'restore',
      'latest',
      '--dry-run',
      '--table',
      'events',
      '--to-database',
      copy,
      '--replace',
    ]);
    expect(end.stdout).toMatch(/ALTER TABLE "public"\."events" SET SCHEMA "before_\d{14}"/);
    expect(end.stdout).toContain(
      'Restore "public"."events", "public"."events_2025", "public"."events_2026" with psql',
    );
    expect(end.stdout).toContain('Nothing was changed (--dry-run).');
    expect(stage.files().filter((name) => name.includes('.partial'))).toEqual([]);
    expect(
      await ground().postgres.psql(copy, "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'before%'"),
    ).toBe('0');
  });
});
