import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseLsn } from '../../lib/domain/wal/lsn.ts';
import { connect } from '../../scripts/agent/postgres/connection.ts';
import { connectReplication } from '../../scripts/agent/replication/connect.ts';
import { findLocalWal } from '../../scripts/agent/wal-archive/local-wal.ts';
import { openWalServer, walSenderName } from '../../scripts/agent/wal-archive/wal-server.ts';
import { eventually } from '../agent/replication/fixture.ts';
import { reloadConfiguration, type PostgresServer } from '../postgres-server.ts';
import { startAgent } from './agent-process.ts';
import { Stage, useGround, withMount } from './backup-fixture.ts';
import {
  compareWithServer,
  endStreams,
  expectNoGap,
  flushLsn,
  heldObjects,
  heldTo,
  keepWriting,
  nameOfSegment,
  slotOf,
  startStream,
  stopStream,
  systemIdentifier,
  untilHeld,
  walMetadata,
  WAL_SERVER,
  writeRound,
  writeSegments,
} from './wal-fixture.ts';

const MIB = 1024 * 1024;

const serverSettings = ({ socketDir: host, port, superuser: user, password }: PostgresServer) => ({
  host,
  port,
  name: 'postgres',
  user,
  password,
  binDir: undefined,
});

describe('lifeboat wal stream', () => {
  const ground = useGround(WAL_SERVER);

  afterEach(async () => {
    await endStreams(ground().postgres);
  });

  it('stores complete segments and the open one’s new bytes, each as the server has them', async () => {
    const stage = await Stage.set(ground(), {});
    const { postgres } = ground();
    const agent = await startStream(stage);
    await writeSegments(postgres, 8);
    await writeRound(postgres, 'bulk', 1);
    await untilHeld(stage, await flushLsn(postgres));
    expect(await stopStream(agent)).toMatch(/Stopped; S3 holds all WAL before /);
    const counts = await compareWithServer(stage, postgres);
    expect(counts.segments).toBeGreaterThanOrEqual(8);
    expect(counts.pieces).toBeGreaterThanOrEqual(1);
    const identifiers = new Set(
      (await heldObjects(stage)).map(({ parsed }) => parsed.series.systemIdentifier),
    );
    expect([...identifiers]).toEqual([await systemIdentifier(postgres)]);
  });

  it('ends the open segment where its role may, and says which right is missing', async () => {
    const { postgres } = ground();
    const file = 'SELECT pg_walfile_name(pg_current_wal_insert_lsn())';
    const open = (user: string, password: string) =>
      openWalServer({ ...serverSettings(postgres), user, password }, {});
    await postgres.psql('postgres', "CREATE ROLE weak LOGIN PASSWORD 'weak'");
    await postgres.psql('postgres', 'CREATE TABLE written AS SELECT 1');
    const before = await postgres.psql('postgres', file);
    const [strong, weak] = [open(postgres.superuser, postgres.password), open('weak', 'weak')];
    expect(await strong.switchWal()).toBe(true);
    await postgres.psql('postgres', 'DROP TABLE written');
    expect((await postgres.psql('postgres', file)) > before).toBe(true);
    await expect(weak.switchWal()).rejects.toThrow(/permission denied for function pg_switch_wal/);
    await Promise.all([strong.close(), weak.close()]);
  });

  it('asks in the database postgres, and only where it may not, in DB_NAME', async () => {
    const { postgres } = ground();
    await postgres.psql('postgres', "CREATE ROLE guest LOGIN PASSWORD 'guest'");
    await postgres.psql('postgres', 'CREATE DATABASE shop');
    const named = (name: string) => {
      const { socketDir: host, port } = postgres;
      const settings = { host, port, name, user: 'guest', password: 'guest', binDir: undefined };
      return openWalServer(settings, {});
    };
    const sessions = "SELECT DISTINCT datname FROM pg_stat_activity WHERE usename = 'guest'";
    const [gone, shop] = [named('no_such_database'), named('shop')];
    for (const server of [gone, shop]) expect(await server.heartbeat()).toBe(true);
    expect(await postgres.psql('postgres', sessions)).toBe('postgres');
    await Promise.all([gone.close(), shop.close()]);

    await postgres.psql('postgres', 'REVOKE CONNECT ON DATABASE postgres FROM PUBLIC');
    const [refused, taken] = [named('no_such_database'), named('shop')];
    await expect(refused.heartbeat()).rejects.toThrow(/database "no_such_database" does not exist/);
    expect(await taken.heartbeat()).toBe(true);
    // The server may still be about to end those of before.
    while ((await postgres.psql('postgres', sessions)) !== 'shop') await sleep(20);
    await Promise.all([refused.close(), taken.close()]);
    await postgres.psql('postgres', 'GRANT CONNECT ON DATABASE postgres TO PUBLIC');
    await postgres.psql('postgres', 'DROP DATABASE shop WITH (FORCE)');
  });

  it('asks over a connection that no time limit ends between two heartbeats', async () => {
    const { postgres } = ground();
    const { socketDir: host, port, superuser: user, password } = postgres;
    await postgres.psql('postgres', `ALTER SYSTEM SET idle_session_timeout = '1h'`);
    await reloadConfiguration(postgres);
    const settings = { host, port, name: undefined, user, password, binDir: undefined };
    const connection = await connect(settings, {}, 'postgres');
    expect(await connection.rows('SHOW idle_session_timeout')).toEqual([{ idle_session_timeout: '0' }]);
    await connection.close();
    await postgres.psql('postgres', 'ALTER SYSTEM RESET idle_session_timeout');
    await reloadConfiguration(postgres);
  });

  it('keeps up with a load, and never confirms what S3 does not hold', async () => {
    const stage = await Stage.set(ground(), {});
    const { postgres } = ground();
    const agent = await startStream(stage);
    const stop = keepWriting(postgres);
    let confirmed = 0n;
    for (let look = 0; look < 20; look += 1) {
      await sleep(Math.random() * 400);
      const flushed = await postgres.psql('postgres', 'SELECT flush_lsn FROM pg_stat_replication');
      const slot = await slotOf(postgres);
      // S3 only ever holds more: what it held a moment ago is in the list that follows.
      const held = heldTo(await heldObjects(stage), 1);
      if (flushed !== '' && held !== 0n) expect(parseLsn(flushed)).toBeLessThanOrEqual(held);
      if (held !== 0n) expect(slot!.restart!).toBeLessThanOrEqual(held);
      confirmed = slot!.restart!;
    }
    await stop();
    await untilHeld(stage, await flushLsn(postgres));
    await stopStream(agent);
    expect(confirmed).toBeGreaterThan(0n);
    expect((await compareWithServer(stage, postgres)).segments).toBeGreaterThan(3);
  });

  it('tells with every object the last commit in it', async () => {
    const stage = await Stage.set(ground(), {});
    const { postgres } = ground();
    const agent = await startStream(stage);
    await postgres.psql(
      'postgres',
      'CREATE TABLE IF NOT EXISTS marks (xid xid8 DEFAULT pg_current_xact_id())',
    );
    await postgres.psql('postgres', 'INSERT INTO marks DEFAULT VALUES');
    const expected = await postgres.psql(
      'postgres',
      `SELECT to_char(pg_xact_commit_timestamp(max(xid::text::bigint)::text::xid), 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') FROM marks`,
    );
    const lsn = await flushLsn(postgres);
    await untilHeld(stage, lsn);
    await stopStream(agent);
    const pieces = (await heldObjects(stage)).filter(({ parsed }) => parsed.role === 'journal');
    const commits = await Promise.all(
      pieces.map(async ({ key }) => (await walMetadata(stage, key)).lastCommit),
    );
    const last = commits
      .filter((each) => each !== undefined)
      .toSorted((a, b) => (a.lsn < b.lsn ? -1 : 1))
      .at(-1)!;
    expect(last.time).toBe(expected);
    expect(last.lsn).toBeLessThanOrEqual(lsn);
  });

  it('keeps the window of an idle database moving', async () => {
    const stage = await Stage.set(ground(), {});
    const agent = await startStream(stage, { WAL_HEARTBEAT_SECONDS: '1' });
    await untilHeld(stage, await flushLsn(ground().postgres));
    const before = new Set((await heldObjects(stage)).map(({ key }) => key));
    const commits = async (): Promise<number> => {
      const later = (await heldObjects(stage)).filter(({ key }) => !before.has(key));
      const metadata = await Promise.all(later.map(({ key }) => walMetadata(stage, key)));
      return metadata.filter(({ lastCommit }) => lastCommit !== undefined).length;
    };
    while ((await commits()) < 2) await sleep(100);
    await stopStream(agent);
  });

  it('goes on after a restart where S3’s pieces end', async () => {
    const stage = await Stage.set(ground(), {});
    const { postgres } = ground();
    for (let run = 1; run <= 3; run += 1) {
      const agent = await startStream(stage);
      await untilHeld(stage, await flushLsn(postgres));
      await writeRound(postgres, 'bulk', run);
      await sleep(300);
      // What is here goes to S3 before the end, however soon that comes.
      const lsn = await flushLsn(postgres);
      await stopStream(agent);
      expect(heldTo(await heldObjects(stage), 1)).toBeGreaterThanOrEqual(lsn);
    }
    await compareWithServer(stage, postgres);
  });

  it('takes a backlog from the server’s own files, killed meanwhile or not, and streams what comes behind it', async () => {
    const stage = await Stage.set(ground(), {});
    const { postgres } = ground();
    await stopStream(await startStream(stage));
    await writeSegments(postgres, 40);
    for (let kill = 1; kill <= 3; kill += 1) {
      const agent = stage.start(['wal', 'stream']);
      await agent.untilPrinted(/Catching up: \d+ segments from [0-9A-F/]+ on, read in \S+pg_wal, to s3:/);
      await sleep(Math.random() * 300);
      agent.kill('SIGKILL');
      await agent.ended;
      await writeSegments(postgres, 5);
    }
    const agent = await startStream(stage);
    await writeRound(postgres, 'bulk', 1);
    const written = await flushLsn(postgres);
    await untilHeld(stage, written);
    await eventually(async () => expect((await slotOf(postgres))?.restart).toBeGreaterThanOrEqual(written));
    await stopStream(agent);
    const objects = await heldObjects(stage);
    expectNoGap(objects, 1);
    expect((await compareWithServer(stage, postgres)).segments).toBeGreaterThan(50);
    const commits = objects
      .filter(({ parsed }) => parsed.role === 'wal')
      .map(({ key }) => walMetadata(stage, key));
    const told = (await Promise.all(commits)).flatMap(({ lastCommit }) => lastCommit?.lsn ?? []);
    expect(told.length).toBeGreaterThan(0);
    expect(told).toEqual(told.toSorted((one, other) => (one < other ? -1 : 1)));
  });

  it('reads no files but those of the very server that it talks to, and only while they are what they should be', async () => {
    const { postgres } = ground();
    const server = openWalServer(serverSettings(postgres), {});
    await writeSegments(postgres, 3);
    const { systemIdentifier: system, flushLsn: flushed } = await server.facts('none');
    const home = await server.home();
    const [last, before] = [1, 2].map((back) => nameOfSegment(flushed - BigInt(back * MIB)));
    const into = Buffer.alloc(MIB);
    const find = (changes: Partial<typeof home>) =>
      findLocalWal({ home: async () => ({ ...home, ...changes }) }, system);
    const local = await findLocalWal(server, system);
    expect(await local?.read({ timeline: 1, segment: last! }, into)).toBe('taken');
    expect(into.equals(readFileSync(path.join(postgres.dataDir, 'pg_wal', last!)))).toBe(true);
    expect(await local?.read({ timeline: 1, segment: nameOfSegment(flushed + 2n ** 32n) }, into)).toBe(
      'absent',
    );
    expect(await local?.read({ timeline: 1, segment: before! }, Buffer.alloc(2 * MIB))).toBe('unfit');
    // As the server keeps files for later use.
    const kept = nameOfSegment(flushed + 2n ** 34n);
    const files = path.join(postgres.dataDir, 'pg_wal');
    cpSync(path.join(files, before!), path.join(files, kept));
    expect(await local?.read({ timeline: 1, segment: kept }, into)).toBe('unfit');
    rmSync(path.join(files, kept));
    // Neither is followed nor waited for what whoever owns the folder may put there.
    symlinkSync(path.join(files, last!), path.join(files, kept));
    expect(await local?.read({ timeline: 1, segment: kept }, into)).toBe('unfit');
    rmSync(path.join(files, kept));
    execFileSync('mkfifo', [path.join(files, kept)]);
    expect(await local?.read({ timeline: 1, segment: kept }, into)).toBe('unfit');
    rmSync(path.join(files, kept));
    expect(await find({ pid: process.pid })).toBeUndefined();
    expect(await find({ pid: 2 ** 30 })).toBeUndefined();
    expect(await find({ startedAt: home.startedAt + 1000 })).toBeUndefined();
    expect(await find({ dataDirectory: undefined })).toBeUndefined();
    // In the place where the server says that its files are, another's may lie.
    const copy = mkdtempSync(path.join(tmpdir(), 'lifeboat-local-wal-'));
    expect(await find({ dataDirectory: copy })).toBeUndefined();
    cpSync(path.join(postgres.dataDir, 'postmaster.pid'), path.join(copy, 'postmaster.pid'));
    expect(await find({ dataDirectory: copy })).toBeUndefined();
    rmSync(copy, { recursive: true });
    await server.close();
  });

  it('leaves a backlog, and the files of a base backup, to a server whose folder of WAL is another one than is seen here', async () => {
    const stage = await Stage.set(ground(), {});
    const { postgres } = ground();
    await stopStream(await startStream(stage));
    await writeSegments(postgres, 10);
    const files = path.join(postgres.dataDir, 'pg_wal');
    const copy = mkdtempSync(path.join(tmpdir(), 'lifeboat-other-wal-'));
    cpSync(files, copy, { recursive: true });
    const through = withMount(`mount --bind '${copy}' '${files}'`);
    const agent = startAgent(['wal', 'stream'], { env: stage.env({ WAL_JOURNAL_SECONDS: '1' }), through });
    await agent.untilPrinted(/Streaming WAL of cluster/);
    await untilHeld(stage, await flushLsn(postgres));
    expect(await stopStream(agent)).not.toContain('Catching up');
    const plan = await stage.run(['backup', '--kind', 'base', '--dry-run'], {}, { through });
    expect(plan.printed).toContain('reads  what PostgreSQL sends: ');
    // Root of a namespace that an ordinary user made may not even look.
    expect(plan.printed).toMatch(
      /pg_wal is another folder for the server than here|may not look at PostgreSQL’s processes/,
    );
    rmSync(copy, { recursive: true });
    await compareWithServer(stage, postgres);
  });

  it('is known by its slot while it catches up', async () => {
    const { postgres } = ground();
    const server = openWalServer(serverSettings(postgres), {});
    await postgres.psql('postgres', `SELECT pg_create_physical_replication_slot('mine')`);
    const catchesUp = async () => (await server.facts('mine')).slot?.catchingUp;
    const connectAs = (slot: string) =>
      connectReplication(serverSettings(postgres), {}, { applicationName: walSenderName(slot) });
    const other = await connectAs('other');
    expect(await catchesUp()).toBe(false);
    const own = await connectAs('mine');
    await eventually(async () => expect(await catchesUp()).toBe(true));
    await Promise.all([other.close(), own.close(), server.dropSlot('mine')]);
    await server.close();
  });

  it('stores the open segment’s pieces in the state bucket', async () => {
    const stage = await Stage.set(ground(), {});
    const state = `${stage.bucket}-state`;
    await ground().s3.createBucket(state);
    const agent = await startStream(stage, { S3_STATE_BUCKET: state });
    await writeSegments(ground().postgres, 3);
    const put = () =>
      ground().s3.requests.filter(
        ({ bucket, action, status }) => bucket === state && action === 'PutObject' && status === 200,
      );
    while (put().length === 0 || (await heldObjects(stage)).length === 0) await sleep(50);
    await stopStream(agent);
    const roles = new Set((await heldObjects(stage)).map(({ parsed }) => parsed.role));
    expect([...roles]).toEqual(['wal']);
    expect(put().every(({ key }) => key!.startsWith('database/journal/hostmaster/'))).toBe(true);
  });

  it('lets only one of its kind stream for an app', async () => {
    const stage = await Stage.set(ground(), {});
    const agent = await startStream(stage);
    const second = await stage.run(['wal', 'stream']);
    expect(second.status).toBe(8);
    expect(second.stderr).toMatch(/Another run holds .*hostmaster\.wal\.lock: wal stream/);
    await stopStream(agent);
  });
});
