import { setTimeout as sleep } from 'node:timers/promises';
import { postgresBinDir, usePostgres, type PostgresServer } from '../postgres-server.ts';
import { Stage, useGround } from './backup-fixture.ts';
import { RecoveryGround } from './recovery-fixture.ts';
import {
  endStreams,
  flushLsn,
  startStream,
  stopStream,
  systemIdentifier,
  untilHeld,
  WAL_SERVER,
  writeSegments,
} from './wal-fixture.ts';

const settings = { ...WAL_SERVER.settings, fsync: 'off' };

/** Until S3 holds all the WAL that there is now: only then the stream confirms it. */
async function untilConfirmed(server: PostgresServer): Promise<void> {
  const flushed = await server.psql('postgres', 'SELECT pg_current_wal_flush_lsn()');
  const question = `SELECT bool_or(flush_lsn >= '${flushed}') FROM pg_stat_replication`;
  while ((await server.psql('postgres', question)) !== 't') await sleep(50);
}

describe('A cluster that takes the place of another, of a later major and with an identifier of its own', () => {
  const ground = useGround({ ...WAL_SERVER, binDir: postgresBinDir(16) });
  const upgraded = usePostgres({ ...WAL_SERVER, settings, binDir: postgresBinDir(17) });
  let recoveries: RecoveryGround;

  afterEach(() => endStreams(upgraded()));
  afterAll(() => recoveries?.remove());

  it('gets a slot and a base backup at once, the latest is its own, and the old one’s times stay restorable', async () => {
    const stage = await Stage.set(ground(), { BASE_INCREMENTAL: 'on' });
    recoveries = new RecoveryGround(ground().postgres);
    const old = ground().postgres;
    // Its WAL is ahead of the new one's: neither LSNs nor timelines tell which cluster is the newer.
    await writeSegments(old, 20);
    await old.psql('postgres', 'CREATE TABLE marks (n int)');
    const first = await startStream(stage);
    const backup = await stage.run(['backup', '--kind', 'base', '--json']);
    expect(backup.status).toBe(0);
    await old.psql('postgres', 'INSERT INTO marks VALUES (1)');
    const time = await old.psql(
      'postgres',
      `SELECT to_char(pg_xact_commit_timestamp(xmin) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') FROM marks`,
    );
    await untilHeld(stage, await flushLsn(old));
    await stopStream(first);
    await old.stop();

    await upgraded().psql('postgres', 'CREATE TABLE marks AS SELECT generate_series(1, 2) AS n');
    const second = await startStream(stage, { ...upgraded().env }, '--adopt-series');
    await second.untilPrinted(/Base backup made/);
    await upgraded().psql('postgres', 'INSERT INTO marks VALUES (3)');
    const status = await stage.run(['wal', 'status', '--json'], { ...upgraded().env });
    expect(status.json()).toMatchObject({ systemIdentifier: await systemIdentifier(upgraded()) });
    await untilConfirmed(upgraded());
    const printed = await stopStream(second);
    expect(printed).toMatch(/is another cluster now: \d+ instead of \d+/);
    expect(printed).toMatch(/Slot lifeboat_hostmaster created/);

    const later = { PG_BIN_DIR: upgraded().binDir };
    const dataDir = recoveries.folder();
    const latest = await recoveries.run(stage, ['--latest', '--data-dir', dataDir], later);
    expect([latest.end.status, recoveries.psql(latest.json, 'SELECT count(*) FROM marks')]).toEqual([0, '3']);
    recoveries.end(dataDir);
    const before = await recoveries.recover(stage, '--to-time', time);
    expect(recoveries.psql(before, 'SELECT count(*) FROM marks')).toBe('1');
    recoveries.end(before.dataDir);
    const wrong = await recoveries.run(stage, ['--to-time', time, '--dry-run'], later);
    expect([wrong.end.status, wrong.json.error?.code]).toEqual([3, 'HOST_DIFFERS']);
    expect(wrong.json.error?.message).toContain('is of PostgreSQL 16; found 17');
  });
});
