import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { reachableTempDir, serverUser } from '../../scripts/set-up/postgres-installation.ts';
import { createTablespace, type BaseBackupJson } from '../integration/base-backup-fixture.ts';
import { Stage, useGround } from '../integration/backup-fixture.ts';
import { postmasterOf } from '../integration/recovery-fixture.ts';
import {
  flushLsn,
  heldObjects,
  startStream,
  stopStream,
  untilHeld,
  WAL_SERVER,
} from '../integration/wal-fixture.ts';
import { readDocument, runnableBlocks } from './markdown.ts';

/** The runbook's commands for a recovery by hand, word for word but for names, time and folder, on what the agent made. */

const BLOCKS = runnableBlocks(readDocument('docs/runbook.md'));
const STEPS = ['fetch', 'check', 'unpack', 'wal', 'tablespaces', 'settings', 'start'].map(
  (step) => `recovery ${step}`,
);
const FOLDER_IN_DOCUMENT = '/var/tmp/recovery';
const user = serverUser();

const ground = useGround(WAL_SERVER);
const folders: string[] = [];
let stage: Stage;
let backup: BaseBackupJson;
let target: { time: string; contents: string };
/** What S3 held, as `aws s3 cp` finds it. */
let bucket: string;

const sql = (text: string): Promise<string> => ground().postgres.psql('postgres', text);
const now = (): Promise<string> =>
  sql(`SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')`);
/** Large enough for pieces and for whole segments, in both tablespaces and outside. */
const write = (count: number): Promise<string> =>
  sql(
    Array.from(
      { length: count },
      () =>
        `WITH mark AS (INSERT INTO marks (text) VALUES (md5(random()::text)) RETURNING n)
         INSERT INTO one SELECT n FROM mark; INSERT INTO two SELECT n, repeat(n::text, 40) FROM generate_series(1, 900) n;`,
    ).join('\n'),
  );
const TABLES = ['marks', 'one', 'two'];
const CONTENTS = TABLES.map(
  (table) => `SELECT '${table}', count(*), sum(hashtextextended(t::text, 0)) FROM ${table} t;`,
).join('\n');

function ownFolder(prefix: string): string {
  const folder = mkdtempSync(path.join(reachableTempDir(user), prefix));
  folders.push(folder);
  if (user) chownSync(folder, user.uid, user.gid);
  return folder;
}

async function copyBucket(): Promise<void> {
  for (const key of await stage.keys()) {
    const file = path.join(bucket, stage.prefix, key);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, await stage.object(key), { mode: 0o644 });
  }
}

beforeAll(async () => {
  stage = await Stage.set(ground(), {});
  await createTablespace(ground(), 'first');
  await createTablespace(ground(), 'second');
  await sql(
    'CREATE TABLE marks (n serial, text text); CREATE TABLE one (n int) TABLESPACE first; CREATE TABLE two (n int, text text) TABLESPACE second',
  );
  const agent = await startStream(stage);
  await write(3);
  const end = await stage.run(['backup', '--kind', 'base', '--json']);
  if (end.status !== 0) throw new Error(end.printed);
  backup = end.json() as BaseBackupJson;
  await write(40);
  await untilHeld(stage, await flushLsn(ground().postgres));
  target = { time: await now(), contents: await sql(CONTENTS) };
  await write(1);
  await untilHeld(stage, await flushLsn(ground().postgres));
  await stopStream(agent);
  bucket = ownFolder('lifeboat-bucket-');
  chmodSync(bucket, 0o755);
  await copyBucket();
});

afterAll(async () => {
  for (const folder of folders) {
    const pid = postmasterOf(path.join(folder, 'data'));
    if (pid !== undefined) process.kill(pid, 'SIGQUIT');
    // It removes its pid file last; until then it writes to what is to be removed.
    while (postmasterOf(path.join(folder, 'data')) !== undefined) await sleep(20);
    rmSync(folder, { recursive: true, force: true });
  }
});

/** `aws s3 cp --recursive s3://…/ folder/` alone, which is all that the runbook asks of it. */
function standInForAws(): string {
  const bin = path.join(bucket, 'bin');
  mkdirSync(bin, { recursive: true });
  const script = `#!/bin/bash
set -euo pipefail
[ "$1 $2 $3" = 's3 cp --recursive' ] || { echo "not expected: aws $*" >&2; exit 2; }
from=\${4#s3://*/}
mkdir -p "$5"
[ ! -d "${bucket}/$from" ] || cp -R "${bucket}/$from." "$5"
`;
  writeFileSync(path.join(bin, 'aws'), script, { mode: 0o755 });
  return bin;
}

interface Recovered {
  readonly folder: string;
  readonly printed: string;
  readonly psql: (text: string) => string;
}

function recoverByHand(replaced: Readonly<Record<string, string>>, steps = STEPS): Recovered {
  const { postgres } = ground();
  const folder = ownFolder('lifeboat-hand-');
  let script = steps.map((name) => BLOCKS.get(name) ?? `echo "no block: ${name}" >&2; exit 1`).join('\n');
  const all = {
    ...replaced,
    [FOLDER_IN_DOCUMENT]: folder,
    '7412345678901234567': backup.systemIdentifier,
    hostmaster_base_20260117_030000: backup.label,
  };
  for (const [from, to] of Object.entries(all)) script = script.replaceAll(from, to);
  const env = {
    PATH: [standInForAws(), postgres.binDir, process.env['PATH'] ?? ''].join(path.delimiter),
    PGUSER: postgres.superuser,
    HOME: folder,
    LC_ALL: 'C.UTF-8',
  };
  const bash = (text: string): string => {
    const end = spawnSync('bash', ['--norc', '-c', text], { encoding: 'utf8', env, cwd: folder, ...user });
    if (end.status !== 0) throw new Error(`bash ended with ${end.status}:\n${end.stdout}${end.stderr}`);
    return end.stdout;
  };
  return {
    folder,
    printed: bash(script),
    psql: (text) => bash(`psql -XAtq -h '${folder}' -p 5433 -d postgres <<'SQL'\n${text}\nSQL`).trim(),
  };
}

describe('The runbook’s commands for a recovery by hand', () => {
  it('recover an instant from base backup, segments and joined pieces, with two tablespaces', async () => {
    const roles = (await heldObjects(stage)).map(({ parsed }) => parsed.role);
    expect(roles.filter((role) => role === 'wal').length).toBeGreaterThan(2);
    expect(roles.filter((role) => role === 'journal').length).toBeGreaterThan(1);
    const { folder, printed, psql } = recoverByHand({ '2026-01-17 08:54:59': target.time });
    expect(printed).toMatch(/base-00001\.tar\.zst: OK\n/);
    expect(printed).not.toMatch(/FAILED|CREATE/);
    expect(printed).toMatch(/backup successfully verified/);
    expect(printed).toMatch(/recovery stopping before commit of transaction/);
    expect(psql(CONTENTS)).toBe(target.contents);
    const links = readdirSync(path.join(folder, 'data/pg_tblspc'));
    expect(links).toHaveLength(2);
    for (const oid of links)
      expect(readlinkSync(path.join(folder, 'data/pg_tblspc', oid))).toBe(`${folder}/tablespaces/${oid}`);
    psql('INSERT INTO two VALUES (1); CHECKPOINT');
    expect(await sql('SELECT count(*) FROM marks')).toBe('44');
  });

  it('recover all that S3 holds when the target is taken out', async () => {
    const { psql } = recoverByHand({ "recovery_target_time = '2026-01-17 08:54:59+00'\n": '' });
    expect(psql(CONTENTS)).toBe(await sql(CONTENTS));
  });

  it('tell of a tablespace that the WAL makes, before it is replayed into a live path', async () => {
    const location = await createTablespace(ground(), 'third');
    const agent = await startStream(stage);
    await untilHeld(stage, await flushLsn(ground().postgres));
    await stopStream(agent);
    await copyBucket();
    const oid = await sql("SELECT oid FROM pg_tablespace WHERE spcname = 'third'");
    const steps = ['fetch', 'check', 'unpack', 'wal', 'tablespaces'].map((step) => `recovery ${step}`);
    expect(recoverByHand({}, steps).printed).toContain(`CREATE ${oid} "${location}"`);
  });

  it('all stand in blocks that this file runs', () => {
    const blocks = [...BLOCKS.keys()].filter((name) => name.startsWith('recovery '));
    expect(blocks).toEqual(STEPS);
  });
});
