import { POSTGRES_MAJORS, postgresBinDir } from '../postgres-server.ts';
import { checksumOf, createTablespace } from './base-backup-fixture.ts';
import { Stage, useGround } from './backup-fixture.ts';
import { RecoveryGround } from './recovery-fixture.ts';
import { flushLsn, startStream, stopStream, untilHeld, WAL_SERVER } from './wal-fixture.ts';

const TABLES = ['marks', 'apart', 'changed'];

describe.each(POSTGRES_MAJORS)('Point-in-time recovery of PostgreSQL %s', (major) => {
  const ground = useGround({ ...WAL_SERVER, binDir: postgresBinDir(major) });
  let recoveries: RecoveryGround;

  afterAll(() => recoveries?.remove());

  const sql = (text: string): Promise<string> => ground().postgres.psql('postgres', text);

  /** A transaction that every table has a part in. @returns when it was committed */
  async function write(n: number): Promise<string> {
    await sql(
      `BEGIN; INSERT INTO marks VALUES (${n}, md5(random()::text)); INSERT INTO apart SELECT ${n}, i FROM generate_series(1, 500) i;
       UPDATE changed SET n = n + ${n} WHERE id % 7 = ${n % 7}; COMMIT`,
    );
    return await commitTimeOf(n);
  }

  async function commitTimeOf(n: number): Promise<string> {
    const time = `pg_xact_commit_timestamp(xmin) AT TIME ZONE 'UTC'`;
    return await sql(`SELECT to_char(${time}, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') FROM marks WHERE n = ${n}`);
  }

  it('leads from a base backup and streamed WAL to an instant, and to the last commit', async () => {
    const stage = await Stage.set(ground(), {});
    recoveries = new RecoveryGround(ground().postgres);
    await createTablespace(ground(), 'aside');
    await sql(
      `CREATE TABLE marks (n int, text text); CREATE TABLE apart (n int, i int) TABLESPACE aside;
       CREATE TABLE changed AS SELECT i AS id, 0 AS n FROM generate_series(1, 5000) i; CREATE INDEX ON changed (n)`,
    );
    const stream = await startStream(stage);
    await write(1);
    const backup = await stage.run(['backup', '--kind', 'base', '--json']);
    expect([backup.status, backup.printed]).toEqual([0, expect.any(String)]);
    await write(2);
    const instant = await write(3);
    const expected = await Promise.all(TABLES.map((table) => sql(checksumOf(table))));
    await sql('DROP TABLE apart; CREATE TABLE apart AS SELECT 4 AS n');
    await sql('INSERT INTO marks VALUES (4)');
    const last = await commitTimeOf(4);
    await untilHeld(stage, await flushLsn(ground().postgres));
    await stopStream(stream);

    const earlier = await recoveries.recover(stage, '--to-time', instant);
    expect(earlier.reached.lastCommit).toBe(instant);
    expect(TABLES.map((table) => recoveries.psql(earlier, checksumOf(table)))).toEqual(expected);
    const version = recoveries.psql(earlier, `SELECT current_setting('server_version_num')::int / 10000`);
    expect(Number(version)).toBe(major);
    recoveries.psql(earlier, 'INSERT INTO marks VALUES (5)');
    recoveries.end(earlier.dataDir);

    const latest = await recoveries.recover(stage, '--latest');
    expect(latest.reached).toMatchObject({ lastCommit: last, endOfWal: true, timeline: 2 });
    expect(TABLES.map((table) => recoveries.psql(latest, checksumOf(table)))).toEqual(
      await Promise.all(TABLES.map((table) => sql(checksumOf(table)))),
    );
    recoveries.end(latest.dataDir);
  });
});
