import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import type { Manifest } from '../../lib/domain/backup/manifest.ts';
import { Stage, useGround, type FailureJson } from './backup-fixture.ts';
import { databasesLike, execute, halfMade, TINY_SQL, type RestoreJson } from './restore-fixture.ts';

const ground = useGround({
  settings: { max_prepared_transactions: '5', wal_level: 'logical', max_connections: '40' },
});
const SOURCE = 'tiny';
let targets = 0;

beforeAll(async () => {
  const { postgres } = ground();
  await postgres.createDatabase(SOURCE);
  await postgres.psql(SOURCE, TINY_SQL);
});

type Overrides = Record<string, string | undefined>;

interface Scene {
  readonly stage: Stage;
  readonly id: string;
  readonly file: string;
  /** A database with a table `precious`, to restore over. */
  readonly target: string;
}

async function setScene(env: Overrides = {}): Promise<Scene> {
  const stage = await Stage.set(ground(), { DB_NAME: SOURCE, ...env });
  const end = await stage.run(['backup', '--json']);
  const { id, file } = end.json() as { id: string; file: string };
  return { stage, id, file, target: await preciousDatabase() };
}

async function preciousDatabase(): Promise<string> {
  const { postgres } = ground();
  targets += 1;
  const target = `target_${targets}`;
  await postgres.createDatabase(target);
  await postgres.psql(target, 'CREATE TABLE precious AS SELECT 42 AS answer');
  return target;
}

const localOnly = { S3_BUCKET: undefined };

/** The restore must fail, and leave the target as it was and nothing else behind. */
async function fails(
  { stage, target }: { stage: Stage; target: string },
  args: readonly string[],
  env: Overrides = {},
): Promise<FailureJson['error'] & { printed: string }> {
  const end = await stage.run(['restore', ...args, '--json'], { DB_NAME: target, ...env });
  const { error } = end.json() as FailureJson;
  expect(end.printed).not.toContain('✅ Restore completed');
  expect(end.status).toBe(error.exitStatus);
  expect(end.leftRunning).toEqual([]);
  await nothingHappened(stage, target);
  return { ...error, printed: end.printed };
}

async function nothingHappened(stage: Stage, target: string): Promise<void> {
  const { postgres } = ground();
  expect(await postgres.psql(target, 'SELECT answer FROM precious')).toBe('42');
  expect(await databasesLike(postgres, `${target}%`)).toEqual([target]);
  expect(await halfMade(postgres)).toEqual([]);
  expect(readdirSync(stage.dir).filter((name) => name.endsWith('.partial'))).toEqual([]);
}

async function succeeds(
  { stage, target }: Scene,
  args: readonly string[],
  env: Overrides = {},
): Promise<RestoreJson & { printed: string }> {
  const end = await stage.run(['restore', ...args, '--replace', '--json'], { DB_NAME: target, ...env });
  expect(end.printed).toContain('✅ Restore completed successfully');
  expect(await ground().postgres.psql(target, 'SELECT count(*) FROM tiny')).toBe('10');
  return { ...(end.json() as RestoreJson), printed: end.printed };
}

function flip(file: string): void {
  const bytes = readFileSync(file);
  bytes[bytes.length >> 1]! ^= 4;
  writeFileSync(file, bytes);
}

function editManifest({ stage, id }: Scene, edit: (manifest: Manifest) => unknown): void {
  const file = path.join(stage.dir, `${id}.manifest.json`);
  const manifest = JSON.parse(readFileSync(file, 'utf8')) as Manifest;
  writeFileSync(file, JSON.stringify(edit(manifest) ?? manifest));
}

describe('a damaged backup', () => {
  const damages: [string, (file: string) => void][] = [
    ['truncated', (file) => truncateSync(file, 200)],
    ['bit-flipped', flip],
    ['emptied', (file) => truncateSync(file, 0)],
    ['overwritten with another format', (file) => writeFileSync(file, gzipSync('<html>'))],
    ['gone', (file) => rmSync(file)],
  ];

  it.each(damages)('is found out before anything is touched: %s', async (_, damage) => {
    const scene = await setScene(localOnly);
    damage(path.join(scene.stage.dir, scene.file));
    expect(await fails(scene, [scene.id, '--replace'])).toMatchObject({ code: 'CORRUPT', exitStatus: 7 });
  });

  it.each(damages)('is replaced by the copy in S3, and said so: %s', async (_, damage) => {
    const scene = await setScene();
    damage(path.join(scene.stage.dir, scene.file));
    const { from } = await succeeds(scene, ['latest']);
    expect(from).toMatch(/^s3:/);
  });

  it('is found out when only its globals are damaged and they are wanted', async () => {
    const scene = await setScene(localOnly);
    flip(path.join(scene.stage.dir, `${scene.id}.globals.sql.gz`));
    expect(await fails(scene, [scene.id, '--replace', '--globals'])).toMatchObject({ code: 'CORRUPT' });
    await succeeds(scene, [scene.id]);
  });

  it('never makes latest mean an older one without being told', async () => {
    const scene = await setScene(localOnly);
    const newer = await scene.stage.run(['backup', '--json']);
    truncateSync(path.join(scene.stage.dir, (newer.json() as { file: string }).file), 100);
    const error = await fails(scene, ['latest', '--replace']);
    expect(error).toMatchObject({
      code: 'CORRUPT',
      message: expect.stringContaining('cannot be used') as string,
    });
    expect(error.hint).toContain(`lifeboat restore ${scene.id}`);
  });

  it('is found out in S3 by its checksum, when a bit was flipped on its way every time', async () => {
    const scene = await setScene();
    rmSync(path.join(scene.stage.dir, scene.file));
    ground().s3.faults.add({
      action: 'GetObject',
      key: `*${scene.file}`,
      times: 'always',
      effect: { kind: 'flip-response', offset: 100 },
    });
    expect(await fails(scene, [scene.id, '--replace'])).toMatchObject({ code: 'CORRUPT' });
  });
});

describe('a manifest', () => {
  it.each<[string, (manifest: Manifest) => unknown, string]>([
    ['from a newer version', (manifest) => ({ ...manifest, schemaVersion: 99 }), 'MANIFEST_NEWER'],
    ['of another backup', (manifest) => ({ ...manifest, id: 'hostmaster_db_20200101_000000' }), 'CORRUPT'],
    ['that is none', () => [], 'CORRUPT'],
    [
      'with other frames than the file has',
      (manifest) => ({ ...manifest, dump: { ...manifest.dump, rawSize: 5 } }),
      'CORRUPT',
    ],
    [
      'with an extension that is not installed',
      (manifest) => ({ ...manifest, extensions: [{ name: 'nowhere', version: '1', schema: 'public' }] }),
      'RESTORE_REFUSED',
    ],
    [
      'with a role that is not here',
      (manifest) => ({ ...manifest, roles: ['nobody here'] }),
      'RESTORE_REFUSED',
    ],
    [
      'of a newer PostgreSQL',
      (manifest) => ({ ...manifest, server: { ...manifest.server, versionNumber: 170_000 } }),
      'RESTORE_REFUSED',
    ],
    [
      'that counted other rows',
      (manifest) => ({ ...manifest, tables: manifest.tables.map((table) => ({ ...table, rows: 11 })) }),
      'ROWS_DIFFER',
    ],
    [
      'with a locale that the server’s host has not',
      (manifest) => ({ ...manifest, database: { ...manifest.database, collate: 'tlh_KX.UTF-8' } }),
      'RESTORE_FAILED',
    ],
  ])('%s stops the restore, and nothing is changed', async (_, edit, code) => {
    const scene = await setScene(localOnly);
    editManifest(scene, edit);
    expect(await fails(scene, [scene.id, '--replace'])).toMatchObject({ code });
  });

  it('that is damaged here is read from S3', async () => {
    const scene = await setScene();
    writeFileSync(path.join(scene.stage.dir, `${scene.id}.manifest.json`), 'x');
    await succeeds(scene, [scene.id]);
  });

  it('of a file by another name is not taken for this one’s', async () => {
    const scene = await setScene(localOnly);
    const other = scene.file.replace('.sql.gz', '.sql.zst');
    renameSync(path.join(scene.stage.dir, scene.file), path.join(scene.stage.dir, other));
    expect(await fails(scene, [path.join(scene.stage.dir, other), '--replace'])).toMatchObject({
      code: 'CORRUPT',
    });
  });
});

describe('a dump that PostgreSQL refuses', () => {
  it.each(['plain', 'custom'])('ends at its first error, with what and where, from %s', async (format) => {
    const { postgres } = ground();
    const stage = await Stage.set(ground(), { DB_NAME: SOURCE, ...localOnly });
    const target = await preciousDatabase();
    await postgres.psql(
      SOURCE,
      'CREATE TABLE needs_it (a int); CREATE FUNCTION one() RETURNS int IMMUTABLE LANGUAGE sql AS $$ SELECT n FROM public.tiny LIMIT 1 $$; CREATE INDEX ON needs_it ((a / (one() - 1))); INSERT INTO needs_it SELECT 1 WHERE false',
    );
    mkdirSync(stage.dir, { recursive: true });
    const file = path.join(stage.dir, 'bad');
    try {
      const dump = await execute(format === 'plain' ? 'pg_dump' : 'pg_dump -Fc -Z0', {
        ...postgres.env,
        DB_NAME: SOURCE,
      });
      // A function that is not there any more when the index wants it.
      writeFileSync(
        file,
        Buffer.from(dump.toString('latin1').replaceAll('IMMUTABLE', 'VOLATILE '), 'latin1'),
      );
    } finally {
      await postgres.psql(SOURCE, 'DROP TABLE needs_it; DROP FUNCTION one');
    }
    const error = await fails({ stage, target }, [file, '--replace']);
    expect(error).toMatchObject({ code: 'RESTORE_FAILED', exitStatus: 4 });
    expect(error.message).toMatch(/functions in index expression must be marked IMMUTABLE/);
    if (format === 'plain') expect(error.message).toMatch(/<stdin>:\d+:/);
  });
});

describe('a source that is not there', () => {
  it.each([
    ['hostmaster_db_20200101_000000', 'BACKUP_NOT_FOUND', 3],
    ['/nowhere/x.sql.gz', 'BACKUP_NOT_FOUND', 3],
    ['s3://nowhere-bucket/x.sql.gz', 'S3_NO_BUCKET', 5],
    ['/tmp', 'CORRUPT', 7],
    ['nonsense', 'USAGE', 2],
  ])('%s: %s', async (source, code, exitStatus) => {
    const stage = await Stage.set(ground(), { DB_NAME: SOURCE });
    const target = await preciousDatabase();
    mkdirSync(stage.dir, { recursive: true });
    expect(await fails({ stage, target }, [source])).toMatchObject({ code, exitStatus });
  });

  it('is told for latest, with where was looked', async () => {
    const stage = await Stage.set(ground(), { DB_NAME: SOURCE });
    const target = await preciousDatabase();
    const error = await fails({ stage, target }, ['latest']);
    expect(error).toMatchObject({ code: 'BACKUP_NOT_FOUND' });
    expect(error.message).toContain(`s3://${stage.bucket}/${stage.prefix}/`);
  });
});

describe('S3', () => {
  it('may be away for ever: what lies here still restores, and it is said', async () => {
    const scene = await setScene();
    const { printed } = await succeeds(scene, [scene.id], {
      AWS_ENDPOINT_URL_S3: 'http://127.0.0.1:1',
      AWS_MAX_ATTEMPTS: '1',
    });
    expect(printed).toMatch(/s3:.* was left out/);
  });

  it('may answer 503 for a while, and cut connections midway', async () => {
    const scene = await setScene();
    rmSync(scene.stage.dir, { recursive: true });
    mkdirSync(scene.stage.dir);
    const { faults } = ground().s3;
    faults.add({ action: 'GetObject', times: 2, effect: { kind: 'error', status: 503, code: 'SlowDown' } });
    faults.add({
      action: 'GetObject',
      key: `*${scene.file}`,
      times: 1,
      effect: { kind: 'cut-response', afterBytes: 50 },
    });
    expect((await succeeds(scene, ['latest'])).from).toMatch(/^s3:/);
  });
});

describe('a target that cannot be replaced', () => {
  it('is refused by name for prepared transactions, logical slots in use and subscriptions', async () => {
    const { postgres } = ground();
    const scene = await setScene(localOnly);
    await postgres.psql(
      scene.target,
      "BEGIN; INSERT INTO precious VALUES (42); PREPARE TRANSACTION 'tx-4711'",
    );
    expect((await fails(scene, [scene.id, '--replace'])).message).toContain('tx-4711');
    await postgres.psql(scene.target, "ROLLBACK PREPARED 'tx-4711'");
    await postgres.psql(
      scene.target,
      `CREATE SUBSCRIPTION sub_4711 CONNECTION 'dbname=x' PUBLICATION p WITH (connect = false)`,
    );
    expect((await fails(scene, [scene.id, '--replace'])).message).toContain('sub_4711');
    await postgres.psql(
      scene.target,
      'ALTER SUBSCRIPTION sub_4711 SET (slot_name = NONE); DROP SUBSCRIPTION sub_4711',
    );
    await postgres.psql(scene.target, "SELECT pg_create_logical_replication_slot('slot_4711', 'pgoutput')");
    expect((await succeeds(scene, [scene.id])).warnings.join()).toContain('slot_4711');
    await postgres.psql('postgres', "SELECT pg_drop_replication_slot('slot_4711')");
  });
});

describe('the server and its programs', () => {
  it('may refuse the password, be away, or be without psql: said before anything starts', async () => {
    const scene = await setScene(localOnly);
    expect(await fails(scene, [scene.id], { DB_PASSWORD: 'wrong' })).toMatchObject({
      code: 'DB_CONNECT',
      exitStatus: 4,
    });
    expect(await fails(scene, [scene.id], { DB_PORT: '1' })).toMatchObject({ code: 'DB_CONNECT' });
    const error = await fails(scene, [scene.id], { PG_BIN_DIR: '/nowhere' });
    // Together with the target that holds data: every problem at once.
    expect(error.problems?.map(({ code }) => code)).toEqual(['CLIENT_MISSING', 'TARGET_NOT_EMPTY']);
  });

  it('may give us a role without the right to create databases', async () => {
    const { postgres } = ground();
    await postgres.psql('postgres', "CREATE ROLE weak LOGIN PASSWORD 'w'");
    const scene = await setScene(localOnly);
    const error = await fails(scene, [scene.id, '--replace'], { DB_USER: 'weak', DB_PASSWORD: 'w' });
    expect(error.code).toBe('PREFLIGHT_FAILED');
    expect(error.message).toMatch(/may not create databases/);
    expect(error.message).toMatch(/may not rename/);
  });

  it('may serve a role that is no superuser, as long as it can do all that is needed', async () => {
    const { postgres } = ground();
    await postgres.psql(
      'postgres',
      "CREATE ROLE maker LOGIN CREATEDB PASSWORD 'm'; CREATE DATABASE makers OWNER maker",
    );
    await postgres.psql('makers', `SET ROLE maker; ${TINY_SQL}`);
    const stage = await Stage.set(ground(), { DB_NAME: 'makers', APP_NAME: 'makers', ...localOnly });
    await stage.run(['backup']);
    const env = { DB_USER: 'maker', DB_PASSWORD: 'm' };
    const end = await stage.run(['restore', 'latest', '--replace', '--json'], env);
    expect(end.printed).toContain('✅ Restore completed successfully');
    expect(await postgres.psql('makers', 'SELECT count(*) FROM tiny')).toBe('10');
  });

  it.each(['plain', 'custom'])(
    'may be older than the client, whose transaction_timeout it does not know: %s',
    async (format) => {
      const scene = await setScene({ ...localOnly, BACKUP_FORMAT: format });
      const bin = path.join(scene.stage.dir, 'client-17');
      mkdirSync(bin);
      const { binDir } = ground().postgres;
      for (const program of ['psql', 'pg_restore']) {
        const real = `'${path.join(binDir, program)}'`;
        const script = `#!/bin/bash
        [ "$1" = --version ] && { echo '${program} (PostgreSQL) 17.6'; exit; }
        [[ ${program} = pg_restore && "$*" != *--file=-* ]] && { echo 'error: unrecognized configuration parameter' >&2; exit 1; }
        [ ${program} = psql ] && exec ${real} "$@"
        ${real} "$@" | sed '0,/^SET lock_timeout = 0;/s//&\\nSET transaction_timeout = 0;/'; exit \${PIPESTATUS[0]}`;
        writeFileSync(path.join(bin, program), script, { mode: 0o755 });
      }
      await succeeds(scene, [scene.id], { PG_BIN_DIR: bin });

      const text = await execute('pg_dump', { ...ground().postgres.env, DB_NAME: SOURCE });
      const file = path.join(scene.stage.dir, 'by-17.sql');
      writeFileSync(
        file,
        text.toString().replace('SET lock_timeout = 0;', '$&\nSET transaction_timeout = 0;'),
      );
      await succeeds(scene, [file]);
    },
  );
});
