import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseLsn, type Lsn } from '../../../lib/domain/wal/lsn.ts';
import { segmentName, segmentStart } from '../../../lib/domain/wal/segment.ts';
import type { WalMessage } from '../../../scripts/agent/ports/replication.ts';
import {
  POSTGRES_MAJORS,
  postgresBinDir,
  reloadConfiguration,
  startPostgres,
  type PostgresServer,
} from '../../postgres-server.ts';
import {
  collectWal,
  connectTo,
  eventually,
  iterate,
  noWalSender,
  query,
  withReplication,
} from './fixture.ts';

const SEGMENT = 16 * 1024 * 1024;

async function flushed(server: PostgresServer): Promise<Lsn> {
  return parseLsn(await query(server, 'SELECT pg_current_wal_flush_lsn()'));
}

/** Bytes [from, to) as they lie in the server's pg_wal. */
function walFiles(server: PostgresServer, from: Lsn, to: Lsn, timeline = 1): Buffer {
  const parts: Buffer[] = [];
  for (let at = from; at < to;) {
    const start = segmentStart(at, SEGMENT);
    const end = start + BigInt(SEGMENT) < to ? start + BigInt(SEGMENT) : to;
    const file = path.join(server.dataDir, 'pg_wal', segmentName(timeline, at, SEGMENT));
    parts.push(readFileSync(file).subarray(Number(at - start), Number(end - start)));
    at = end;
  }
  return Buffer.concat(parts);
}

async function writeSomeWal(server: PostgresServer): Promise<void> {
  await query(
    server,
    `CREATE TABLE IF NOT EXISTS t (n int, text text);
     INSERT INTO t SELECT n, repeat(md5(n::text), 10) FROM generate_series(1, 20000) n;
     SELECT pg_switch_wal();
     INSERT INTO t SELECT n, repeat(md5(n::text), 10) FROM generate_series(1, 20000) n;`,
  );
}

async function slot(server: PostgresServer, column: string): Promise<string> {
  return await query(server, `SELECT ${column} FROM pg_replication_slots WHERE slot_name = 'lifeboat_test'`);
}

describe.each(POSTGRES_MAJORS)('The WAL of PostgreSQL %i', (major) => {
  let server: PostgresServer;

  beforeAll(async () => {
    server = await startPostgres({ binDir: postgresBinDir(major) });
    await withReplication(server, (replication) =>
      replication.createSlot('lifeboat_test', { temporary: false }),
    );
  });

  afterAll(async () => {
    await server.remove();
  });

  it('is held by a slot, which can be read, and is there once', async () => {
    const replication = await connectTo(server);
    const { flushLsn, timeline, systemIdentifier } = await replication.identify();
    expect(timeline).toBe(1);
    expect(systemIdentifier).toBe(
      await query(server, 'SELECT system_identifier::text FROM pg_control_system()'),
    );
    const restart = parseLsn(await slot(server, 'restart_lsn'));
    expect(restart <= flushLsn).toBe(true);
    await expect(replication.createSlot('lifeboat_test', { temporary: false })).rejects.toMatchObject({
      code: 'SLOT_EXISTS',
    });
    if (major === 14) {
      await expect(replication.readSlot('lifeboat_test')).rejects.toMatchObject({ code: 'DB_QUERY' });
    } else {
      expect(await replication.readSlot('lifeboat_test')).toEqual({ restartLsn: restart, timeline: 1 });
      expect(await replication.readSlot('other')).toBeUndefined();
    }
    await replication.createSlot('lifeboat_passing', { temporary: true });
    expect(await query(server, 'SELECT count(*) FROM pg_replication_slots')).toBe('2');
    await replication.close();
    await eventually(async () => {
      expect(await query(server, 'SELECT count(*) FROM pg_replication_slots')).toBe('1');
    });
  });

  it('arrives as it lies in pg_wal, and the slot lets go of what is confirmed', async () => {
    const replication = await connectTo(server);
    const from = segmentStart(await flushed(server), SEGMENT);
    await writeSomeWal(server);
    const stream = await replication.streamWal({ slot: 'lifeboat_test', timeline: 1, from });
    const messages = iterate(stream);
    await writeSomeWal(server);
    const to = await flushed(server);
    expect(to - from).toBeGreaterThan(2n * BigInt(SEGMENT));
    const bytes = await collectWal(messages, from, to);
    expect(bytes.subarray(0, Number(to - from)).equals(walFiles(server, from, to))).toBe(true);

    const middle = from + BigInt(SEGMENT);
    stream.confirm(middle);
    stream.confirm(from);
    await eventually(async () => expect(parseLsn(await slot(server, 'restart_lsn'))).toBe(middle));
    const sender = await query(
      server,
      `SELECT application_name, flush_lsn, write_lsn, sync_state FROM pg_stat_replication`,
    );
    const [name, flush, written, state] = sender.split('|');
    expect([name, state]).toEqual(['lifeboat_wal', 'async']);
    expect(parseLsn(flush!)).toBe(middle);
    expect(parseLsn(written!)).toBeGreaterThanOrEqual(to);
    expect(() => stream.confirm(to + BigInt(SEGMENT))).toThrow(expect.objectContaining({ code: 'BUG' }));

    stream.confirm(to);
    await stream.stop();
    await expect(messages.next()).resolves.toMatchObject({ done: true });
    expect(await stream.ended).toBeUndefined();
    expect(parseLsn(await slot(server, 'restart_lsn'))).toBe(to);
    // The connection goes on, from any byte, and the next stream brings what this one left.
    await writeSomeWal(server);
    const next = await replication.streamWal({ slot: 'lifeboat_test', timeline: 1, from: to });
    const end = await flushed(server);
    const more = await collectWal(iterate(next), to, end);
    expect(more.subarray(0, Number(end - to)).equals(walFiles(server, to, end))).toBe(true);
    await replication.close();
    await noWalSender(server);
  });

  it('goes on after a promotion on the next timeline, where the old one ends', async () => {
    writeFileSync(path.join(server.dataDir, 'standby.signal'), '');
    await server.restart();
    const replication = await connectTo(server);
    const { timeline, flushLsn } = await replication.identify();
    expect(timeline).toBe(1);
    const from = segmentStart(flushLsn, SEGMENT);
    const stream = await replication.streamWal({ slot: 'lifeboat_test', timeline: 1, from });
    const read = (async () => {
      const stretches: Buffer[] = [];
      for await (const message of stream.messages() as AsyncIterable<WalMessage>) {
        if (message.kind === 'wal') stretches.push(Buffer.from(message.bytes));
      }
      return Buffer.concat(stretches);
    })();
    expect(await query(server, 'SELECT pg_promote()')).toBe('t');
    await writeSomeWal(server);
    const bytes = await read;
    const ended = await stream.ended;
    expect(ended).toEqual({ nextTimeline: 2, switchLsn: from + BigInt(bytes.length) });
    const { switchLsn } = ended!;
    expect(bytes.equals(walFiles(server, from, switchLsn, 2))).toBe(true);

    const history = await replication.timelineHistory(2);
    expect(history.name).toBe('00000002.history');
    const file = path.join(server.dataDir, 'pg_wal', '00000002.history');
    expect(history.content.equals(readFileSync(file))).toBe(true);
    expect((await replication.identify()).timeline).toBe(2);

    // Nothing is left of timeline 1.
    const nothing = await replication.streamWal({ timeline: 1, from: switchLsn });
    await expect(iterate(nothing).next()).resolves.toMatchObject({ done: true });
    expect(await nothing.ended).toEqual({ nextTimeline: 2, switchLsn });

    const second = await replication.streamWal({ slot: 'lifeboat_test', timeline: 2, from: switchLsn });
    const to = await flushed(server);
    const after = await collectWal(iterate(second), switchLsn, to);
    expect(after.subarray(0, Number(to - switchLsn)).equals(walFiles(server, switchLsn, to, 2))).toBe(true);
    await second.stop();
    await replication.close();
  });

  it('is refused from where this server never was', async () => {
    const replication = await connectTo(server);
    const { flushLsn } = await replication.identify();
    const ahead = flushLsn + BigInt(SEGMENT);
    for (const wrong of [
      { timeline: 2, from: ahead },
      { timeline: 1, from: ahead },
      { timeline: 3, from: 0n },
    ]) {
      await expect(replication.streamWal(wrong)).rejects.toMatchObject({ code: 'WAL_DIVERGED' });
    }
    expect((await replication.identify()).timeline).toBe(2);
    await replication.close();
  });

  it('is refused with a slot that someone else uses, or that is not there', async () => {
    const [first, second] = [await connectTo(server), await connectTo(server)];
    const { timeline, flushLsn: from } = await first.identify();
    const stream = await first.streamWal({ slot: 'lifeboat_test', timeline, from });
    await expect(second.streamWal({ slot: 'lifeboat_test', timeline, from })).rejects.toMatchObject({
      code: 'BUSY',
    });
    await expect(second.dropSlot('lifeboat_test')).rejects.toMatchObject({ code: 'BUSY' });
    await stream.stop();
    await first.dropSlot('lifeboat_test');
    const gone = expect.objectContaining({ code: 'SLOT_MISSING' });
    await expect(second.dropSlot('lifeboat_test')).rejects.toEqual(gone);
    await expect(second.streamWal({ slot: 'lifeboat_test', timeline, from })).rejects.toEqual(gone);
    await expect(second.streamWal({ slot: 'No; good', timeline, from })).rejects.toMatchObject({
      code: 'SETTINGS_INVALID',
    });
    await first.close();
    await second.close();
  });

  it('says so when it has been removed, and when a slot has lost it', async () => {
    const [replication, holder] = [await connectTo(server), await connectTo(server)];
    await replication.createSlot('lifeboat_test', { temporary: false });
    const { timeline, flushLsn } = await holder.identify();
    const from = segmentStart(flushLsn, SEGMENT);
    await query(server, `ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'`);
    await query(server, `ALTER SYSTEM SET min_wal_size = '32MB'`);
    await query(server, `ALTER SYSTEM SET max_wal_size = '32MB'`);
    await reloadConfiguration(server);
    await eventually(async () => {
      await query(server, 'INSERT INTO t VALUES (1, NULL); SELECT pg_switch_wal()');
      await query(server, 'CHECKPOINT');
      expect(await slot(server, 'wal_status')).toBe('lost');
      expect(readdirSync(path.join(server.dataDir, 'pg_wal'))).not.toContain(
        segmentName(timeline, from, SEGMENT),
      );
    });
    const stream = await replication.streamWal({ timeline, from });
    await expect(iterate(stream).next()).rejects.toMatchObject({ code: 'WAL_REMOVED' });
    // The error was the command's; the connection is sound.
    expect((await replication.identify()).timeline).toBe(timeline);
    const lost = async (): Promise<unknown> =>
      await iterate(await replication.streamWal({ slot: 'lifeboat_test', timeline, from })).next();
    await expect(lost()).rejects.toMatchObject({ code: expect.stringMatching(/SLOT_LOST|WAL_REMOVED/) });
    await replication.close();
    await holder.close();
  });
});
