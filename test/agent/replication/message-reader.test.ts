import { createHash, randomBytes, randomInt } from 'node:crypto';
import { MessageReader } from '../../../scripts/agent/replication/message-reader.ts';
import { message } from '../../../scripts/agent/replication/protocol.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

function reader(): MessageReader {
  return new MessageReader(() => undefined);
}

/** Writes as a socket does: as much as there is room for, in pieces of any size. */
function feed(target: MessageReader, bytes: Buffer, largest: number): number {
  let offset = 0;
  while (offset < bytes.length) {
    const length = Math.min(target.room.length, randomInt(1, largest + 1), bytes.length - offset);
    bytes.copy(target.room, 0, offset, offset + length);
    offset += length;
    if (!target.received(length)) return offset;
  }
  return offset;
}

describe('The reader of messages', () => {
  it('finds every message, however the bytes are cut', async () => {
    for (const largest of [1, 7, 1000, 70 * KIB, 4 * MIB]) {
      const bodies = Array.from({ length: 300 }, () => randomBytes(randomInt(0, largest < 10 ? 50 : 9000)));
      const under = reader();
      const all = Buffer.concat(bodies.map((body) => message('d', body)));
      expect(feed(under, all, largest)).toBe(all.length);
      for (const body of bodies) {
        under.turn();
        const found = await under.next();
        expect(found.type).toBe('d'.charCodeAt(0));
        expect(Buffer.compare(found.body, body)).toBe(0);
      }
      expect(under.take()).toBeUndefined();
    }
  });

  it('takes messages larger than its buffers', async () => {
    const under = reader();
    const sizes = [3 * MIB, 10, 1_200_000, 5 * MIB, 0, 1_048_576];
    for (const size of sizes) {
      const body = randomBytes(size);
      const bytes = message('d', body);
      for (let offset = 0; offset < bytes.length;) {
        offset += feed(under, bytes.subarray(offset), 60_000);
      }
      under.turn();
      expect(Buffer.compare((await under.next()).body, body)).toBe(0);
    }
  });

  it('asks for a pause when nobody consumes, stays small, and goes on when it has room', async () => {
    let rooms = 0;
    const under = new MessageReader(() => rooms++);
    const source = Buffer.concat(Array.from({ length: 600 }, () => message('d', randomBytes(32 * KIB))));
    let offset = feed(under, source, 200 * KIB);
    expect(offset).toBeLessThan(4 * MIB);
    const expected = createHash('sha256').update(source).digest('hex');
    const hash = createHash('sha256');
    for (let count = 0; count < 600; count++) {
      under.turn();
      hash.update(message('d', (await under.next()).body));
      if (rooms > 0) {
        rooms = 0;
        offset += feed(under, source.subarray(offset), 200 * KIB);
      }
    }
    expect(offset).toBe(source.length);
    expect(hash.digest('hex')).toBe(expected);
  });

  it('leaves bytes alone until the second turn after', async () => {
    let offset = 0;
    const bodies = Array.from({ length: 400 }, () => randomBytes(randomInt(1, 100 * KIB)));
    const source = Buffer.concat(bodies.map((body) => message('d', body)));
    const more = (): void => {
      offset += feed(under, source.subarray(offset), 150 * KIB);
    };
    const under = new MessageReader(more);
    more();
    let last: Buffer | undefined;
    for (const [index, body] of bodies.entries()) {
      under.turn();
      const found = (await under.next()).body;
      if (last) expect(Buffer.compare(last, bodies[index - 1]!)).toBe(0);
      expect(Buffer.compare(found, body)).toBe(0);
      last = found;
    }
  });

  it('lets nobody wait for ever who reads on without a turn', async () => {
    let offset = 0;
    const source = Buffer.concat(Array.from({ length: 400 }, () => message('N', randomBytes(32 * KIB))));
    const under = new MessageReader(() => {
      setImmediate(() => (offset += feed(under, source.subarray(offset), 64 * KIB)));
    });
    offset += feed(under, source, 64 * KIB);
    for (let count = 0; count < 400; count++) await under.next();
    expect(under.take()).toBeUndefined();
  });

  it('gives out what came before the connection broke, then says why', async () => {
    const under = reader();
    const bytes = Buffer.concat([message('d', Buffer.from('one')), message('d', Buffer.from('two'))]);
    feed(under, bytes.subarray(0, bytes.length - 1), 100);
    under.fail(new Error('broken'));
    expect((await under.next()).body.toString()).toBe('one');
    await expect(under.next()).rejects.toThrow('broken');
  });

  it('wakes who waits', async () => {
    const under = reader();
    const waiting = under.next();
    feed(under, message('Z', Buffer.from('I')), 1);
    expect((await waiting).type).toBe('Z'.charCodeAt(0));
    const broken = under.next();
    under.fail(new Error('broken'));
    await expect(broken).rejects.toThrow('broken');
  });

  it('refuses what is no protocol of PostgreSQL', async () => {
    for (const header of ['HTTP/1.1 400 Bad Request', 'd\0\0\0\x03..............']) {
      const under = reader();
      expect(feed(under, Buffer.from(header), 100)).toBeGreaterThan(0);
      await expect(under.next()).rejects.toMatchObject({ code: 'DB_LOST' });
    }
  });
});
