import { appendFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { layOlderTwin, Stage, useGround, type BackupJson, type FailureJson } from './backup-fixture.ts';

const ground = useGround();

const DATABASE = 'hostmaster_prod';

beforeAll(async () => {
  const { postgres } = ground();
  await postgres.createDatabase(DATABASE);
  await postgres.psql(DATABASE, 'CREATE TABLE users AS SELECT generate_series(1, 1000) AS id');
});

type Overrides = Record<string, string | undefined>;

const setStage = (env: Overrides = {}): Promise<Stage> => Stage.set(ground(), { DB_NAME: DATABASE, ...env });

async function backUp(stage: Stage): Promise<string> {
  return ((await stage.run(['backup', '--json'])).json() as BackupJson).id;
}

function remove(stage: Stage, id: string): void {
  for (const suffix of ['.sql.gz', '.globals.sql.gz', '.manifest.json'])
    rmSync(path.join(stage.dir, id + suffix));
}

describe('lifeboat status', () => {
  it('ends with status 9 and the command to run while there is no backup', async () => {
    const stage = await setStage();
    const end = await stage.run(['status']);
    expect(end.stdout).toMatch(/^❌ HostMaster\nLast good backup +none$/m);
    expect(end.stderr).toContain('❌ There is no good backup of hostmaster');
    expect(end.stderr).toContain('→ Run: lifeboat backup');
    expect(end.status).toBe(9);
  });

  it('ends with status 0 after a backup, and tells age, sizes, disk, cost and restore time', async () => {
    const stage = await setStage();
    const id = await backUp(stage);
    await layOlderTwin(stage, id, 1);
    await layOlderTwin(stage, id, 2);
    const end = await stage.run(['status']);
    const lines = end.stdout.trimEnd().split('\n');
    expect(lines).toEqual([
      '✅ HostMaster',
      expect.stringMatching(new RegExp(`^Last good backup  ${id}, \\d.*s ago \\(Local and S3\\)$`)),
      'Allowed age       26h 00m',
      expect.stringMatching(/^Size trend        ███  [\d.]+K, \+0% since \d{4}-\d\d-\d\d$/),
      'Last failure      none on record',
      expect.stringMatching(/^Local             3 good backups, [\d.]+K$/),
      expect.stringMatching(/^S3                1 good backup, [\d.]+K$/),
      expect.stringMatching(/^Free disk         \d+[GT]$/),
      expect.stringMatching(/^S3 cost           about \$0\.00 a month/),
      expect.stringMatching(/^Restore time      about \d.*s from the local copy, \d.*s from S3 \(assumed/),
    ]);
    expect(end.status).toBe(0);
  });

  it('prints the same with --json for a monitoring system', async () => {
    const stage = await setStage();
    const id = await backUp(stage);
    const json = (await stage.run(['status', '--json'])).json();
    expect(json).toMatchObject({
      operation: 'status',
      app: 'hostmaster',
      succeeded: true,
      lastGood: { id, ageMs: expect.any(Number), stores: ['local', 's3'] },
      lastFailure: null,
      trend: [{ id, bytes: expect.any(Number) }],
      stored: [
        { store: 'local', backups: 1 },
        { store: 's3', backups: 1 },
      ],
      freeBytes: expect.any(Number),
      monthlyCost: expect.any(Number),
      restore: { measured: false },
    });
  });

  it('ends with status 9 when the last good backup is older than is allowed', async () => {
    const stage = await setStage();
    const id = await backUp(stage);
    await layOlderTwin(stage, id, 2);
    remove(stage, id);
    const local = { S3_BUCKET: undefined };
    const stale = await stage.run(['status', '--json'], local);
    const { error } = stale.json() as FailureJson;
    expect(error.code).toBe('ATTENTION');
    expect(error.message).toMatch(
      /^The last good backup of \S+ is (?:47h 59m|48h|2d 0h).* old; at most 26h 00m is allowed$/,
    );
    expect(stale.status).toBe(9);
    expect((await stage.run(['status'], { ...local, MAX_BACKUP_AGE_HOURS: '49' })).status).toBe(0);
    expect((await stage.run(['status'])).status).toBe(0);
  });

  it('ends with status 9 when the last run failed although the last good backup is young', async () => {
    const stage = await setStage();
    const id = await backUp(stage);
    await stage.run(['backup'], { DB_PASSWORD: 'wrong' });
    const end = await stage.run(['status']);
    expect(end.stdout).toContain(`Last good backup  ${id}`);
    expect(end.stdout).toMatch(/Last failure +[\d: -]{19} backup: Cannot connect to database/);
    expect(end.stderr).toMatch(/❌ The last backup run failed at \S+: Cannot connect/);
    expect(end.status).toBe(9);
    await backUp(stage);
    const mended = await stage.run(['status']);
    expect(mended.stdout).toMatch(/Last failure +[\d: -]{19} backup: Cannot connect/);
    expect(mended.status).toBe(0);
  });

  it('knows of a good backup in S3 although the local folder is lost, and needs no database for it', async () => {
    const stage = await setStage();
    const id = await backUp(stage);
    rmSync(stage.dir, { recursive: true });
    const end = await stage.run(['status'], { DB_HOST: '127.0.0.1', DB_PORT: '1', DB_NAME: undefined });
    expect(end.stdout).toMatch(new RegExp(`Last good backup  ${id}, \\d.*s ago \\(S3\\)`));
    expect(end.status).toBe(0);
  });

  it('survives a journal that was cut short or scribbled over', async () => {
    const stage = await setStage({ S3_BUCKET: undefined });
    await backUp(stage);
    const journal = path.join(stage.dir, '.hostmaster.runs.jsonl');
    appendFileSync(journal, '{"at":"2026-\nnonsense\n\0\0\n{"operation":"backup"}\n');
    expect((await stage.run(['status'])).status).toBe(0);
    expect((await stage.run(['backup'])).status).toBe(0);
  });
});
