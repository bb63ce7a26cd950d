import { createHash } from 'node:crypto';
import { existsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { processesOfGroup, type AgentEnd } from './agent-process.ts';
import {
  expectNothingLeft,
  fakeTools,
  Stage,
  useGround,
  type BackupJson,
  type FailureJson,
} from './backup-fixture.ts';

const ground = useGround();

const DATABASE = 'hostmaster_prod';
/** About 50 MB, which dump to several frames and parts. */
const LARGE = 'large';
const ROWS = 400_000;

beforeAll(async () => {
  const { postgres } = ground();
  await postgres.createDatabase(DATABASE);
  await postgres.psql(DATABASE, 'CREATE TABLE users AS SELECT generate_series(1, 1000) AS id');
  await postgres.createDatabase(LARGE);
  await postgres.psql(
    LARGE,
    `CREATE TABLE noise AS SELECT n, sha256(n::text::bytea) AS bytes FROM generate_series(1, ${ROWS}) n`,
  );
});

type Overrides = Record<string, string | undefined>;

const setStage = (env: Overrides = {}): Promise<Stage> => Stage.set(ground(), { DB_NAME: DATABASE, ...env });

const markOf = (stage: Stage, what: string): string => path.join(ground().folder, `${what}-${stage.bucket}`);

/** A pg_dump that says when it was started, and then does as `script` says. */
function fakeDump(stage: Stage, script: string): Overrides {
  return { PG_BIN_DIR: fakeTools(ground(), { pg_dump: `touch '${markOf(stage, 'started')}'; ${script}` }) };
}

/** A pg_dump that begins only when it is told to go. */
function waitingDump(stage: Stage): { env: Overrides; go: () => void } {
  const go = markOf(stage, 'go');
  const script = `while [ ! -e '${go}' ]; do sleep 0.02; done; real "$@"`;
  return { env: fakeDump(stage, script), go: () => writeFileSync(go, '') };
}

async function untilDumping(stage: Stage): Promise<void> {
  while (!existsSync(markOf(stage, 'started'))) await sleep(10);
}

async function untilGone(group: number): Promise<void> {
  while (processesOfGroup(group).length > 0) await sleep(20);
}

/** Whatever the list calls complete is: every byte of every copy, read by ourselves. */
async function expectNoHalfMadeBackup(stage: Stage): Promise<void> {
  for (const { id, copies } of await stage.list()) {
    for (const { store, state } of copies) {
      expect(['complete', 'unfinished']).toContain(state);
      if (state !== 'complete') continue;
      const read = async (name: string): Promise<Buffer> =>
        store === 'local' ? stage.read(name) : await stage.object(name);
      const { dump, globals } = JSON.parse((await read(`${id}.manifest.json`)).toString()) as ReturnType<
        Stage['manifest']
      >;
      for (const { key, sha256 } of [dump, globals]) {
        expect(
          createHash('sha256')
            .update(await read(key))
            .digest('hex'),
        ).toBe(sha256);
      }
    }
  }
}

describe('kill -9', () => {
  it('at any moment leaves nothing that is taken for a backup, and the next run works and clears it away', async () => {
    const stage = await setStage({ DB_NAME: LARGE });
    const began = Date.now();
    expect((await stage.run(['backup'])).status).toBe(0);
    const whole = Date.now() - began;
    const moments = 15;
    for (let moment = 1; moment <= moments; moment += 1) {
      const agent = stage.start(['backup']);
      await Promise.race([sleep((whole * moment) / moments), agent.ended]);
      agent.kill('SIGKILL');
      await agent.ended;
      await untilGone(agent.pid);
      await expectNoHalfMadeBackup(stage);
    }
    const end = await stage.run(['backup', '--json']);
    expect(end.printed).toContain('✅ Backup completed successfully');
    expect(end.json()).toMatchObject({ succeeded: true, rows: ROWS });
    expect(stage.files().filter((name) => name.endsWith('.partial'))).toEqual([]);
    expect(await stage.uploads()).toEqual([]);
    const local = (await stage.list()).flatMap(({ copies }) =>
      copies.filter(({ store }) => store === 'local'),
    );
    expect(local.map(({ state }) => state)).toEqual(local.map(() => 'complete'));
    expect((await stage.run(['verify', '--all'])).status).toBe(0);
  });

  it('frees the lock at once, even while the pg_dump that it orphaned still lives', async () => {
    const stage = await setStage();
    const { env, go } = waitingDump(stage);
    const agent = stage.start(['backup'], env);
    await untilDumping(stage);
    agent.kill('SIGKILL');
    const { leftRunning } = await agent.ended;
    expect(leftRunning).toContainEqual(expect.stringContaining('pg_dump'));
    const unfinished = stage.files().find((name) => name.endsWith('.partial'))!;
    const next = await stage.run(['backup']);
    expect(next.status).toBe(0);
    expect(next.stdout).toMatch(/⚠️ {2}Removed what an unfinished run left behind: hostmaster_db_\d+_\d+/);
    expect(stage.files()).not.toContain(unfinished);
    go();
    await untilGone(agent.pid);
  });
});

describe('two runs of one series at once', () => {
  it('are one: the second ends with status 8 and names the first, which goes on undisturbed', async () => {
    const stage = await setStage({ LIFEBOAT_RUN_ID: 'nightly-4711' });
    const { env, go } = waitingDump(stage);
    const first = stage.start(['backup', '--json'], env);
    await untilDumping(stage);
    const second = await stage.run(['backup', '--json'], { LIFEBOAT_RUN_ID: 'by-hand' });
    const { error } = second.json() as FailureJson;
    expect(error).toMatchObject({ code: 'BUSY', exitStatus: 8 });
    expect(error.message).toContain('backup, run nightly-4711');
    expect(error.hint).toContain('Wait until the other run has finished');
    expect(second.status).toBe(8);
    const retention = await stage.run(['retention', '--dry-run']);
    expect(retention.status).toBe(8);
    expect((await stage.list()).flatMap(({ copies }) => copies.map(({ state }) => state))).toEqual([
      'unfinished',
    ]);
    go();
    expect((await first.ended).status).toBe(0);
    expect((await stage.run(['status'])).status).toBe(0);
  });

  it('of different series go side by side in one folder', async () => {
    const stage = await setStage();
    const { env, go } = waitingDump(stage);
    const first = stage.start(['backup'], env);
    await untilDumping(stage);
    expect((await stage.run(['backup'], { APP_NAME: 'hostmaster_staging' })).status).toBe(0);
    go();
    expect((await first.ended).status).toBe(0);
  });
});

describe('a reader of the log that goes away', () => {
  it.each([[[]], [['--json']]])(
    'does not keep the backup from its end, nor its status from the truth (%j)',
    async (options) => {
      const stage = await setStage({ DB_NAME: LARGE });
      const through = ['bash', '-c', 'set -o pipefail; "$@" 2>&1 | head -n 1', 'bash'];
      const end = await stage.run(['backup', ...options], {}, { through });
      expect(end.stdout.trimEnd().split('\n')).toHaveLength(1);
      expect(end.status).toBe(0);
      expect(await stage.list()).toMatchObject([{ copies: [{ state: 'complete' }, { state: 'complete' }] }]);
      const failed = await stage.run(['backup', ...options], { DB_PASSWORD: 'wrong' }, { through });
      expect(failed.status).toBe(4);
    },
  );
});

describe('a log on a full disk', () => {
  it('does not end the backup midway', async () => {
    const stage = await setStage();
    const through = ['bash', '-c', '"$@" > /dev/full', 'bash'];
    const end = await stage.run(['backup'], {}, { through });
    expect(end.leftRunning).toEqual([]);
    expect(await stage.list()).toMatchObject([{ copies: [{ state: 'complete' }, { state: 'complete' }] }]);
    expect(end.stderr).toMatch(/❌ The output could not be written: .*ENOSPC/);
    expect(end.status).toBe(6);
  });
});

describe('a signal', () => {
  function expectStopped(end: AgentEnd, signal: string, status: number): void {
    expect(end.stderr).toContain(`❌ Stopped by ${signal}`);
    expect(end.stderr).toContain('→ Nothing half-made was left behind');
    expect(end.status).toBe(status);
  }

  it('from Ctrl-C, which reaches pg_dump as well, ends a dump with status 130 and leaves nothing', async () => {
    const stage = await setStage();
    const agent = stage.start(['backup'], waitingDump(stage).env);
    await untilDumping(stage);
    agent.killGroup('SIGINT');
    const end = await agent.ended;
    expectStopped(end, 'SIGINT', 130);
    await expectNothingLeft(stage, end);
  });

  it('from Ctrl-C at any moment ends the run with status 130 and leaves nothing', async () => {
    for (const line of ['Checking prerequisites', 'Prerequisites OK', 'Starting database backup']) {
      for (const milliseconds of [0, 20, 60, 120]) {
        // It does not end before the signal comes.
        const tools = fakeTools(ground(), { pg_dump: 'real "$@" && exec sleep 600' });
        const stage = await setStage({ DB_NAME: LARGE, S3_BUCKET: undefined, PG_BIN_DIR: tools });
        const agent = stage.start(['backup']);
        await agent.untilPrinted(new RegExp(line));
        await sleep(milliseconds);
        agent.killGroup('SIGINT');
        const end = await agent.ended;
        expectStopped(end, 'SIGINT', 130);
        expect(end.leftRunning).toEqual([]);
        expect(stage.files()).toEqual([]);
      }
    }
  });

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 143],
  ] as const)(
    '%s to the agent alone ends pg_dump too, with status %s, and leaves nothing',
    async (signal, status) => {
      const stage = await setStage({ DB_NAME: LARGE });
      ground().s3.faults.add({
        bucket: stage.bucket,
        action: 'UploadPart',
        times: 'always',
        effect: { kind: 'bandwidth', bytesPerSecond: 50_000 },
      });
      const agent = stage.start(['backup'], fakeDump(stage, 'real "$@" | head -c 24000000; exec sleep 600'));
      while (!stage.requests().some(({ action }) => action === 'UploadPart')) await sleep(20);
      agent.kill(signal);
      const asked = Date.now();
      const end = await agent.ended;
      expect(Date.now() - asked).toBeLessThan(60_000);
      expectStopped(end, signal, status);
      await expectNothingLeft(stage, end);
    },
  );

  it.each([
    ['looks at the bucket', { action: 'ListObjectsV2' }],
    ['completes the upload', { action: 'CompleteMultipartUpload' }],
    ['writes the manifest', { action: 'PutObject', key: '*.manifest.json' }],
  ] as const)('ends the run soon although S3 does not answer while it %s', async (_what, rule) => {
    const stage = await setStage({ DB_NAME: LARGE });
    const effect = { kind: 'delay', milliseconds: 600_000 } as const;
    const fault = ground().s3.faults.add({ bucket: stage.bucket, times: 'always', ...rule, effect });
    const agent = stage.start(['backup']);
    while (fault.hits === 0) await sleep(20);
    agent.kill('SIGTERM');
    const asked = Date.now();
    const end = await agent.ended;
    expect(Date.now() - asked).toBeLessThan(50_000);
    expectStopped(end, 'SIGTERM', 143);
    expect(end.leftRunning).toEqual([]);
    ground().s3.faults.clear();
    await expectNoHalfMadeBackup(stage);
    expect((await stage.run(['backup'])).status).toBe(0);
  });

  it('while pg_dump waits for a lock ends the run, and its session in the database', async () => {
    const { postgres } = ground();
    const stage = await setStage();
    const hold = postgres
      .psql(DATABASE, 'BEGIN; LOCK TABLE users; SELECT pg_sleep(600)')
      .catch(() => 'ended');
    const sessions = (which: string): Promise<string> =>
      postgres.psql('postgres', `SELECT count(*) FROM pg_stat_activity WHERE ${which}`);
    while ((await sessions(`wait_event = 'PgSleep'`)) === '0') await sleep(20);
    const agent = stage.start(['backup']);
    while ((await sessions(`wait_event_type = 'Lock'`)) === '0') await sleep(20);
    agent.kill('SIGTERM');
    const end = await agent.ended;
    expectStopped(end, 'SIGTERM', 143);
    while ((await sessions(`application_name = 'lifeboat'`)) !== '0') await sleep(20);
    await postgres.psql(
      'postgres',
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'`,
    );
    expect(await hold).toBe('ended');
    await expectNothingLeft(stage, end);
  });

  it('given twice ends the run at once, and the next run clears what it left', async () => {
    const stage = await setStage({ S3_BUCKET: undefined });
    const agent = stage.start(['backup'], fakeDump(stage, 'trap "" TERM INT; sleep 600'));
    await untilDumping(stage);
    // Again and again, since what comes within a second is taken for the same.
    const over = agent.ended.then(() => true);
    do agent.kill('SIGINT');
    while (!(await Promise.race([over, sleep(400, false)])));
    const end = await agent.ended;
    expect(end.status).toBe(130);
    expect(end.leftRunning).not.toEqual([]);
    agent.killGroup('SIGKILL');
    expect((await stage.run(['backup'])).status).toBe(0);
    expect(stage.files().filter((name) => name.endsWith('.partial'))).toEqual([]);
  });

  it('is on record as the last failure until a run succeeds', async () => {
    const stage = await setStage({ S3_BUCKET: undefined });
    expect((await stage.run(['backup'])).status).toBe(0);
    const agent = stage.start(['backup'], waitingDump(stage).env);
    await untilDumping(stage);
    agent.kill('SIGTERM');
    await agent.ended;
    const status = await stage.run(['status']);
    expect(status.stderr).toMatch(/❌ The last backup run failed at .*Stopped by SIGTERM/);
    expect(status.status).toBe(9);
    const { id } = (await stage.run(['backup', '--json'])).json() as BackupJson;
    const good = await stage.run(['status']);
    expect(good.stdout).toContain(`Last good backup  ${id}`);
    expect(good.status).toBe(0);
  });
});
