import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { eventually } from '../agent/replication/fixture.ts';
import { isAlive, type AgentEnd, type RunningAgent } from './agent-process.ts';
import { Stage, useGround, type Ground } from './backup-fixture.ts';
import type { PostgresServer } from '../postgres-server.ts';
import { postmasterOf } from './recovery-fixture.ts';
import { DebianCluster } from './debian-cluster.ts';
import { heldObjects, startStream, stopStream, untilHeld } from './wal-fixture.ts';
import { parseLsn } from '../../lib/domain/wal/lsn.ts';

interface InPlaceJson {
  readonly before: string | null;
  readonly recovered: string;
  readonly service: { readonly kind: string };
  readonly reached: { readonly timeline: number; readonly lastCommit: string };
  readonly durationsMs: { readonly downtime: number };
  readonly error?: { readonly code: string; readonly message: string; readonly hint: string };
}

interface WalStatusJson {
  readonly storedLsn: string;
  readonly lastCommit: { readonly time: string };
  readonly window: { readonly latest: { readonly time: string } };
}

/** What happened to the live cluster: a table that a migration dropped, later than `good`. */
describe('lifeboat restore --in-place on Debian', () => {
  const ground = useGround();
  let cluster: DebianCluster;
  let stage: Stage;
  let stream: RunningAgent;
  let good = '';
  let space = '';
  let archive = '';

  const restore = async (
    args: readonly string[],
    env = {},
  ): Promise<{ end: AgentEnd; json: InPlaceJson }> => {
    const end = await stage.run(['restore', '--in-place', ...args, '--json'], env);
    return { end, json: end.json() as InPlaceJson };
  };
  const inPlace = async (...args: readonly string[]): Promise<InPlaceJson> => {
    const { end, json } = await restore(args);
    if (end.status !== 0) throw new Error(`restore ended with ${end.status}:\n${end.printed}`);
    return json;
  };
  const tables = (): Promise<string> =>
    cluster.psql(
      `SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class WHERE relname IN ('users', 'elsewhere', 'later')`,
    );
  const newest = (): Promise<string> => cluster.psql('SELECT max(n) FROM users');
  const lsn = async (): Promise<bigint> => parseLsn(await cluster.psql('SELECT pg_current_wal_flush_lsn()'));
  const beside = (): string[] => readdirSync(path.dirname(cluster.dataDir)).toSorted();

  /** The recovered cluster's is the newest: nobody may take it for the live one's unawares. */
  const expectOldTimelineGoesOn = async (): Promise<void> => {
    const latest = ['restore', '--latest', '--dry-run', '--json'];
    const early = (await stage.run(latest)).json() as InPlaceJson;
    expect(early.error?.message).toMatch(
      /timeline 1 was put in place again at .* Timeline 2, the newest, ends with /,
    );
    stream = await startStream(stage, { WAL_JOURNAL_SECONDS: '1' });
    await cluster.psql('CREATE TABLE since AS SELECT 1 AS n');
    const written = await lsn();
    await untilHeld(stage, written);
    const told = (await stage.run(['wal', 'status', '--json'])).json() as WalStatusJson;
    expect(parseLsn(told.storedLsn) >= written).toBe(true);
    expect(told.window.latest.time).toBe(told.lastCommit.time);
    const { error } = (await stage.run(latest)).json() as InPlaceJson;
    expect([error?.code, error?.hint]).toEqual([
      'TARGET_OUTSIDE_WINDOW',
      expect.stringMatching(/--timeline 1, .*--timeline 2, /),
    ]);
    expect(error?.message).toMatch(/timeline 1 has one of .*, which timeline 2, the newest, does not have/);
    const planned = await stage.run([...latest, '--timeline', '1']);
    expect([planned.status, planned.json()]).toEqual([0, expect.objectContaining({ timeline: 1 })]);
    await stopStream(stream);
  };

  beforeAll(async () => {
    cluster = await DebianCluster.create({
      wal_level: 'replica',
      max_connections: '37',
      archive_mode: 'on',
      archive_command: 'true',
    });
    archive = cluster.makeFolder('archive');
    space = cluster.makeFolder('space');
    await cluster.psql(`ALTER SYSTEM SET archive_command = 'cp %p ${archive}/%f'`);
    await cluster.psql('SELECT pg_reload_conf()');
    await cluster.psql(`CREATE TABLESPACE fast LOCATION '${space}'`);
    await cluster.psql('CREATE TABLE users AS SELECT generate_series(1, 500) AS n');
    await cluster.psql(`CREATE TABLESPACE gone LOCATION '${cluster.makeFolder('gone')}'`);
    await cluster.psql('CREATE TABLE elsewhere TABLESPACE fast AS SELECT generate_series(1, 7) AS n');
    stage = await Stage.set({ ...ground(), postgres: cluster } as unknown as Ground, {});
    stream = await startStream(stage, { WAL_JOURNAL_SECONDS: '1' });
    const backup = await stage.run(['backup', '--kind', 'base', '--json']);
    if (backup.status !== 0) throw new Error(backup.printed);
    await cluster.psql(
      'INSERT INTO users SELECT generate_series(501, 600); INSERT INTO elsewhere VALUES (8)',
    );
    await cluster.psql(`ALTER SYSTEM SET work_mem = '5MB'`);
    // Dropped before the target, yet in the base backup.
    await cluster.psql('DROP TABLESPACE gone');
    good = await cluster.psql(
      `SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`,
    );
    await cluster.psql('DROP TABLE users; CREATE TABLE later (n int); DROP TABLE elsewhere');
    // Another one in the same place.
    await cluster.psql('DROP TABLESPACE fast');
    await cluster.psql(`CREATE TABLESPACE fast LOCATION '${space}'`);
    await cluster.psql('CREATE TABLE elsewhere (n int) TABLESPACE fast');
    await untilHeld(stage, await lsn());
  });

  afterAll(async () => {
    await cluster?.remove();
  });

  it('shows its plan, and does nothing unless it is confirmed', async () => {
    const plan = await stage.run(['restore', '--to-time', good, '--in-place', '--dry-run']);
    expect(plan.status).toBe(0);
    expect(plan.stdout).toMatch(/service Debian cluster \d+\/main \(pg_ctlcluster\)/);
    expect(plan.stdout).toMatch(/stop {4}pg_ctlcluster \d+ main stop -m fast/);
    expect(plan.stdout).toContain(`In place of ${cluster.dataDir}: cluster `);
    const { end, json } = await restore(['--to-time', good]);
    expect([end.status, json.error?.code]).toEqual([2, 'USAGE']);
    expect(json.error?.hint).toContain('--yes');
    expect([beside(), await tables()]).toEqual([['main'], 'elsewhere later']);
  });

  it('puts the cluster of then in place; settings, archive and WAL stream go on, the old one is kept', async () => {
    const json = await inPlace('--to-time', good, '--yes');
    expect([json.service.kind, json.reached.timeline]).toEqual(['debian', 2]);
    expect(json.durationsMs.downtime).toBeLessThan(240_000);
    expect(await cluster.psql('SELECT count(*), max(n) FROM users')).toBe('600|600');
    expect(await cluster.psql('SELECT count(*) FROM elsewhere')).toBe('8');
    expect(
      await cluster.psql("SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'fast'"),
    ).toBe(space);
    const settings = [
      'work_mem',
      'max_connections',
      'archive_mode',
      'listen_addresses',
      'fsync',
      'wal_keep_size',
    ];
    const shown = await Promise.all(settings.map((name) => cluster.psql(`SHOW ${name}`)));
    expect(shown).toEqual(['5MB', '37', 'on', 'localhost', 'on', '0']);
    const before = json.before!;
    expect(beside().filter((name) => !name.includes('lifeboat'))).toEqual(['main', path.basename(before)]);
    const [link] = readdirSync(path.join(before, 'pg_tblspc'));
    expect(readlinkSync(path.join(before, 'pg_tblspc', link!))).toBe(
      path.join(space, path.basename(before).replace('main_', '')),
    );
    await cluster.psql('INSERT INTO users VALUES (601)');
    await stream.untilPrinted(/Streaming WAL of cluster \d+, timeline 2,/);
    await untilHeld(stage, await lsn(), 2);
    const objects = await heldObjects(stage);
    expect(objects.filter(({ parsed }) => parsed.role === 'hole')).toEqual([]);
    await cluster.psql('SELECT pg_switch_wal()');
    await eventually(() => expect(readdirSync(archive)).toContain('00000002.history'));
  });

  it('goes back to the old cluster, whose timeline goes on in S3, and to the recovered one again', async () => {
    await stopStream(stream);
    const unasked = await restore(['--undo']);
    expect([unasked.end.status, unasked.json.error?.code]).toEqual([2, 'USAGE']);
    expect(unasked.json.error?.message).toMatch(/Stop Debian cluster .* Put the old cluster into /);
    const dry = await restore(['--undo', '--yes', '--dry-run']);
    expect([dry.end.status, dry.json.error?.code, cluster.runs]).toEqual([2, 'USAGE', true]);
    expect(await newest()).toBe('601');
    const undone = await stage.run(['restore', '--in-place', '--undo', '--yes']);
    expect([undone.status, undone.printed]).toEqual([0, expect.stringContaining('S3 has two timelines')]);
    expect(await tables()).toBe('elsewhere later');
    expect(await cluster.psql('SELECT count(*) FROM elsewhere')).toBe('0');
    await expectOldTimelineGoesOn();
    await inPlace('--finish', '--yes', '--data-dir', cluster.dataDir);
    expect([await tables(), await cluster.psql('SELECT max(n) FROM users')]).toEqual([
      'elsewhere users',
      '601',
    ]);
  });

  it('puts the old cluster back when the recovered one does not start, and says how to go on', async () => {
    const { root, version } = cluster;
    const flag = (name: string): string => path.join(root, name);
    const hangs = (name: string): string => `while [ -e ${flag(name)} ]; do sleep 0.05; done\n`;
    const refuses = `[ -e ${flag('refuse')} ] && { rm ${flag('refuse')}; echo 'no certificate'; exit 1; }\n`;
    const stop = cluster.script('stop', `${hangs('no-stop')}exec pg_ctlcluster ${version} main stop`);
    const start = cluster.script(
      'start',
      `${refuses}${hangs('no-start')}exec pg_ctlcluster ${version} main start`,
    );
    const commands = ['--stop-command', stop, '--start-command', start];
    const target = ['--to-time', good, '--timeline', '1', '--yes'];
    writeFileSync(flag('refuse'), '');
    const { end, json } = await restore([...target, ...commands]);
    expect([end.status, json.error?.code]).toEqual([4, 'SERVICE_FAILED']);
    expect(json.error?.message).toMatch(
      /no certificate[^]*The old cluster is back in .* and accepts connections[^]*S3 has two timelines/,
    );
    expect(json.error?.hint).toContain(`lifeboat restore --in-place --finish --data-dir ${cluster.dataDir}`);
    expect(await newest()).toBe('601');
    const kill = async (when: RegExp, held: string): Promise<void> => {
      writeFileSync(flag(held), '');
      const agent = stage.start(['restore', '--in-place', '--finish', '--yes']);
      await agent.untilPrinted(when);
      agent.kill('SIGKILL');
      await agent.ended;
      rmSync(flag(held));
    };
    await kill(/Stopping the server/, 'no-stop');
    const next = await restore(target);
    expect([next.end.status, next.json.error?.code]).toEqual([3, 'IN_PLACE_UNFINISHED']);
    expect(next.json.error?.hint).toMatch(/--finish .*--undo/);
    await inPlace('--undo', '--yes');
    expect(await newest()).toBe('601');
    await kill(/Starting the server/, 'no-start');
    await inPlace('--finish', '--yes');
    expect(await newest()).toBe('600');
  });

  it('leaves the live cluster as it was when the recovery beside fails, or is interrupted', async () => {
    const names = beside();
    ground().s3.faults.add({
      bucket: stage.bucket,
      action: 'GetObject',
      key: '*/base-00001.tar.zst',
      times: 'always',
      effect: { kind: 'flip-response', offset: 5000 },
    });
    const { end, json } = await restore(['--to-time', good, '--timeline', '1', '--yes'], {
      AWS_MAX_ATTEMPTS: '1',
    });
    expect([end.status, json.error?.code]).toEqual([7, 'CORRUPT']);
    expect([beside(), cluster.runs, readdirSync(space).length]).toEqual([
      names,
      true,
      readdirSync(space).length,
    ]);
    expect(readdirSync(space).filter((name) => name.startsWith('recovered'))).toEqual([]);
  });

  it('recovers an empty host: data directory, tablespace and Debian’s configuration', async () => {
    cluster.stop();
    const hba = path.join(cluster.configDir, 'pg_hba.conf');
    const moved = path.join(cluster.root, 'lost');
    mkdirSync(moved);
    for (const folder of [path.dirname(cluster.dataDir), cluster.configDir, space])
      renameSync(folder, path.join(moved, path.basename(folder)));
    mkdirSync(cluster.configDir);
    writeFileSync(hba, 'local all all trust\nhost all all 127.0.0.1/32 trust\n');
    // Else the server's log would lie in Debian's place for it, which is none of a test's.
    symlinkSync(path.join(cluster.root, 'log/main.log'), path.join(cluster.configDir, 'log'));
    const json = await inPlace('--to-time', good, '--timeline', '1', '--yes');
    expect([json.service.kind, json.before]).toEqual(['debian', null]);
    expect(await cluster.psql('SELECT count(*) FROM users')).toBe('600');
    expect(await cluster.psql('SHOW work_mem')).toBe('4MB');
    const stored = path.join(moved, path.basename(cluster.configDir));
    expect(readFileSync(`${hba}.lifeboat`, 'utf8')).toBe(
      readFileSync(path.join(stored, 'pg_hba.conf'), 'utf8'),
    );
    expect(readFileSync(hba, 'utf8')).toMatch(/^local all all trust/);
    expect(readdirSync(cluster.configDir)).toEqual(
      expect.arrayContaining(['postgresql.conf', 'start.conf', 'pg_ctl.conf']),
    );
    expect(statSync(path.join(cluster.configDir, 'postgresql.conf')).uid).toBe(statSync(cluster.dataDir).uid);
  });
});

describe('lifeboat restore --in-place elsewhere', () => {
  const ground = useGround({ settings: { archive_mode: 'off' } });

  it('recovers a server of no service with pg_ctl, with the live one’s settings', async () => {
    const { postgres } = ground();
    const stage = await Stage.set(ground(), {});
    const backup = await stage.run(['backup', '--kind', 'base', '--json']);
    if (backup.status !== 0) throw new Error(backup.printed);
    const port = await postgres.psql('postgres', 'SHOW port');
    await postgres.psql('postgres', 'CREATE TABLE later (n int)');
    await postgres.psql('postgres', "ALTER SYSTEM SET work_mem = '5MB'");
    try {
      const end = await stage.run(['restore', '--in-place', '--immediate', '--yes', '--json']);
      if (end.status !== 0) throw new Error(end.printed);
      const json = end.json() as InPlaceJson & { readonly dataDir: string };
      expect([json.service.kind, json.dataDir, existsSync(json.before!)]).toEqual([
        'pg_ctl',
        postgres.dataDir,
        true,
      ]);
      const left = "SELECT count(*) FROM pg_class WHERE relname = 'later'";
      expect(await postgres.psql('postgres', left)).toBe('0');
      expect(await postgres.psql('postgres', 'SHOW port')).toBe(port);
      expect(await postgres.psql('postgres', 'SHOW work_mem')).toBe('5MB');
    } finally {
      await handBack(postgres);
    }
  });
});

/** The server that somebody else started is the harness' own again. */
async function handBack(postgres: PostgresServer): Promise<void> {
  const pid = postmasterOf(postgres.dataDir);
  if (pid !== undefined) {
    process.kill(pid, 'SIGINT');
    await eventually(() => expect(isAlive(pid)).toBe(false));
  }
  await postgres.start();
}
