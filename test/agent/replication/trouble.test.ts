import { createServer, connect, type Server, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import { parseLsn } from '../../../lib/domain/wal/lsn.ts';
import { connectReplication } from '../../../scripts/agent/replication/connect.ts';
import {
  POSTGRES_MAJORS,
  postgresBinDir,
  reloadConfiguration,
  startPostgres,
  type PostgresServer,
} from '../../postgres-server.ts';
import {
  connectTo,
  eventually,
  FULL,
  iterate,
  noWalSender,
  query,
  settingsOf,
  withReplication,
} from './fixture.ts';

const MIB = 1024 * 1024;
const LOST = { code: 'DB_LOST' };

async function moreWal(server: PostgresServer, megabytes: number): Promise<bigint> {
  await query(
    server,
    `CREATE TABLE IF NOT EXISTS t (text text); ALTER TABLE t ALTER COLUMN text SET STORAGE EXTERNAL;
     INSERT INTO t SELECT repeat('x', 1000000) FROM generate_series(1, ${megabytes})`,
  );
  return parseLsn(await query(server, 'SELECT pg_current_wal_flush_lsn()'));
}

async function senderWaits(server: PostgresServer): Promise<string> {
  return await query(
    server,
    `SELECT coalesce(wait_event, '') FROM pg_stat_activity WHERE backend_type = 'walsender'`,
  );
}

async function readToTheEnd(pieces: AsyncIterable<unknown>): Promise<void> {
  for await (const piece of pieces) expect(piece).toBeDefined();
}

describe('Over a replication connection', () => {
  let server: PostgresServer;

  beforeAll(async () => {
    server = await startPostgres({ settings: { max_wal_size: '4GB', wal_keep_size: '2GB' } });
    await moreWal(server, 100);
  });

  afterAll(async () => {
    await server.remove();
  });

  it('a slow consumer makes the server wait, and gets every byte', async () => {
    const replication = await connectTo(server);
    const whole = await bytesOfBackup();
    const before = process.memoryUsage().rss;
    const running = await replication.baseBackup({ ...FULL, wal: false, manifest: false });
    let pieces = 0;
    let peak = 0;
    let bytes = 0;
    for await (const piece of running.pieces()) {
      if (piece.kind === 'data') bytes += piece.bytes.length;
      if (++pieces !== 100) continue;
      await eventually(async () => expect(await senderWaits(server)).toBe('ClientWrite'));
      peak = process.memoryUsage().rss;
    }
    expect(bytes).toBe(whole);
    expect(peak - before).toBeLessThan(60 * MIB);
    await replication.close();
  });

  async function bytesOfBackup(): Promise<number> {
    return await withReplication(server, async (replication) => {
      const running = await replication.baseBackup({ ...FULL, wal: false, manifest: false });
      let bytes = 0;
      for await (const piece of running.pieces()) if (piece.kind === 'data') bytes += piece.bytes.length;
      return bytes;
    });
  }

  it('WAL waits for a slow consumer longer than the server waits for a dead one', async () => {
    const replication = await connectTo(server, { silenceMs: 3000 });
    const { flushLsn: from } = await replication.identify();
    const stream = await replication.streamWal({ timeline: 1, from });
    const messages = iterate(stream);
    const to = await moreWal(server, 60);
    await messages.next();
    await sleep(5000);
    expect(await senderWaits(server)).toMatch(/WalSenderWriteData|WalSenderMain/);
    expect(to - from).toBeGreaterThan(BigInt(60 * 1_000_000));
    const rest = await collectRest(messages, to);
    expect(rest).toBeGreaterThan(50 * MIB);
    await stream.stop();
    await replication.close();
  });

  async function collectRest(messages: ReturnType<typeof iterate>, to: bigint): Promise<number> {
    let bytes = 0;
    for (;;) {
      const { value, done } = await messages.next();
      if (done) throw new Error('the stream ended');
      if (value.kind !== 'wal') continue;
      bytes += value.bytes.length;
      if (value.start + BigInt(value.bytes.length) >= to) return bytes;
    }
  }

  it('an idle stream stays, and hears of the server', async () => {
    const replication = await connectTo(server, { silenceMs: 3000 });
    const { flushLsn: from } = await replication.identify();
    const stream = await replication.streamWal({ timeline: 1, from });
    const messages = iterate(stream);
    for (let heard = 0; heard < 3;) {
      const { value } = await messages.next();
      if (value.kind !== 'keepalive') continue;
      expect(value.serverStopping).toBe(false);
      heard++;
    }
    await stream.stop();
    await replication.close();
  });

  it('a server that falls silent is given up', async () => {
    const replication = await connectTo(server, { silenceMs: 2500 });
    const { flushLsn: from } = await replication.identify();
    const stream = await replication.streamWal({ timeline: 1, from });
    const pid = Number(
      await query(server, `SELECT pid FROM pg_stat_activity WHERE backend_type = 'walsender'`),
    );
    process.kill(pid, 'SIGSTOP');
    try {
      const messages = iterate(stream);
      const silence = (async () => {
        for (;;) await messages.next();
      })();
      await expect(silence).rejects.toMatchObject(LOST);
      await expect(replication.identify()).rejects.toMatchObject(LOST);
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    await replication.close();
    await noWalSender(server);
  });

  it('an interruption ends a backup and a stream at once with its own reason', async () => {
    const reason = new LifeboatError('INTERRUPTED', 'Stopped by Ctrl-C');
    const first = new AbortController();
    const one = await connectTo(server, { interrupted: first.signal });
    const running = await one.baseBackup(FULL);
    const backup = (async () => {
      for await (const piece of running.pieces()) if (piece.kind === 'data') first.abort(reason);
    })();
    await expect(backup).rejects.toBe(reason);
    await expect(one.identify()).rejects.toBe(reason);

    const second = new AbortController();
    const two = await connectTo(server, { interrupted: second.signal });
    const { flushLsn: from } = await two.identify();
    const messages = iterate(await two.streamWal({ timeline: 1, from }));
    setTimeout(() => second.abort(reason), 100);
    const waiting = (async () => {
      for (;;) await messages.next();
    })();
    await expect(waiting).rejects.toBe(reason);
    await expect(connectTo(server, { interrupted: second.signal })).rejects.toBe(reason);
    await one.close();
    await two.close();
    await noWalSender(server);
  });

  it('a backup that is given up ends on the server, even one that waits for its checkpoint', async () => {
    await query(server, `ALTER SYSTEM SET checkpoint_timeout = '1h'`);
    await reloadConfiguration(server);
    await moreWal(server, 20);
    const interruption = new AbortController();
    const replication = await connectTo(server, { interrupted: interruption.signal });
    const reason = new LifeboatError('TERMINATED', 'Stopped');
    const waiting = replication.baseBackup({ ...FULL, checkpoint: 'spread' });
    const over = expect(waiting).rejects.toBe(reason);
    const phase = 'SELECT phase FROM pg_stat_progress_basebackup';
    await eventually(async () => expect(await query(server, phase)).toMatch(/waiting for checkpoint/));
    interruption.abort(reason);
    await over;
    await replication.close();
    await noWalSender(server);

    const another = await connectTo(server);
    const running = await another.baseBackup(FULL);
    for await (const piece of running.pieces()) if (piece.kind === 'data') break;
    await another.close();
    await noWalSender(server);
  });

  it('stop() ends a stream whose consumer went away, or is reading, and nothing is left', async () => {
    const replication = await connectTo(server);
    const { flushLsn: from } = await replication.identify();
    const abandoned = await replication.streamWal({ timeline: 1, from });
    await moreWal(server, 30);
    await iterate(abandoned).next();
    await abandoned.stop();
    await abandoned.stop();

    const read = await replication.streamWal({ timeline: 1, from });
    const reading = (async () => {
      for await (const message of read.messages()) expect(message).toBeDefined();
    })();
    await sleep(300);
    await read.stop();
    await reading;

    const left = await replication.streamWal({ timeline: 1, from });
    for await (const message of left.messages()) if (message.kind === 'wal') break;
    expect(await left.ended).toBeUndefined();
    expect((await replication.identify()).timeline).toBe(1);
    await replication.close();
    await noWalSender(server);
  });

  it('a shutdown waits for what is not confirmed, which the stream says', async () => {
    const replication = await connectTo(server, { silenceMs: 8000 });
    await replication.createSlot('lifeboat_test', { temporary: false });
    const { flushLsn: from } = await replication.identify();
    const stream = await replication.streamWal({ slot: 'lifeboat_test', timeline: 1, from });
    stream.confirm(from);
    await moreWal(server, 5);
    let stopped = false;
    const stop = server.stop().then(() => (stopped = true));
    let received = from;
    let told = 0;
    const ended = (async () => {
      for await (const message of stream.messages()) {
        if (message.kind === 'wal') received = message.start + BigInt(message.bytes.length);
        if (message.kind !== 'keepalive' || !message.serverStopping) continue;
        // It may have asked twice before it heard of the confirmation.
        if (told++ > 0) continue;
        await sleep(300);
        expect(stopped).toBe(false);
        stream.confirm(received);
      }
    })();
    await expect(ended).rejects.toMatchObject({ code: 'DB_LOST', message: expect.stringContaining('shut') });
    await stop;
    expect(told).toBeGreaterThan(0);
    await server.start();
    // All of it arrived, to the last record that the server wrote.
    const checkpoint = await query(server, 'SELECT checkpoint_lsn FROM pg_control_checkpoint()');
    expect(received).toBeGreaterThan(parseLsn(checkpoint));
    await replication.close();
  });

  it('a shutdown goes on when the stream is stopped instead', async () => {
    const replication = await connectTo(server, { silenceMs: 8000 });
    const { flushLsn: from } = await replication.identify();
    const stream = await replication.streamWal({ slot: 'lifeboat_test', timeline: 1, from });
    stream.confirm(from);
    await moreWal(server, 5);
    const stop = server.stop();
    for await (const message of stream.messages()) {
      if (message.kind === 'keepalive' && message.serverStopping) break;
    }
    await stop;
    await replication.close();
    await server.start();
    await withReplication(server, (again) => again.dropSlot('lifeboat_test'));
  });

  it('a server that is killed, or stops, is a connection lost: in a backup, in a stream, and in between', async () => {
    for (const end of [() => server.kill(), () => server.stop()]) {
      const [idle, backing, streaming] = await Promise.all([
        connectTo(server),
        connectTo(server),
        connectTo(server, { silenceMs: 4000 }),
      ]);
      const { flushLsn: from } = await idle.identify();
      const stream = await streaming.streamWal({ timeline: 1, from });
      const running = await backing.baseBackup(FULL);
      const pieces = running.pieces()[Symbol.asyncIterator]();
      await pieces.next();
      await pieces.next();
      const streamed = (async () => {
        for await (const message of stream.messages()) {
          if (message.kind === 'wal') stream.confirm(message.start + BigInt(message.bytes.length));
        }
      })();
      const lost = expect(streamed).rejects.toMatchObject(LOST);
      await end();
      await lost;
      await expect(readToTheEnd({ [Symbol.asyncIterator]: () => pieces })).rejects.toMatchObject(LOST);
      await expect(idle.identify()).rejects.toMatchObject(LOST);
      await expect(connectTo(server)).rejects.toMatchObject({ code: 'DB_CONNECT' });
      for (const each of [idle, backing, streaming]) await each.close();
      await server.start();
      await withReplication(server, async (again) => expect((await again.identify()).timeline).toBe(1));
    }
  });

  it('a network that is cut in midst of a message is a connection lost', async () => {
    const sockets: Socket[] = [];
    const proxy: Server = createServer((inner) => {
      const outer = connect(server.port, server.host);
      inner.pipe(outer).pipe(inner);
      for (const socket of [inner, outer]) socket.on('error', () => undefined);
      sockets.push(inner, outer);
    });
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    const { port } = proxy.address() as AddressInfo;
    const replication = await connectReplication(settingsOf(server, { port }), { PGSSLMODE: 'disable' });
    const running = await replication.baseBackup(FULL);
    const cut = (async () => {
      let pieces = 0;
      for await (const piece of running.pieces()) {
        expect(piece).toBeDefined();
        if (++pieces === 50) for (const socket of sockets) socket.destroy();
      }
    })();
    await expect(cut).rejects.toMatchObject(LOST);
    await replication.close();
    proxy.close();
    await noWalSender(server);
  });

  it('a temporary slot holds the WAL of a backup without an archive', async () => {
    await withReplication(server, async (replication) => {
      await replication.createSlot('lifeboat_base', { temporary: true });
      const running = await replication.baseBackup(FULL);
      let slots = '';
      for await (const piece of running.pieces()) {
        if (piece.kind === 'archive') {
          slots = await query(server, 'SELECT slot_name, temporary FROM pg_replication_slots');
        }
      }
      expect(slots).toBe('lifeboat_base|t');
      await replication.dropSlot('lifeboat_base');
    });
  });
});

/** Blocks that changed since an earlier backup: 17 and newer. */
describe.each(POSTGRES_MAJORS.filter((major) => major >= 17))(
  'An incremental backup of PostgreSQL %i',
  (major) => {
    let server: PostgresServer;

    beforeAll(async () => {
      server = await startPostgres({ binDir: postgresBinDir(major), settings: { summarize_wal: 'off' } });
      await moreWal(server, 20);
    });

    afterAll(async () => {
      await server.remove();
    });

    async function manifestOf(incremental?: Buffer): Promise<{ manifest: Buffer; bytes: number }> {
      return await withReplication(server, async (replication) => {
        const request = incremental ? { ...FULL, incrementalManifest: inPieces(incremental) } : FULL;
        const running = await replication.baseBackup(request);
        const manifest: Buffer[] = [];
        let bytes = 0;
        for await (const piece of running.pieces()) {
          if (piece.kind === 'manifest') manifest.push(Buffer.from(piece.bytes));
          if (piece.kind === 'data') bytes += piece.bytes.length;
        }
        await running.finished();
        return { manifest: Buffer.concat(manifest), bytes };
      });
    }

    async function* inPieces(bytes: Buffer): AsyncGenerator<Buffer> {
      for (let start = 0; start < bytes.length; start += 100_000) {
        yield await Promise.resolve(bytes.subarray(start, start + 100_000));
      }
    }

    async function keepAccount(value: 'on' | 'off'): Promise<void> {
      await query(server, `ALTER SYSTEM SET summarize_wal = ${value}`);
      await reloadConfiguration(server);
    }

    it('is refused while the server keeps no account of changes, saying how it would', async () => {
      await keepAccount('off');
      const { manifest } = await manifestOf();
      await expect(manifestOf(manifest)).rejects.toMatchObject({
        code: 'SETTINGS_INVALID',
        hint: expect.stringContaining('summarize_wal'),
      });
    });

    it('holds what changed since the manifest that it was given', async () => {
      await keepAccount('on');
      const full = await manifestOf();
      await query(server, 'CREATE TABLE changed AS SELECT 1');
      const incremental = await manifestOf(full.manifest);
      expect(incremental.bytes).toBeLessThan(full.bytes - 15 * MIB);
      expect(incremental.manifest.toString()).toContain('INCREMENTAL.');
    });

    it('is refused for a manifest that is none, and the connection stays', async () => {
      await keepAccount('on');
      await withReplication(server, async (replication) => {
        const incrementalManifest = inPieces(Buffer.from('{"no": "manifest"}'));
        await expect(replication.baseBackup({ ...FULL, incrementalManifest })).rejects.toMatchObject({
          code: 'DB_QUERY',
        });
        expect((await replication.identify()).timeline).toBe(1);
      });
    });
  },
);
