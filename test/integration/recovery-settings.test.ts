import { existsSync } from 'node:fs';
import { Stage, useGround } from './backup-fixture.ts';
import { RecoveryGround } from './recovery-fixture.ts';
import { flushLsn, startStream, stopStream, untilHeld, WAL_SERVER } from './wal-fixture.ts';

describe('A recovery past a change of max_connections', () => {
  const ground = useGround(WAL_SERVER);
  let recoveries: RecoveryGround | undefined;

  afterAll(() => recoveries?.remove());

  it('goes on to its promotion, and says why it cannot pause for reading', async () => {
    const { postgres } = ground();
    const stage = await Stage.set(ground(), {});
    recoveries = new RecoveryGround(postgres);
    const backup = await stage.run(['backup', '--kind', 'base', '--json']);
    if (backup.status !== 0) throw new Error(backup.printed);
    const agent = await startStream(stage);
    const before = Number(await postgres.psql('postgres', 'SHOW max_connections'));
    await postgres.psql('postgres', `ALTER SYSTEM SET max_connections = ${before + 50}`);
    await postgres.restart();
    await postgres.psql('postgres', 'CREATE TABLE after_restart AS SELECT 1 AS n');
    await untilHeld(stage, await flushLsn(postgres));
    await stopStream(agent);
    const json = await recoveries.recover(stage, '--latest');
    expect(recoveries.psql(json, 'SELECT n FROM after_restart')).toBe('1');
    recoveries.end(json.dataDir);
    const dataDir = recoveries.folder();
    const paused = await recoveries.run(stage, ['--latest', '--action', 'pause', '--data-dir', dataDir]);
    expect([paused.end.status, paused.json.error?.code]).toEqual([4, 'RESTORE_FAILED']);
    expect(paused.json.error?.message).toMatch(/max_connections = \d+ is a lower setting/);
    expect(existsSync(dataDir)).toBe(false);
  });
});
