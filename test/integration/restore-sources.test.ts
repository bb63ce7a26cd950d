import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
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

/** psql commands, alone on their lines, where our reader of dumps sees a string. */
function smuggle(...commands: string[]): string[] {
  return ['SET standard_conforming_strings = off;', `SELECT '\\'';`, ...commands, `--';`];
}

const program = (file: string): string => `\\! touch ${file}`;

describe('a dump that hides what it is', () => {
  it.each<[how: string, lines: (file: string) => string[], said: string]>([
    [
      'in a string that ends elsewhere for psql',
      (file) => smuggle(program(file)),
      'psql:<stdin>:8: error: backslash commands are restricted',
    ],
    [
      'behind a NUL byte, which ends the line for psql',
      (file) => [`SELECT 'a -- \0'`, `';`, program(file), `--';`],
      'error: backslash commands are restricted',
    ],
    [
      'behind an end of its own restriction',
      (file) => smuggle('\\unrestrict key', program(file)),
      'psql:<stdin>:8: error: \\unrestrict: wrong key',
    ],
  ])('runs no program on this host either: %s', async (_, lines, said) => {
    const stage = await Stage.set(ground(), localOnly);
    const touched = path.join(stage.dir, 'touched');
    const dump = handMade('\\restrict key', ...lines(touched), '', '\\unrestrict key', '');
    const error = await refused(stage, [put(stage, 'old.sql', dump)]);
    expect(error).toMatchObject({
      code: 'RESTORE_FAILED',
      message: expect.stringContaining(said) as string,
    });
    expect(existsSync(touched)).toBe(false);
  });
});

/** Of the same size as before. */
function flip(file: string): void {
  const bytes = readFileSync(file);
  bytes[bytes.length >> 1]! ^= 4;
  writeFileSync(file, bytes);
}

interface BackedUp {
  readonly stage: Stage;
  readonly id: string;
  readonly file: string;
}

async function backUp(env: Overrides = {}): Promise<BackedUp> {
  const stage = await Stage.set(ground(), { DB_NAME: TINY, ...env });
  return { stage, ...(await backUpAgain(stage)) };
}

async function backUpAgain(stage: Stage): Promise<{ id: string; file: string }> {
  const end = await stage.run(['backup', '--json']);
  expect(end.printed).toContain('completed successfully');
  const { id, file } = end.json() as { id: string; file: string };
  return { id, file };
}

/** As by a user who unpacks a dump, changes a line and packs it again. */
function edit(file: string): void {
  writeFileSync(file, gzipSync(gunzipSync(readFileSync(file)).toString('utf8').replace('\n7\n', '\n700\n')));
}

describe('latest', () => {
  it.each<[string, Overrides, string]>([
    ['refuses the key', { AWS_SECRET_ACCESS_KEY: 'wrong' }, 'S3_DENIED'],
    ['is away', { AWS_ENDPOINT_URL_S3: 'http://127.0.0.1:1', AWS_MAX_ATTEMPTS: '1' }, 'S3_UNAVAILABLE'],
  ])('is not an older backup here when S3, which may hold a newer one, %s', async (_, env, code) => {
    const { stage, id } = await backUp();
    const newer = await backUpAgain(stage);
    for (const suffix of ['manifest.json', 'globals.sql.gz'])
      rmSync(path.join(stage.dir, `${newer.id}.${suffix}`));
    rmSync(path.join(stage.dir, newer.file));
    const error = await refused(stage, ['latest'], env);
    expect(error.code).toBe(code);
    expect(error.message).toContain(`s3://${stage.bucket}/${stage.prefix}/`);
    expect(error.hint).toContain(`lifeboat restore ${id}`);
    expect(await restored(stage, [id], env)).toMatchObject({ id, rows: 10 });
  });

  it('asks for the version of Lifeboat that made it, and names the backup before it', async () => {
    const { stage, id } = await backUp(localOnly);
    const newer = await backUpAgain(stage);
    const manifest = path.join(stage.dir, `${newer.id}.manifest.json`);
    const content = JSON.parse(readFileSync(manifest, 'utf8')) as object;
    writeFileSync(manifest, JSON.stringify({ ...content, schemaVersion: 99 }));
    const error = await refused(stage, ['latest']);
    expect(error).toMatchObject({ code: 'MANIFEST_NEWER', exitStatus: 3 });
    expect(error.hint).toMatch(new RegExp(`install that version.*lifeboat restore ${id}$`));
  });
});

describe('a file that was named', () => {
  it.each(['by a path elsewhere', 'by its path in BACKUP_DIR', 'by its name', 'by a URL'])(
    'is never replaced by another copy when it is not what was backed up: %s',
    async (how) => {
      const { stage, id, file } = await backUp();
      const here = path.join(stage.dir, file);
      const elsewhere = path.join(stage.dir, 'elsewhere', file);
      mkdirSync(path.dirname(elsewhere));
      copyFileSync(here, elsewhere);
      if (how === 'by its name') flip(here);
      else edit(how === 'by a path elsewhere' ? elsewhere : here);
      if (how === 'by a URL') {
        await stage.put(file, readFileSync(here));
        copyFileSync(elsewhere, here);
      }
      const sources: Record<string, string> = {
        'by a path elsewhere': elsewhere,
        'by its path in BACKUP_DIR': here,
        'by its name': file,
        'by a URL': `s3://${stage.bucket}/${stage.prefix}/${file}`,
      };
      const error = await refused(stage, [sources[how]!]);
      expect(error).toMatchObject({ code: 'CORRUPT', exitStatus: 7 });
      expect(error.hint).toContain(`lifeboat restore ${id}`);
      expect(await restored(stage, [id])).toMatchObject({ rows: 10 });
    },
  );

  it('needs no S3 when its manifest lies beside it', async () => {
    const { stage, id, file } = await backUp();
    const asked = stage.requests().length;
    for (const source of [path.join(stage.dir, file), path.join(stage.dir, `${id}.manifest.json`)]) {
      const result = await restored(stage, [source, '--globals']);
      expect(result).toMatchObject({ id, rows: 10 });
      expect(result.printed).not.toContain('was left out');
    }
    expect(stage.requests().length).toBe(asked);
  });

  it('takes from the series’ places what does not lie beside it', async () => {
    const { stage, id, file } = await backUp();
    const elsewhere = path.join(stage.dir, 'elsewhere');
    mkdirSync(elsewhere);
    copyFileSync(path.join(stage.dir, file), path.join(elsewhere, file));
    const copied = path.join(elsewhere, file);
    expect(await restored(stage, [copied, '--globals'])).toMatchObject({ id, from: copied });
    const manifest = path.join(stage.dir, `${id}.manifest.json`);
    rmSync(path.join(stage.dir, file));
    const fromS3 = `s3://${stage.bucket}/${stage.prefix}/${file}`;
    expect(await restored(stage, [manifest])).toMatchObject({ id, from: fromS3 });
  });
});

function handMade(...sql: string[]): string {
  const dump = ['--', '-- PostgreSQL database dump', '--', '', ...sql];
  return [...dump, '--', '-- PostgreSQL database dump complete', '--', ''].join('\n');
}
