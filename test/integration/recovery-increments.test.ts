import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DeleteObjectCommand } from '@aws-sdk/client-s3';
import { parseLsn } from '../../lib/domain/wal/lsn.ts';
import { verdictKey } from '../../lib/domain/wal/verdicts.ts';
import { readDocument, runnableBlocks } from '../docs/markdown.ts';
import { postgres17WithTools } from '../postgres-server.ts';
import { checksumOf, createTablespace, prefixOf, type BaseBackupJson } from './base-backup-fixture.ts';
import { Stage, useGround } from './backup-fixture.ts';
import { RecoveryGround, type RecoveryJson } from './recovery-fixture.ts';
import { flushLsn, nameOfSegment, startStream, stopStream, untilHeld, WAL_SERVER } from './wal-fixture.ts';

interface State {
  readonly time: string;
  readonly tables: readonly string[];
  readonly sums: readonly string[];
}

const binDir = postgres17WithTools();

describe('A recovery from incremental base backups', () => {
  const ground = useGround({
    initdbArgs: WAL_SERVER.initdbArgs,
    settings: { ...WAL_SERVER.settings, summarize_wal: 'on' },
    binDir,
  });
  let stage: Stage;
  let recoveries: RecoveryGround;
  const backups: BaseBackupJson[] = [];
  const states: State[] = [];

  const sql = (text: string): Promise<string> => ground().postgres.psql('postgres', text);
  const labels = (count: number): string[] => backups.slice(0, count).map(({ label }) => label);

  async function backUp(): Promise<void> {
    // Labels have seconds.
    await sleep(1000 - (Date.now() % 1000));
    const end = await stage.run(['backup', '--kind', 'base', '--json']);
    if (end.status !== 0) throw new Error(end.printed);
    backups.push(end.json() as BaseBackupJson);
  }

  async function write(statements: string, tables: readonly string[]): Promise<void> {
    await sql(`BEGIN; ${statements}; INSERT INTO marks VALUES (${states.length}); COMMIT`);
    const time = await sql(
      `SELECT to_char(pg_xact_commit_timestamp(xmin) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') FROM marks WHERE n = ${states.length}`,
    );
    const sums: string[] = [];
    for (const table of tables) sums.push(await sql(checksumOf(table)));
    states.push({ time, tables, sums });
  }

  beforeAll(async () => {
    stage = await Stage.set(ground(), { BASE_INCREMENTAL: 'on' });
    recoveries = new RecoveryGround(ground().postgres);
    await createTablespace(ground(), 'early');
    await sql(
      `CREATE TABLE marks (n int); CREATE TABLE dropped AS SELECT generate_series(1, 3000) n;
       CREATE TABLE early (n int) TABLESPACE early; CREATE TABLE shrinks AS SELECT generate_series(1, 9000) n;
       CREATE TABLE changed AS SELECT i AS id, repeat(md5(i::text), 20) AS body FROM generate_series(1, 9000) i`,
    );
    await sql('CREATE INDEX ON changed (id)');
    await sql('VACUUM FREEZE');
    const stream = await startStream(stage);
    await backUp();
    await createTablespace(ground(), 'later');
    await write(
      `UPDATE changed SET body = 'first' WHERE id % 100 = 1; CREATE TABLE later TABLESPACE later AS SELECT generate_series(1, 5000) n; INSERT INTO early VALUES (1)`,
      ['marks', 'changed', 'later', 'early', 'dropped'],
    );
    await backUp();
    await sql('DROP TABLE early; DROP TABLESPACE early; DELETE FROM shrinks WHERE n > 50');
    await sql('VACUUM shrinks');
    await write(
      `UPDATE changed SET body = 'second' WHERE id % 100 = 2; INSERT INTO later VALUES (0); DROP TABLE dropped; CREATE TABLE grown AS SELECT generate_series(1, 9000) n`,
      ['marks', 'changed', 'later', 'shrinks', 'grown'],
    );
    await backUp();
    await write(`UPDATE changed SET body = 'third' WHERE id % 100 < 3; TRUNCATE grown`, [
      'marks',
      'changed',
      'later',
      'shrinks',
      'grown',
    ]);
    await untilHeld(stage, await flushLsn(ground().postgres));
    await stopStream(stream);
    expect(backups.map(({ type }) => type)).toEqual(['full', 'incremental', 'incremental']);
  });

  afterAll(() => recoveries?.remove());

  function expectState(json: RecoveryJson, { tables, sums }: State): void {
    expect(tables.map((table) => recoveries.psql(json, checksumOf(table)))).toEqual(sums);
  }

  const expectNothing = (dataDir: string): void => {
    expect([existsSync(dataDir), existsSync(`${dataDir}_tablespaces`)]).toEqual([false, false]);
  };

  /** The server's programs, with a pg_combinebackup that is absent or another. */
  function programsWith(combiner: string | undefined): { PG_BIN_DIR: string } {
    const folder = recoveries.folder();
    recoveries.makeFolder(folder);
    const scripts = {
      postgres: `exec '${ground().postgres.binDir}/postgres' "$@"`,
      pg_combinebackup: combiner,
    };
    for (const [name, script] of Object.entries(scripts)) {
      if (script !== undefined)
        writeFileSync(path.join(folder, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    }
    execFileSync('chmod', ['755', folder]);
    return { PG_BIN_DIR: folder };
  }

  it('combines the newest chain before the target, with tablespaces that came and went', async () => {
    const json = await recoveries.recover(stage, '--to-time', states[2]!.time);
    expect(json).toMatchObject({ base: labels(3)[2], chain: labels(3) });
    expectState(json, states[2]!);
    const links = readdirSync(path.join(json.dataDir, 'pg_tblspc'));
    expect(links).toHaveLength(1);
    expect(readlinkSync(path.join(json.dataDir, 'pg_tblspc', links[0]!))).toBe(
      `${json.dataDir}_tablespaces/${links[0]}`,
    );
    expect(readdirSync(`${json.dataDir}_tablespaces`)).toEqual(links);
    expect(readdirSync(json.dataDir).filter((name) => name.startsWith('lifeboat_'))).toEqual([
      'lifeboat_recovery.log',
    ]);
    recoveries.end(json.dataDir);
  });

  it('takes an increment by its name, a full one before the first increment, and leaves every page whole', async () => {
    const named = await recoveries.recover(
      stage,
      '--base',
      labels(2)[1]!,
      '--latest',
      '--action',
      'shutdown',
    );
    expect(named).toMatchObject({ chain: labels(2), verifiedFiles: expect.any(Number) as number });
    const checked = execFileSync(path.join(binDir, 'pg_checksums'), ['--check', named.dataDir], {
      encoding: 'utf8',
    });
    expect(checked).toMatch(/Bad checksums: +0/);
    const early = await recoveries.run(stage, ['--to-time', states[0]!.time, '--dry-run']);
    expect(early.json).toMatchObject({ chain: labels(1) });
    const planned = (await recoveries.run(stage, ['--latest', '--dry-run'])).json as PlanJson;
    expect(planned.bytes.disk).toBeGreaterThan(planned.bytes.baseRaw + planned.bytes.combined);
    expect(planned.bytes.combined).toBeGreaterThan(planned.bytes.baseRaw / 2);
  });

  it('takes the full one and more WAL, with a warning, where pg_combinebackup is missing', async () => {
    const without = programsWith(undefined);
    const dataDir = recoveries.folder();
    const { end, json } = await recoveries.run(stage, ['--latest', '--data-dir', dataDir], without);
    expect(end.printed).toMatch(/has no pg_combinebackup of PostgreSQL 17.* is taken instead/);
    expect(json).toMatchObject({ succeeded: true, chain: labels(1) });
    expectState(json, states[2]!);
    recoveries.end(dataDir);
    const asked = await recoveries.run(stage, ['--latest', '--dry-run', '--base', labels(3)[2]!], without);
    expect([asked.end.status, asked.json.error?.code]).toEqual([3, 'RESTORE_REFUSED']);
    expect(asked.json.error?.message).toMatch(/is an incremental backup, and .* has no pg_combinebackup/);
  });

  it('goes on from before a member that is missing, with a warning', async () => {
    const volume = `${prefixOf(backups[1]!)}base-00001.tar.zst`;
    const body = await stage.object(volume);
    await remove(volume);
    try {
      const { json } = await recoveries.run(stage, ['--to-time', states[2]!.time, '--dry-run']);
      expect(json).toMatchObject({ succeeded: true, chain: labels(1) });
      const { warnings } = json as RecoveryJson & { warnings: string[] };
      expect(warnings[0]).toContain(`${labels(3)[2]} cannot be used, chain broken: ${labels(2)[1]}`);
      const asked = await recoveries.run(stage, ['--latest', '--dry-run', '--base', labels(3)[2]!]);
      expect([asked.end.status, asked.json.error?.code]).toEqual([3, 'RESTORE_REFUSED']);
    } finally {
      await stage.put(volume, body);
    }
  });

  it('is made anew in full, or on an earlier one, where a verification found that damaged which it would build upon', async () => {
    const [first, , third] = backups.map(({ label, systemIdentifier }) =>
      verdictKey({
        app: 'hostmaster',
        systemIdentifier,
        object: label,
        at: '2026-01-17T02:00:00.000Z',
        found: 'damaged',
      }),
    );
    const parent = async (): Promise<unknown> =>
      ((await stage.run(['backup', '--kind', 'base', '--dry-run', '--json'])).json() as { parent: unknown })
        .parent;
    await stage.put(third!, Buffer.from('{}'));
    expect(await parent()).toBe(labels(2)[1]);
    await stage.put(first!, Buffer.from('{}'));
    expect(await parent()).toBeNull();
    for (const key of [first!, third!]) await remove(key);
  });

  async function remove(key: string): Promise<void> {
    const object = { Bucket: stage.bucket, Key: `${stage.prefix}/${key}` };
    await ground().client.send(new DeleteObjectCommand(object));
  }

  it('refuses a member that is damaged inside, says from what to recover, and leaves nothing', async () => {
    const dataDir = recoveries.folder();
    ground().s3.faults.add({
      bucket: stage.bucket,
      action: 'GetObject',
      key: `${stage.prefix}/${prefixOf(backups[1]!)}base-00001.tar.zst`,
      times: 'always',
      effect: { kind: 'flip-response', offset: 5000 },
    });
    const { end, json } = await recoveries.run(stage, ['--latest', '--data-dir', dataDir]);
    expect([end.status, json.error?.code]).toEqual([7, 'CORRUPT']);
    expect(json.error?.hint).toContain(`--base ${labels(1)[0]}`);
    expectNothing(dataDir);
  });

  it('says what pg_combinebackup said, and leaves nothing', async () => {
    const dataDir = recoveries.folder();
    const failing = programsWith(
      `[ "$1" = --version ] && exec '${binDir}/pg_combinebackup' --version; echo 'pg_combinebackup: error: it is Monday' >&2; exit 1`,
    );
    const { end, json } = await recoveries.run(stage, ['--latest', '--data-dir', dataDir], failing);
    expect([end.status, json.error?.code]).toEqual([4, 'RESTORE_FAILED']);
    expect(json.error?.message).toContain('ended with status 1: pg_combinebackup: error: it is Monday');
    expectNothing(dataDir);
  });

  it('can be killed or interrupted while backups are combined, and started again', async () => {
    const dataDir = recoveries.folder();
    const slow = programsWith(
      `[ "$1" = --version ] && exec '${binDir}/pg_combinebackup' --version; while :; do sleep 0.1; done`,
    );
    const killed = stage.start(['restore', '--latest', '--data-dir', dataDir], slow);
    await killed.untilPrinted(/Combining 3 base backups/);
    const pidFile = path.join(dataDir, 'lifeboat_chain', 'combiner.pid');
    while (!existsSync(pidFile)) await sleep(20);
    killed.kill('SIGKILL');
    await killed.ended;
    const again = stage.start(['restore', '--latest', '--data-dir', dataDir], slow);
    await again.untilPrinted(/Combining 3 base backups/);
    again.killGroup('SIGINT');
    expect((await again.ended).status).toBe(130);
    // The killed one had made the folder.
    expect(readdirSync(dataDir)).toEqual([]);
    const { end, json } = await recoveries.run(stage, ['--latest', '--data-dir', dataDir]);
    expect([end.status, json.base]).toEqual([0, labels(3)[2]]);
    expectState(json, states[2]!);
    recoveries.end(dataDir);
  });

  it('can be combined by hand with the commands of the runbook', async () => {
    const place = path.join(recoveries.root, 'by-hand');
    for (const { label, ...backup } of backups) {
      const stored = path.join(place, 'stored', label);
      mkdirSync(stored, { recursive: true });
      const prefix = prefixOf({ ...backup, label });
      for (const key of await stage.keys()) {
        if (key.startsWith(prefix))
          writeFileSync(path.join(stored, key.slice(prefix.length)), await stage.object(key));
      }
    }
    recoveries.give(place);
    const script = runnableBlocks(readDocument('docs/runbook.md'))
      .get('combine')!
      .replace('hostmaster_base_20260118_020000 hostmaster_base_20260119_020000', labels(3).join(' '))
      .replaceAll('/srv/recovery', place);
    const said = recoveries.runAsServer('bash', ['--norc', '-c', script]);
    expect(said).toContain('backup successfully verified');
    expect(readdirSync(place).toSorted()).toEqual([
      'data',
      expect.stringMatching(/^data\.ts-\d+$/),
      'stored',
    ]);
    const data = path.join(place, 'data');
    expect(readFileSync(path.join(data, 'tablespace_map'), 'utf8')).toMatch(
      new RegExp(`^\\d+ ${place}/data\\.ts-\\d+\n$`),
    );
    const server = await startOn(data);
    expect(recoveries.psql(server, 'SELECT max(n) FROM marks')).toBe('1');
    recoveries.end(data);
  });

  /** It replays the WAL that came with the last backup, and opens. */
  async function startOn(dataDir: string): Promise<{ socketDir: string; port: number }> {
    const settings = [`unix_socket_directories=${dataDir}`, 'listen_addresses=', 'port=5432'];
    const args = [
      '-D',
      dataDir,
      '-l',
      path.join(dataDir, 'start.log'),
      '-w',
      '-o',
      settings.map((each) => `-c ${each}`).join(' '),
    ];
    recoveries.runAsServer('pg_ctl', [...args, 'start']);
    return { socketDir: dataDir, port: 5432 };
  }

  it('needs pg_combinebackup where WAL between the full one and the increments is missing', async () => {
    // The backup itself holds WAL to its end.
    const ended = nameOfSegment(parseLsn(backups[0]!.stopLsn) - 1n);
    const [held] = (await stage.keys())
      .filter((key) => /\/wal\/00000001\/[0-9A-F]{24}\.zst$/.test(key))
      .filter((key) => path.basename(key) > `${ended}.zst`)
      .toSorted();
    // The journal has its pieces.
    const segment = path.basename(held!, '.zst');
    for (const key of await stage.keys()) if (key.includes(segment)) await remove(key);
    const without = await recoveries.run(stage, ['--latest', '--dry-run'], programsWith(undefined));
    expect([without.end.status, without.json.error?.code]).toEqual([3, 'RESTORE_REFUSED']);
    expect(without.json.error?.message).toMatch(/no full one leads to the latest commit/);
    const json = await recoveries.recover(stage, '--latest');
    expect(json).toMatchObject({ chain: labels(3) });
    expectState(json, states[2]!);
    recoveries.end(json.dataDir);
  });
});

type PlanJson = RecoveryJson & {
  readonly bytes: { readonly disk: number; readonly baseRaw: number; readonly combined: number };
};
