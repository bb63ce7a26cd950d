import { createHash } from 'node:crypto';
import { lstatSync, readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { createTablespace, UNTIL_BACKED_UP } from './base-backup-fixture.ts';
import { Stage, useGround } from './backup-fixture.ts';
import { holdBaseBackups } from './held-line.ts';
import { RecoveryGround } from './recovery-fixture.ts';
import { flushLsn, startStream, stopStream, untilHeld, WAL_SERVER } from './wal-fixture.ts';

function fingerprint(folder: string): string[] {
  return readdirSync(folder, { recursive: true })
    .map((name) => path.join(folder, String(name)))
    .filter((file) => statSync(file).isFile())
    .map((file) => `${file} ${createHash('sha256').update(readFileSync(file)).digest('hex')}`)
    .toSorted();
}

describe('A recovery past CREATE TABLESPACE, beside the live cluster', () => {
  const ground = useGround(WAL_SERVER);
  let recoveries: RecoveryGround | undefined;

  afterAll(() => recoveries?.remove());

  it('makes the tablespace inside the recovered cluster, and leaves the live one’s files as they are', async () => {
    const { postgres } = ground();
    const sql = (text: string): Promise<string> => postgres.psql('postgres', text);
    const stage = await Stage.set(ground(), {});
    recoveries ??= new RecoveryGround(postgres);
    const backup = await stage.run(['backup', '--kind', 'base', '--json']);
    if (backup.status !== 0) throw new Error(backup.printed);
    const agent = await startStream(stage);
    const location = await createTablespace(ground(), 'later');
    const oid = await sql(`SELECT oid FROM pg_tablespace WHERE spcname = 'later'`);
    await sql(
      'CREATE TABLE late (n int PRIMARY KEY USING INDEX TABLESPACE later) TABLESPACE later; INSERT INTO late SELECT generate_series(1, 1000)',
    );
    const lsn = await sql('SELECT pg_current_wal_insert_lsn()');
    await sql('UPDATE late SET n = -n; INSERT INTO late SELECT generate_series(1, 4000); CHECKPOINT');
    await untilHeld(stage, await flushLsn(postgres));
    await stopStream(agent);
    await postgres.stop();
    const before = fingerprint(location);
    const { end, json } = await recoveries.run(stage, [
      '--to-lsn',
      lsn,
      '--exclusive',
      '--data-dir',
      recoveries.folder(),
    ]);
    expect({ ...end, live: fingerprint(location) }).toMatchObject({ status: 0, live: before });
    expect(end.printed).toContain(`${location} was made after the base backup: pg_tblspc/${oid}`);
    expect(recoveries.psql(json, 'SELECT count(*), min(n), max(n) FROM late')).toBe('1000|1|1000');
    recoveries.psql(json, 'INSERT INTO late VALUES (0); CHECKPOINT');
    expect(lstatSync(path.join(json.dataDir, 'pg_tblspc', oid)).isDirectory()).toBe(true);
    expect(fingerprint(location)).toEqual(before);
    recoveries.end(json.dataDir);
    const paused = await recoveries.recover(stage, '--to-lsn', lsn, '--exclusive', '--action', 'pause');
    recoveries.restart(paused.dataDir);
    expect(recoveries.psql(paused, 'SELECT pg_is_in_recovery(), count(*) FROM late')).toBe('t|1000');
    recoveries.end(paused.dataDir);
    await postgres.start();
    expect(await sql('SELECT count(*), min(n), max(n) FROM late')).toBe('5000|-1000|4000');
  });

  it('goes on where the tablespace was made while the base backup ran', async () => {
    const { postgres } = ground();
    recoveries ??= new RecoveryGround(postgres);
    const stage = await Stage.set(ground(), {});
    const line = await holdBaseBackups(postgres);
    const backup = stage.start(['backup', '--kind', 'base'], line.env);
    const location = await createTablespace(ground(), 'meanwhile', [
      UNTIL_BACKED_UP,
      'CREATE TABLE meanwhile TABLESPACE meanwhile AS SELECT generate_series(1, 700) AS n; CHECKPOINT',
    ]);
    line.release();
    const { status, printed } = await backup.ended;
    line.close();
    expect({ status, printed }).toMatchObject({ status: 0 });
    const before = fingerprint(location);
    const json = await recoveries.recover(stage, '--latest');
    // Its record lies in the WAL that came with the base backup, before the backup's end.
    expect(recoveries.psql(json, 'SELECT count(*) FROM meanwhile')).toBe('700');
    expect(recoveries.psql(json, 'SHOW allow_in_place_tablespaces')).toBe('on');
    recoveries.psql(json, 'INSERT INTO meanwhile VALUES (0); CHECKPOINT');
    recoveries.end(json.dataDir);
    expect(fingerprint(location)).toEqual(before);
    expect(await postgres.psql('postgres', 'SELECT count(*) FROM meanwhile')).toBe('700');
  });
});
