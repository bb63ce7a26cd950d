import { Stage, useGround } from './backup-fixture.ts';
import { RecoveryGround } from './recovery-fixture.ts';
import { flushLsn, startStream, stopStream, untilHeld, WAL_SERVER } from './wal-fixture.ts';

/** Twice as large as PostgreSQL's own min_wal_size allows for. */
const SEGMENTS = {
  initdbArgs: ['--wal-segsize=64'],
  size: 64 * 1024 * 1024,
  settings: { min_wal_size: '128MB' },
};
/** More than PostgreSQL's own max_replication_slots allows for. */
const ORIGINS = { count: 12, settings: { max_replication_slots: '20' } };
/** More than a recovery has room for where the source had none. */
const PREPARED = 101;

describe('A recovery past a change of settings, of a cluster that has larger ones than PostgreSQL’s own', () => {
  const ground = useGround({
    initdbArgs: SEGMENTS.initdbArgs,
    settings: { ...WAL_SERVER.settings, ...SEGMENTS.settings, ...ORIGINS.settings },
  });
  let recoveries: RecoveryGround | undefined;

  afterAll(() => recoveries?.remove());

  it('raises them too, and goes on to its promotion or pause', async () => {
    const { postgres } = ground();
    const sql = (text: string): Promise<string> => postgres.psql('postgres', text);
    const stage = await Stage.set(ground(), {});
    recoveries = new RecoveryGround(postgres);
    await sql(`SELECT pg_replication_origin_create('o' || i) FROM generate_series(1, ${ORIGINS.count}) i`);
    await sql(
      `SELECT pg_replication_origin_advance('o' || i, '0/100') FROM generate_series(1, ${ORIGINS.count}) i`,
    );
    const backup = await stage.run(['backup', '--kind', 'base', '--json']);
    if (backup.status !== 0) throw new Error(backup.printed);
    const agent = await startStream(stage);
    const connections = Number(await sql('SHOW max_connections')) + 50;
    await sql(`ALTER SYSTEM SET max_connections = ${connections}`);
    await sql(`ALTER SYSTEM SET max_prepared_transactions = ${PREPARED}`);
    await postgres.restart();
    await sql('CREATE TABLE after_restart AS SELECT 1 AS n');
    const two = Array.from({ length: PREPARED }, (_none, i) => {
      return `BEGIN; INSERT INTO after_restart VALUES (${i}); PREPARE TRANSACTION 'p${i}';`;
    });
    await sql(two.join('\n'));
    await untilHeld(stage, await flushLsn(postgres), 1, SEGMENTS.size);
    await stopStream(agent);

    const json = await recoveries.recover(stage, '--latest');
    expect(recoveries.psql(json, 'SELECT n FROM after_restart')).toBe('1');
    expect(recoveries.psql(json, 'SELECT count(*) FROM pg_prepared_xacts')).toBe(String(PREPARED));
    expect(recoveries.psql(json, 'SELECT count(*) FROM pg_replication_origin_status')).toBe(
      String(ORIGINS.count),
    );
    recoveries.end(json.dataDir);

    const paused = await recoveries.recover(stage, '--latest', '--action', 'pause');
    expect(recoveries.psql(paused, 'SELECT n FROM after_restart')).toBe('1');
    expect(recoveries.psql(paused, 'SHOW max_connections')).toBe(String(connections));
    expect(recoveries.psql(paused, 'SELECT pg_is_in_recovery()')).toBe('t');
  });
});
