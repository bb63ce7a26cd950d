import { existsSync, readFileSync, readdirSync, readlinkSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseLsn } from '../../lib/domain/wal/lsn.ts';
import { createTablespace } from './base-backup-fixture.ts';
import { Stage, useGround } from './backup-fixture.ts';
import { RecoveryGround } from './recovery-fixture.ts';
import { flushLsn, startStream, stopStream, untilHeld, WAL_SERVER } from './wal-fixture.ts';

interface Mark {
  readonly n: number;
  readonly time: string;
}

describe('lifeboat restore to a point in time', () => {
  const ground = useGround(WAL_SERVER);
  let stage: Stage;
  let recoveries: RecoveryGround;
  let commits: readonly Mark[] = [];
  let middle: { lsn: string; xid: string; count: number };
  let named = 0;
  let base = '';
  const twice: string[] = [];
  let idle = '';

  const sql = (text: string): Promise<string> => ground().postgres.psql('postgres', text);
  const now = (): Promise<string> =>
    sql(`SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`);

  async function write(count: number): Promise<void> {
    for (let each = 0; each < count; each += 1) {
      await sql(
        'BEGIN; INSERT INTO marks SELECT coalesce(max(n), 0) + 1, md5(random()::text) FROM marks; INSERT INTO elsewhere SELECT max(n) FROM marks; INSERT INTO bulk SELECT generate_series(1, 300); COMMIT',
      );
    }
  }

  /** What is kept is where its record ends. */
  async function namePoint(): Promise<void> {
    twice.push(await sql(`SELECT pg_create_restore_point('before deploy')`));
  }

  beforeAll(async () => {
    stage = await Stage.set(ground(), {});
    recoveries = new RecoveryGround(ground().postgres);
    await createTablespace(ground(), 'one');
    await createTablespace(ground(), 'two');
    await sql(
      'CREATE TABLE marks (n int, text text); CREATE TABLE elsewhere (n int) TABLESPACE one; CREATE TABLE bulk (n int) TABLESPACE two',
    );
    const agent = await startStream(stage);
    await write(5);
    const backup = await stage.run(['backup', '--kind', 'base', '--json']);
    if (backup.status !== 0) throw new Error(backup.printed);
    base = (backup.json() as { label: string }).label;
    await namePoint();
    await write(30);
    await namePoint();
    const row = await sql('INSERT INTO marks SELECT max(n) + 1 FROM marks RETURNING pg_current_xact_id()');
    middle = {
      xid: row,
      lsn: await sql('SELECT pg_current_wal_insert_lsn()'),
      count: Number(await sql('SELECT count(*) FROM marks')),
    };
    await write(10);
    named = Number(await sql('SELECT count(*) FROM marks'));
    await sql(`SELECT pg_create_restore_point('before the ''flood''')`);
    await write(10);
    await sleep(300);
    idle = await now();
    await sleep(300);
    await write(1);
    commits = (
      await sql(
        `SELECT n, to_char(pg_xact_commit_timestamp(xmin) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') FROM marks ORDER BY n`,
      )
    )
      .split('\n')
      .map((line) => ({ n: Number(line.split('|')[0]), time: line.split('|')[1]! }));
    await untilHeld(stage, await flushLsn(ground().postgres));
    await stopStream(agent);
  });

  afterAll(() => recoveries?.remove());

  const marksOf = (json: Parameters<RecoveryGround['psql']>[0]): number =>
    Number(recoveries.psql(json, 'SELECT count(*) FROM marks'));

  it('prints the plan and touches nothing', async () => {
    const dataDir = recoveries.folder();
    const end = await stage.run(['restore', '--latest', '--dry-run', '--data-dir', dataDir]);
    expect(end.printed).toMatch(/ {2}base {4}hostmaster_base_\d+_\d+ /);
    expect(end.printed).toMatch(/ {2}wal {5}[0-9A-F]{24} to [0-9A-F]{24}, \d+ segments/);
    expect(end.printed).toMatch(/ {2}disk .*free\n {2}time {4}about /);
    expect(end.status).toBe(0);
    expect(existsSync(dataDir)).toBe(false);
  });

  it('recovers exactly the transactions up to an instant, for several of them', async () => {
    const times = commits.slice(6).map(({ time }) => time);
    for (let round = 0; round < 3; round += 1) {
      const time = times[Math.floor(Math.random() * (times.length - 1))]!;
      const expected = commits.filter((each) => each.time <= time).length;
      const json = await recoveries.recover(stage, '--to-time', time);
      expect({ time, marks: marksOf(json) }).toEqual({ time, marks: expected });
      expect(json.reached.lastCommit).toBe(time);
      expect(json.reached.timeline).toBe(2);
      recoveries.end(json.dataDir);
    }
  });

  it('recovers into an idle stretch', async () => {
    const json = await recoveries.recover(stage, '--to-time', idle);
    expect(marksOf(json)).toBe(commits.filter(({ time }) => time <= idle).length);
    recoveries.end(json.dataDir);
  });

  it('recovers to an LSN, a transaction and a restore point', async () => {
    for (const [args, expected] of [
      [['--to-lsn', middle.lsn, '--exclusive'], middle.count],
      [['--to-xid', middle.xid], middle.count],
      [['--to-xid', middle.xid, '--exclusive'], middle.count - 1],
      [['--to-name', `before the 'flood'`], named],
    ] as const) {
      const json = await recoveries.recover(stage, ...args);
      expect({ args, marks: marksOf(json) }).toEqual({ args, marks: expected });
      recoveries.end(json.dataDir);
    }
  });

  it('refuses a restore point’s name that was given twice, unless a base backup says from where the first one counts', async () => {
    const args = ['--to-name', 'before deploy', '--dry-run', '--data-dir', recoveries.folder()];
    const { end, json } = await recoveries.run(stage, args);
    expect([end.status, json.error?.code]).toEqual([3, 'RESTORE_REFUSED']);
    const [, first, second] =
      /"before deploy" 2 times:\n- (\S+) of timeline 1, \S+Z\n- (\S+) of timeline 1, \S+Z$/.exec(
        json.error?.message ?? '',
      ) ?? [];
    const lsns = [first!, twice[0]!, second!, twice[1]!].map(parseLsn);
    expect(lsns).toEqual(lsns.toSorted((one, other) => (one < other ? -1 : 1)));
    expect(json.error?.hint).toContain(`--to-lsn ${second} --timeline 1;`);
    const planned = await stage.run(['restore', ...args, '--base', base]);
    expect(planned.printed).toContain(`, the first of that name behind ${base}`);
    expect(planned.status).toBe(0);
  });

  it('recovers all that S3 holds, tablespaces beside the data directory, and nothing goes out of it', async () => {
    const json = await recoveries.recover(stage, '--latest');
    expect(marksOf(json)).toBe(commits.length);
    expect(Number(recoveries.psql(json, 'SELECT count(*) FROM elsewhere'))).toBe(
      Number(await sql('SELECT count(*) FROM elsewhere')),
    );
    expect(json.reached).toMatchObject({ endOfWal: true, timeline: 2, lastCommit: commits.at(-1)!.time });
    expect(json.verifiedFiles).toBeGreaterThan(500);
    const links = readdirSync(path.join(json.dataDir, 'pg_tblspc'));
    for (const oid of links) {
      expect(readlinkSync(path.join(json.dataDir, 'pg_tblspc', oid))).toBe(
        `${json.dataDir}_tablespaces/${oid}`,
      );
    }
    expect(links).toHaveLength(2);
    expect(
      recoveries.psql(json, 'SHOW archive_mode; SHOW listen_addresses; SHOW max_logical_replication_workers'),
    ).toBe('off\n\n0');
    expect(existsSync(path.join(json.dataDir, 'lifeboat_recovery'))).toBe(false);
    recoveries.end(json.dataDir);
  });

  it('pauses for reading at a target and at the end of the WAL, and can be promoted then', async () => {
    const at = commits[20]!;
    const paused = await recoveries.recover(stage, '--to-time', at.time, '--action', 'pause');
    expect(recoveries.psql(paused, 'SELECT pg_is_in_recovery(), count(*) FROM marks')).toBe('t|21');
    expect(paused.reached.lastCommit).toBe(at.time);
    recoveries.psql(paused, 'SELECT pg_wal_replay_resume()');
    await untilPromoted(paused);
    recoveries.end(paused.dataDir);
    const latest = await recoveries.recover(stage, '--latest', '--action', 'pause');
    expect(recoveries.psql(latest, 'SELECT pg_is_in_recovery(), count(*) FROM marks')).toBe(
      `t|${commits.length}`,
    );
    expect(recoveries.psql(latest, 'SELECT pg_promote()')).toBe('t');
    recoveries.end(latest.dataDir);
  });

  async function untilPromoted(json: Parameters<RecoveryGround['psql']>[0]): Promise<void> {
    while (recoveries.psql(json, 'SELECT pg_is_in_recovery()') !== 'f') await sleep(50);
  }

  it('stops the server again when told to', async () => {
    const json = await recoveries.recover(stage, '--latest', '--action', 'shutdown');
    expect(existsSync(path.join(json.dataDir, 'postmaster.pid'))).toBe(false);
    expect(readFileSync(path.join(json.dataDir, 'lifeboat_recovery.log'), 'utf8')).toMatch(
      /database system is shut down/,
    );
  });

  it('refuses a folder that is not empty, a live data directory above all', async () => {
    const { dataDir } = ground().postgres;
    const { end, json } = await recoveries.run(stage, ['--latest', '--data-dir', dataDir]);
    expect([end.status, json.error?.code]).toEqual([3, 'RESTORE_REFUSED']);
    expect(await sql('SELECT 1')).toBe('1');
  });
});
