import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Stage, useGround, type FailureJson } from './backup-fixture.ts';
import { databasesLike, execute, halfMade, TINY_SQL, type RestoreJson } from './restore-fixture.ts';

const ground = useGround();
const TINY = 'tiny';
let targets = 0;

beforeAll(async () => {
  const { postgres } = ground();
  await postgres.createDatabase(TINY);
  await postgres.psql(TINY, TINY_SQL);
});

type Overrides = Record<string, string | undefined>;
const localOnly = { S3_BUCKET: undefined };

function newTarget(): string {
  targets += 1;
  return `from_source_${targets}`;
}

async function restored(
  stage: Stage,
  args: readonly string[],
  env: Overrides = {},
): Promise<RestoreJson & { printed: string }> {
  const target = newTarget();
  const end = await stage.run(['restore', ...args, '--json'], { DB_NAME: target, ...env });
  expect(end.printed).toContain('✅ Restore completed successfully');
  return { ...(end.json() as RestoreJson), printed: end.printed };
}

/** It must fail, and make no database. */
async function refused(
  stage: Stage,
  args: readonly string[],
  env: Overrides = {},
): Promise<FailureJson['error']> {
  const target = newTarget();
  const end = await stage.run(['restore', ...args, '--json'], { DB_NAME: target, ...env });
  const { error } = end.json() as FailureJson;
  expect(end.status).toBe(error.exitStatus);
  expect(await databasesLike(ground().postgres, `${target}%`)).toEqual([]);
  expect(await halfMade(ground().postgres)).toEqual([]);
  return error;
}

async function dumpOf(database: string, command: string): Promise<Buffer> {
  return await execute(command, { ...ground().postgres.env, DB_NAME: database });
}

function put(stage: Stage, name: string, bytes: Buffer | string): string {
  mkdirSync(stage.dir, { recursive: true });
  const file = path.join(stage.dir, name);
  writeFileSync(file, bytes);
  return file;
}

describe('a dump without a manifest', () => {
  it.each(['pg_dump --inserts', 'pg_dump --schema-only', 'pg_dump -Fc -Z0 --inserts'])(
    'is not called verified when it tells no rows: %s',
    async (command) => {
      const stage = await Stage.set(ground(), localOnly);
      const file = put(stage, 'old.sql', await dumpOf(TINY, command));
      const { printed, tables, rows, warnings } = await restored(stage, [file]);
      expect({ tables, rows }).toEqual({ tables: null, rows: null });
      expect(printed).not.toContain('Rows verified');
      expect(warnings.join('\n')).toMatch(/no COPY data that could be counted.*rows are not compared/);
    },
  );

  it.each(['pg_dump --load-via-partition-root', 'pg_dump -Fc -Z0 --load-via-partition-root', 'pg_dump'])(
    'restores partitions, loaded through their root or not: %s',
    async (command) => {
      const { postgres } = ground();
      const source = newTarget();
      await postgres.createDatabase(source);
      await postgres.psql(
        source,
        `CREATE TABLE events (at date, v int) PARTITION BY RANGE (at);
         CREATE TABLE e25 PARTITION OF events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
         CREATE TABLE e26 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
         INSERT INTO events SELECT '2025-06-01'::date + (i % 500), i FROM generate_series(1, 1000) i`,
      );
      const stage = await Stage.set(ground(), localOnly);
      const result = await restored(stage, [put(stage, 'old.sql', await dumpOf(source, command))]);
      expect(result).toMatchObject({ rows: 1000 });
    },
  );

  it('restores a table that is loaded through its root in part only', async () => {
    const stage = await Stage.set(ground(), localOnly);
    const file = put(
      stage,
      'old.sql',
      handMade(
        `CREATE TABLE public.p (a int) PARTITION BY LIST (a);
         CREATE TABLE public.p1 PARTITION OF public.p FOR VALUES IN (1);
         CREATE TABLE public.p2 PARTITION OF public.p FOR VALUES IN (2);`,
        'COPY public.p (a) FROM stdin;\n1\n1\n\\.\nCOPY public.p2 (a) FROM stdin;\n2\n\\.\n',
      ),
    );
    expect(await restored(stage, [file])).toMatchObject({ tables: 2, rows: 3 });
  });

  it('restores an extension’s table, which the extension fills too', async () => {
    const stage = await Stage.set(ground(), localOnly);
    const file = put(
      stage,
      'old.sql',
      handMade(
        `CREATE EXTENSION hstore; CREATE TABLE public.units (a int); INSERT INTO public.units VALUES (1), (2);
         ALTER EXTENSION hstore ADD TABLE public.units;`,
        'COPY public.units (a) FROM stdin;\n3\n\\.\n',
      ),
    );
    expect(await restored(stage, [file])).toMatchObject({ tables: 1 });
  });

  it('runs no program on this host, whatever is written into it', async () => {
    const stage = await Stage.set(ground(), localOnly);
    const touched = path.join(stage.dir, 'touched');
    const file = put(stage, 'old.sql', handMade(`\\! touch ${touched}`, ''));
    expect(await refused(stage, [file])).toMatchObject({
      code: 'RESTORE_REFUSED',
      message: expect.stringContaining(`! touch ${touched}`) as string,
    });
    expect(existsSync(touched)).toBe(false);
  });
});

function handMade(...sql: string[]): string {
  const dump = ['--', '-- PostgreSQL database dump', '--', '', ...sql];
  return [...dump, '--', '-- PostgreSQL database dump complete', '--', ''].join('\n');
}
