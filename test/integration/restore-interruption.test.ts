import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, type ClientConfig } from 'pg';
import { processesOfGroup } from './agent-process.ts';
import { Stage, useGround, type FailureJson } from './backup-fixture.ts';
import {
  databasesLike,
  halfMade,
  heldDump as makeHeldDump,
  releaseHeld,
  TINY_SQL,
  untilLoading as untilHeldUp,
} from './restore-fixture.ts';

const ground = useGround({ settings: { max_connections: '60', log_connections: 'off' } });
const SOURCE = 'tiny';
let targets = 0;

beforeAll(async () => {
  const { postgres } = ground();
  await postgres.createDatabase(SOURCE);
  await postgres.psql(SOURCE, TINY_SQL);
});

async function stageWithBackup(env: Record<string, string | undefined> = {}): Promise<Stage> {
  const stage = await Stage.set(ground(), { DB_NAME: SOURCE, S3_BUCKET: undefined, ...env });
  expect((await stage.run(['backup'])).status).toBe(0);
  return stage;
}

async function preciousDatabase(): Promise<string> {
  const { postgres } = ground();
  targets += 1;
  const target = `target_${targets}`;
  await postgres.createDatabase(target);
  await postgres.psql(target, 'CREATE TABLE precious AS SELECT 42 AS answer');
  return target;
}

afterEach(releaseHeld);

async function heldDump(stage: Stage, format: 'plain' | 'custom'): Promise<string> {
  return await makeHeldDump(ground().postgres, { source: SOURCE, folder: stage.dir, format });
}

async function untilLoading(target: string): Promise<void> {
  await untilHeldUp(ground().postgres, target);
}

async function expectUntouched(stage: Stage, target: string): Promise<void> {
  const { postgres } = ground();
  expect(await postgres.psql(target, 'SELECT answer FROM precious')).toBe('42');
  expect(await databasesLike(postgres, `${target}%`)).toEqual([target]);
  expect(readdirSync(stage.dir).filter((name) => name.endsWith('.partial'))).toEqual([]);
  expect(
    spawnSync('flock', ['--nonblock', path.join(stage.dir, `.restore-${target}.lock`), 'true']).status,
  ).toBe(0);
}

describe('Ctrl-C and SIGTERM', () => {
  it.each([
    ['plain', 'SIGINT', 'INTERRUPTED', 130],
    ['custom', 'SIGINT', 'INTERRUPTED', 130],
    ['plain', 'SIGTERM', 'TERMINATED', 143],
  ] as const)(
    'while %s is being restored, %s leaves nothing behind',
    async (format, signal, code, status) => {
      const stage = await Stage.set(ground(), { S3_BUCKET: undefined });
      const target = await preciousDatabase();
      const agent = stage.start(['restore', await heldDump(stage, format), '--replace', '--json'], {
        DB_NAME: target,
      });
      await untilLoading(target);
      agent.killGroup(signal);
      const end = await agent.ended;
      expect(end.json() as FailureJson).toMatchObject({ succeeded: false, error: { code } });
      expect(end.status).toBe(status);
      expect(end.leftRunning).toEqual([]);
      await expectUntouched(stage, target);
    },
  );

  it('during a download leaves nothing behind', async () => {
    const { s3 } = ground();
    const stage = await stageWithBackup({ S3_BUCKET: undefined });
    await s3.ensureBucket('slow-bucket');
    const env = { S3_BUCKET: 'slow-bucket' };
    expect((await stage.run(['backup'], env)).status).toBe(0);
    const target = await preciousDatabase();
    s3.faults.add({
      action: 'GetObject',
      key: '*.sql.gz',
      times: 'always',
      effect: { kind: 'bandwidth', bytesPerSecond: 50 },
    });
    const elsewhere = `${stage.dir}-elsewhere`;
    const agent = stage.start(['restore', 'latest', '--replace', '--json'], {
      ...env,
      DB_NAME: target,
      BACKUP_DIR: elsewhere,
    });
    await agent.untilPrinted(/Downloading/);
    agent.killGroup('SIGINT');
    const end = await agent.ended;
    s3.faults.clear();
    expect(end.status).toBe(130);
    expect(
      readdirSync(elsewhere).filter((name) => !name.endsWith('.lock') && !name.endsWith('.jsonl')),
    ).toEqual([]);
    await expectUntouched(stage, target);
  });
});

describe('kill -9', () => {
  it.each(['plain', 'custom'] as const)(
    'while %s is being restored: the next run removes what is left, and names it',
    async (format) => {
      const { postgres } = ground();
      const stage = await stageWithBackup();
      const target = await preciousDatabase();
      const agent = stage.start(['restore', await heldDump(stage, format), '--replace'], { DB_NAME: target });
      await untilLoading(target);
      agent.killGroup('SIGKILL');
      await agent.ended;
      const [left] = await halfMade(postgres);
      expect(left).toMatch(new RegExp(`^${target}_restoring_\\d{14}$`));
      expect(await postgres.psql(target, 'SELECT answer FROM precious')).toBe('42');
      await postgres.psql(
        'postgres',
        `SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '${left!}'`,
      );

      const end = await stage.run(['restore', 'latest', '--replace'], { DB_NAME: target });
      expect(end.printed).toContain(`Removing ${left!}, which a killed restore left`);
      expect(end.status).toBe(0);
      expect(await halfMade(postgres)).toEqual([]);
      expect(await postgres.psql(target, 'SELECT count(*) FROM tiny')).toBe('10');
      expect(readdirSync(stage.dir).filter((name) => name.endsWith('.partial'))).toEqual([]);
    },
  );

  it('of the agent alone: the next run ends the pg_restore that it left, and restores the same file', async () => {
    const { postgres } = ground();
    const stage = await Stage.set(ground(), { S3_BUCKET: undefined });
    const target = await preciousDatabase();
    const file = await heldDump(stage, 'custom');
    const agent = stage.start(['restore', file, '--replace', '--jobs', '2'], { DB_NAME: target });
    await untilLoading(target);
    agent.kill('SIGKILL');
    expect((await agent.ended).leftRunning.join()).toContain('pg_restore');
    const [left] = await halfMade(postgres);

    const next = stage.start(['restore', file, '--replace'], { DB_NAME: target });
    await next.untilPrinted(new RegExp(`Removing ${left!}, which a killed restore left`));
    await untilLoading(target);
    await releaseHeld();
    const end = await next.ended;
    expect(end.status).toBe(0);
    expect(await databasesLike(postgres, `${target}%`)).toHaveLength(2);
    expect(await halfMade(postgres)).toEqual([]);
    expect(processesOfGroup(agent.pid)).toEqual([]);
    expect(await postgres.psql(target, 'SELECT count(*) FROM tiny')).toBe('10');
  });

  it('between CREATE DATABASE and its mark: the next run removes it, but nothing that somebody uses or has filled', async () => {
    const { postgres } = ground();
    const stage = await stageWithBackup();
    const target = await preciousDatabase();
    const [unmarked, filled] = [`${target}_restoring_20260101000000`, `${target}_restoring_20260101000001`];
    for (const name of [unmarked, filled]) await postgres.createDatabase(name);
    await postgres.psql(filled, 'CREATE TABLE mine (a int)');
    const end = await stage.run(['restore', 'latest', '--replace'], { DB_NAME: target });
    expect(end.printed).toContain(`Removing ${unmarked}, which a killed restore left`);
    expect(end.status).toBe(0);
    expect(await halfMade(postgres)).toEqual([filled]);
    await postgres.psql('postgres', `DROP DATABASE ${filled}`);
  });

  it('at any moment of the swap: the target is always there, old or new, and takes connections', async () => {
    const { postgres } = ground();
    const stage = await stageWithBackup();
    const target = await preciousDatabase();
    for (let round = 0; round < 8; round += 1) {
      const agent = stage.start(['restore', 'latest', '--replace'], { DB_NAME: target });
      await agent.untilPrinted(/Rows verified/);
      await sleep(round * 8);
      agent.killGroup('SIGKILL');
      await agent.ended;
      const state = await postgres.psql(
        target,
        "SELECT coalesce(to_regclass('precious'), to_regclass('tiny')) IS NOT NULL",
      );
      expect(state).toBe('t');
    }
    const end = await stage.run(['restore', 'latest', '--replace'], { DB_NAME: target });
    expect(end.status).toBe(0);
    expect(await halfMade(postgres)).toEqual([]);
    const kept = (await databasesLike(postgres, `${target}\\_before%`)).map((name) =>
      postgres.psql(name, "SELECT to_regclass('precious') IS NOT NULL"),
    );
    expect(await Promise.all(kept)).toContain('t');
  });
});

describe('a target in use', () => {
  it('is swapped under clients that reconnect at once, who meet old data, then new, and no closed door for long', async () => {
    const { postgres } = ground();
    const stage = await stageWithBackup();
    const target = await preciousDatabase();
    const seen: { at: number; what: string }[] = [];
    const stop = new AbortController();
    const clients = Array.from({ length: 12 }, () => hammer(target, stop.signal, seen));
    // One that sits in a transaction and would never leave by itself.
    const sitting = new Client({ ...connection(), database: target });
    sitting.on('error', () => undefined);
    await sitting.connect();
    await sitting.query('BEGIN; SELECT * FROM precious');
    const until = async (what: string): Promise<void> => {
      while (!seen.some((each) => each.what === what)) await sleep(20);
    };
    await until('old');
    const end = await stage.run(['restore', 'latest', '--replace', '--json'], { DB_NAME: target });
    await until('new');
    stop.abort();
    await Promise.all(clients);
    await sitting.end().catch(() => undefined);
    expect(end.printed).toContain('✅ Restore completed successfully');
    const answers = seen.filter(({ what }) => what === 'old' || what === 'new').map(({ what }) => what);
    expect(answers).toContain('old');
    expect(answers.at(-1)).toBe('new');
    expect(answers.lastIndexOf('old')).toBeLessThan(answers.length - 1);
    const gaps = seen.filter(({ what }) => what === 'old' || what === 'new');
    const longest = Math.max(...gaps.slice(1).map(({ at }, index) => at - gaps[index]!.at));
    expect(longest).toBeLessThan(40_000);
    expect(await postgres.psql(target, 'SELECT count(*) FROM tiny')).toBe('10');
  });

  it('is not restored into twice at once', async () => {
    const stage = await Stage.set(ground(), { S3_BUCKET: undefined });
    const target = await preciousDatabase();
    const file = await heldDump(stage, 'plain');
    const first = stage.start(['restore', file, '--replace'], { DB_NAME: target });
    await untilLoading(target);
    const second = await stage.run(['restore', file, '--replace'], { DB_NAME: target });
    expect(second.status).toBe(8);
    expect(second.printed).toMatch(/Another run holds/);
    // From another host the lock file is not seen; the server tells.
    const fromElsewhere = await stage.run(['restore', file, '--replace'], {
      DB_NAME: target,
      BACKUP_DIR: `${stage.dir}-b`,
    });
    expect(fromElsewhere.status).toBe(8);
    expect(fromElsewhere.printed).toMatch(/Another restore into "target_\d+" is going on/);
    first.killGroup('SIGINT');
    expect((await first.ended).status).toBe(130);
    await expectUntouched(stage, target);
  });
});

describe('what cannot be tidied up', () => {
  it('is told, and turns no restore that is done into a failure', async () => {
    const { postgres } = ground();
    const stage = await Stage.set(ground(), { S3_BUCKET: undefined });
    const target = await preciousDatabase();
    const agent = stage.start(['restore', await heldDump(stage, 'plain'), '--replace', '--json'], {
      DB_NAME: target,
    });
    await untilLoading(target);
    const scratch = path.join(stage.dir, `.restore-${target}.unpacked.partial`);
    mkdirSync(scratch);
    await releaseHeld();
    const end = await agent.ended;
    expect(end.json()).toMatchObject({ succeeded: true });
    expect(end.status).toBe(0);
    expect(end.printed).toMatch(/left behind: .*unpacked\.partial/);
    expect(await postgres.psql(target, 'SELECT count(*) FROM tiny')).toBe('10');
    rmSync(scratch, { recursive: true });
  });
});

describe('the server', () => {
  it('may crash and come back during a restore: nothing is left behind', async () => {
    const { postgres } = ground();
    const stage = await Stage.set(ground(), { S3_BUCKET: undefined });
    const target = await preciousDatabase();
    const file = await heldDump(stage, 'plain');
    const agent = stage.start(['restore', file, '--replace', '--json'], { DB_NAME: target });
    await untilLoading(target);
    await postgres.kill();
    await sleep(1500);
    await postgres.start();
    const end = await agent.ended;
    expect(end.status).toBe(4);
    expect((end.json() as FailureJson).error.hint).toContain('the half-made database was removed');
    await expectUntouched(stage, target);
  });

  it('may crash during a restore: it is said, and the next restore removes what is left', async () => {
    const { postgres } = ground();
    const stage = await stageWithBackup();
    const target = await preciousDatabase();
    const agent = stage.start(['restore', await heldDump(stage, 'plain'), '--replace', '--json'], {
      DB_NAME: target,
    });
    await untilLoading(target);
    await postgres.kill();
    while (processesOfGroup(agent.pid).some((line) => line.includes('psql'))) await sleep(20);
    await sleep(500);
    // Else it would look for the server for half a minute.
    agent.kill('SIGTERM');
    const end = await agent.ended;
    expect(end.status).toBe(4);
    expect(end.printed).toMatch(/could not be removed.*\n.*The next restore into the same target removes it/);
    expect((end.json() as FailureJson).error.hint).toMatch(
      /could not be removed.* dropdb target_\d+_restoring_/,
    );
    await postgres.start();
    expect(await postgres.psql(target, 'SELECT answer FROM precious')).toBe('42');
    const again = await stage.run(['restore', 'latest', '--replace'], { DB_NAME: target });
    expect(again.printed).toMatch(/Removing target_\d+_restoring_\d{14}, which a killed restore left/);
    expect(again.status).toBe(0);
    expect(await halfMade(postgres)).toEqual([]);
  });
});

function connection(): ClientConfig {
  const { host, port, superuser, password } = ground().postgres;
  return { host, port, user: superuser, password };
}

/** Connects, asks, leaves, again and again, as an application behind no pool does. */
async function hammer(
  database: string,
  stop: AbortSignal,
  seen: { at: number; what: string }[],
): Promise<void> {
  while (!stop.aborted) {
    const client = new Client({ ...connection(), database });
    client.on('error', () => undefined);
    try {
      await client.connect();
      const { rows } = await client.query<{ old: string | null }>(
        "SELECT to_regclass('precious')::text AS old",
      );
      seen.push({ at: performance.now(), what: rows[0]!.old === null ? 'new' : 'old' });
    } catch (error) {
      seen.push({ at: performance.now(), what: (error as Error).message });
    }
    await client.end().catch(() => undefined);
  }
}
