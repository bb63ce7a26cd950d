import { randomBytes, randomInt } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { LifeboatError } from '../../../../lib/domain/errors.ts';
import { segmentName } from '../../../../lib/domain/wal/segment.ts';
import { MOST_AHEAD, WalReceiver } from '../../../../scripts/agent/commands/wal/wal-receiver.ts';
import type {
  ReceiverOptions,
  ReceiverStart,
} from '../../../../scripts/agent/commands/wal/wal-receiver-options.ts';
import type { JournalPiece, LastCommit } from '../../../../scripts/agent/ports/wal.ts';
import { eventually } from '../../replication/fixture.ts';
import { memoryArchive, piecesOf, type MemoryArchive } from './wal-memory-archive.ts';

const SIZE = 1024 * 1024;
const START = BigInt(7 * SIZE);
const name = (index: number, timeline = 1): string =>
  segmentName(timeline, START + BigInt(index * SIZE), SIZE);

interface Ground {
  readonly archive: MemoryArchive;
  readonly receiver: WalReceiver;
  /** What was called safe, in order. */
  readonly safe: bigint[];
  readonly failures: unknown[];
}

const at = (timeline: number, from: bigint, pieces: readonly JournalPiece[]): ReceiverStart => ({
  timeline,
  from,
  resume: from,
  pieces,
});

const clock = {
  now: () => new Date(),
  monotonic: () => performance.now(),
  sleep: async (ms: number) => {
    await sleep(ms, undefined, { ref: false });
  },
};

function ground(options: Partial<ReceiverOptions> = {}, archive = memoryArchive()): Ground {
  const safe: bigint[] = [];
  const failures: unknown[] = [];
  const receiver = new WalReceiver({
    archive,
    clock,
    segmentSize: SIZE,
    persist: async (write) => await write(),
    onSafe: (lsn) => safe.push(lsn),
    onFailure: (error) => failures.push(error),
    watchCommits: () => ({ push: () => undefined, pushSegment: () => undefined, last: undefined }),
    ...options,
  });
  return { archive, receiver, safe, failures };
}

async function feed(receiver: WalReceiver, bytes: Buffer, largest = 200_000): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    const end = Math.min(bytes.length, at + randomInt(1, largest));
    // The stream uses its memory again.
    const message = Buffer.from(bytes.subarray(at, end));
    await receiver.accept(message);
    message.fill(0xee);
    at = end;
  }
}

/** What S3 holds, put together again from segments, and pieces of the last one. */
function reassemble({ objects }: MemoryArchive): Buffer {
  const segments = [...objects.keys()].filter((key) => /^[0-9A-F]{24}$/.test(key)).toSorted();
  const parts = segments.map((key) => objects.get(key)!);
  const open = segmentName(1, START + BigInt(parts.length * SIZE), SIZE);
  for (const { from } of piecesOf(objects, open)) {
    parts.push(objects.get(`${open}.${from.toString(16).toUpperCase().padStart(16, '0')}`)!);
  }
  return Buffer.concat(parts);
}

describe('The receiver of WAL', () => {
  it('cuts messages of any size into segments, and the open one into pieces', async () => {
    const { archive, receiver, safe } = ground();
    const wal = randomBytes(3 * SIZE + 12_345);
    receiver.begin(at(1, START, []));
    await feed(receiver, wal.subarray(0, SIZE + 1000));
    await receiver.flush();
    await feed(receiver, wal.subarray(SIZE + 1000));
    await receiver.flush();
    await receiver.settle();
    expect(reassemble(archive).equals(wal)).toBe(true);
    expect([...archive.objects.keys()].toSorted()).toEqual(
      expect.arrayContaining([name(0), name(1), name(2)]),
    );
    expect(safe.at(-1)).toBe(START + BigInt(wal.length));
    expect(receiver.safe).toBe(receiver.position);
    expect(receiver.waitingSince).toBeUndefined();
  });

  it('calls safe only what S3 holds without a gap, in whatever order it takes the segments', async () => {
    const { archive, receiver, safe } = ground();
    let wrong = 0;
    archive.onPut = async () => {
      await sleep(randomInt(0, 20));
    };
    const check = (): void => {
      for (const lsn of safe) {
        for (let index = 0; START + BigInt((index + 1) * SIZE) <= lsn; index += 1) {
          if (!archive.objects.has(name(index))) wrong += 1;
        }
      }
    };
    receiver.begin(at(1, START, []));
    const wal = randomBytes(12 * SIZE);
    for (let at = 0; at < wal.length; at += SIZE) {
      await feed(receiver, wal.subarray(at, at + SIZE));
      check();
    }
    await receiver.settle();
    check();
    expect(wrong).toBe(0);
    expect(safe.at(-1)).toBe(START + BigInt(wal.length));
    expect(safe).toEqual(safe.toSorted((one, other) => (one < other ? -1 : 1)));
    expect(reassemble(archive).equals(wal)).toBe(true);
  });

  it('holds a bounded number of segments, and waits for S3 then', async () => {
    const { archive, receiver } = ground();
    let open = (): void => undefined;
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    archive.onPut = () => gate;
    receiver.begin(at(1, START, []));
    const wal = randomBytes(60 * SIZE);
    let fed = false;
    const feeding = feed(receiver, wal).then(() => {
      fed = true;
    });
    await sleep(200);
    expect(fed).toBe(false);
    // 16 as they are and 16 packed.
    const taken = Number(receiver.position - START) / SIZE;
    expect(taken).toBeLessThanOrEqual(32);
    open();
    await feeding;
    await receiver.settle();
    expect(reassemble(archive).equals(wal)).toBe(true);
  });

  it('stores nothing far ahead of a segment that S3 has not taken, however small the rest is', async () => {
    const { archive, receiver } = ground();
    const pack = archive.packSegment.bind(archive);
    archive.packSegment = async (...of) => ({ ...(await pack(...of)), size: 100 });
    let open = (): void => undefined;
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    // The first goes alone in any case.
    archive.onPut = async (key) => {
      if (key === name(1)) await gate;
    };
    receiver.begin(at(1, START, []));
    const feeding = feed(receiver, Buffer.alloc(60 * SIZE, 'wal'));
    // As many again wait in memory, or, were there no limit, are stored.
    await eventually(() => expect(receiver.position - START).toBeGreaterThanOrEqual(BigInt(32 * SIZE)));
    await eventually(() => expect(archive.objects.has(name(MOST_AHEAD))).toBe(true));
    await sleep(20);
    expect([...archive.objects.keys()].toSorted().at(-1)).toBe(name(MOST_AHEAD));
    open();
    await feeding;
    await receiver.settle();
    expect(archive.objects.size).toBe(60);
  });

  it('lets nothing out any more when a segment can never be stored', async () => {
    const { archive, receiver } = ground();
    let refuse = (): void => undefined;
    const gate = new Promise<void>((_resolve, reject) => {
      refuse = () => reject(new LifeboatError('S3_DENIED', 'no'));
    });
    archive.onPut = async (key) => {
      if (key === name(1)) await gate;
    };
    receiver.begin(at(1, START, []));
    const feeding = feed(receiver, Buffer.alloc(40 * SIZE)).catch(() => undefined);
    await eventually(() => expect(receiver.position - START).toBeGreaterThanOrEqual(BigInt(32 * SIZE)));
    await eventually(() => expect(archive.objects.has(name(MOST_AHEAD))).toBe(true));
    refuse();
    await feeding;
    await expect(receiver.settle()).rejects.toMatchObject({ code: 'S3_DENIED' });
    expect([...archive.objects.keys()].toSorted().at(-1)).toBe(name(MOST_AHEAD));
  });

  it('begins its pieces where those of the run before end', async () => {
    const first = ground();
    const wal = randomBytes(500_000);
    first.receiver.begin(at(1, START, []));
    await feed(first.receiver, wal.subarray(0, 200_000));
    await first.receiver.flush();
    await feed(first.receiver, wal.subarray(200_000, 300_000));
    await first.receiver.flush();

    const second = ground({}, first.archive);
    const place = { timeline: 1, segment: name(0) };
    second.receiver.begin(at(1, START, await first.archive.pieces(place)));
    await feed(second.receiver, wal.subarray(0, 250_000));
    await second.receiver.flush();
    expect(await first.archive.pieces(place)).toHaveLength(2);
    await feed(second.receiver, wal.subarray(250_000, 300_000));
    // All that is here, S3 has already: the server may hear of it without a new piece.
    expect(second.safe.at(-1)).toBe(START + 300_000n);
    await feed(second.receiver, wal.subarray(300_000));
    await second.receiver.flush();
    await second.receiver.settle();
    const pieces = await first.archive.pieces(place);
    expect(pieces.map(({ from, to }) => [Number(from - START), Number(to - START)])).toEqual([
      [0, 200_000],
      [200_000, 300_000],
      [300_000, 500_000],
    ]);
    expect(second.failures).toEqual([]);
    expect(reassemble(first.archive).equals(wal)).toBe(true);
  });

  it('refuses to go on where the journal holds other WAL than comes now', async () => {
    const first = ground();
    const wal = randomBytes(300_000);
    first.receiver.begin(at(1, START, []));
    await feed(first.receiver, wal);
    await first.receiver.flush();
    const second = ground({}, first.archive);
    second.receiver.begin(at(1, START, await first.archive.pieces({ timeline: 1, segment: name(0) })));
    wal[123_456]! ^= 1;
    await feed(second.receiver, wal);
    await expect(second.receiver.settle()).rejects.toMatchObject({ code: 'WAL_CONFLICT' });
    expect(second.failures).toHaveLength(1);
  });

  it('lets nothing of another cluster in beside the object that gives it away', async () => {
    const first = ground();
    const wal = randomBytes(3 * SIZE);
    first.receiver.begin(at(1, START, []));
    await feed(first.receiver, wal.subarray(0, SIZE + 100));
    await first.receiver.flush();
    await first.receiver.settle();
    const before = [...first.archive.objects.keys()];
    const pieces = await first.archive.pieces({ timeline: 1, segment: name(1) });

    // It differs from the segment that is compared; then only from a piece.
    for (const offset of [5000, SIZE + 50]) {
      const other = Buffer.from(wal);
      other[offset]! ^= 1;
      const second = ground({}, first.archive);
      second.archive.onPut = () => sleep(Math.random() * 20);
      const start = offset < SIZE ? START : START + BigInt(SIZE);
      second.receiver.begin({ timeline: 1, from: start, resume: START + BigInt(SIZE), pieces });
      await feed(second.receiver, other.subarray(Number(start - START))).catch(() => undefined);
      await second.receiver.flush();
      await expect(second.receiver.settle()).rejects.toMatchObject({ code: 'WAL_CONFLICT' });
      expect([...first.archive.objects.keys()]).toEqual(before);
    }
  });

  it('writes no pieces of a segment that it only compares', async () => {
    const first = ground();
    const wal = randomBytes(SIZE + 500);
    first.receiver.begin(at(1, START, []));
    await feed(first.receiver, wal.subarray(0, SIZE));
    await first.receiver.settle();
    const second = ground({}, first.archive);
    second.receiver.begin({ timeline: 1, from: START, resume: START + BigInt(SIZE), pieces: [] });
    await feed(second.receiver, wal.subarray(0, 3000));
    await second.receiver.flush();
    expect([...first.archive.objects.keys()]).toEqual([name(0)]);
    await feed(second.receiver, wal.subarray(3000));
    await second.receiver.flush();
    await second.receiver.settle();
    expect(reassemble(first.archive).equals(wal)).toBe(true);
    expect(second.safe.at(-1)).toBe(START + BigInt(wal.length));
  });

  it('stores what there is of a timeline’s last segment when the timeline ends, and begins the next with its bytes', async () => {
    const { archive, receiver } = ground();
    const wal = randomBytes(2 * SIZE);
    receiver.begin(at(1, START, []));
    await feed(receiver, wal.subarray(0, SIZE + 4711));
    await receiver.endTimeline(START + BigInt(SIZE + 4711));
    expect(archive.objects.get(`${name(1)}.partial`)!.equals(wal.subarray(SIZE, SIZE + 4711))).toBe(true);
    receiver.begin(at(2, START + BigInt(SIZE), []));
    await feed(receiver, wal.subarray(SIZE));
    await receiver.settle();
    expect(archive.objects.get(name(1, 2))!.equals(wal.subarray(SIZE))).toBe(true);
    expect(archive.objects.has(name(1))).toBe(false);
  });

  it('leaves no partial segment where a timeline ends with a segment', async () => {
    const { archive, receiver } = ground();
    receiver.begin(at(1, START, []));
    await feed(receiver, randomBytes(SIZE));
    await receiver.endTimeline(START + BigInt(SIZE));
    expect([...archive.objects.keys()]).toEqual([name(0)]);
  });

  it('takes whole segments as they are read, the first alone in S3, and goes on with a stream behind them', async () => {
    const archive = memoryArchive();
    const wal = randomBytes(5 * SIZE);
    const packed: string[] = [];
    const stored: string[] = [];
    const watched: MemoryArchive = {
      ...archive,
      packSegment: async (place, bytes, commit) => {
        packed.push(place.segment);
        return await archive.packSegment(place, bytes, commit);
      },
    };
    const { receiver, safe } = ground({}, watched);
    let letGo = (): void => undefined;
    const gate = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    archive.onPut = async (key) => {
      stored.push(key);
      if (key === name(0)) await gate;
    };
    receiver.begin(at(1, START, []));
    const read = async (into: Buffer, start: bigint): Promise<boolean> => {
      wal.copy(into, 0, Number(start - START));
      return true;
    };
    for (let count = 0; count < 3; count += 1) expect(await receiver.acceptSegment(read)).toBe(true);
    await eventually(() => expect(packed).toEqual([name(0), name(1), name(2)]));
    expect([stored, receiver.safe]).toEqual([[name(0)], START]);
    letGo();
    await receiver.settle();
    expect(await receiver.acceptSegment(async () => false)).toBe(false);
    expect([receiver.safe, receiver.position]).toEqual([START + BigInt(3 * SIZE), START + BigInt(3 * SIZE)]);
    receiver.begin(at(1, receiver.position, []));
    await feed(receiver, wal.subarray(3 * SIZE));
    await receiver.settle();
    expect(reassemble(archive).equals(wal)).toBe(true);
    expect(safe.at(-1)).toBe(START + BigInt(5 * SIZE));
  });

  it('compares a segment that is read with the pieces that S3 has of it', async () => {
    const first = ground();
    const wal = randomBytes(SIZE);
    first.receiver.begin(at(1, START, []));
    await feed(first.receiver, wal.subarray(0, 300_000));
    await first.receiver.flush();
    const pieces = await first.archive.pieces({ timeline: 1, segment: name(0) });
    const other = ground({}, first.archive);
    other.receiver.begin(at(1, START, pieces));
    await other.receiver.acceptSegment(async (into) => {
      wal.copy(into);
      into[1000]! ^= 1;
      return true;
    });
    await expect(other.receiver.settle()).rejects.toMatchObject({ code: 'WAL_CONFLICT' });
    expect(first.archive.objects.has(name(0))).toBe(false);
  });

  it('reads no segment once a write has failed for which its memory was waited for', async () => {
    const { archive, receiver } = ground();
    const hold: { fail: (error: Error) => void } = { fail: () => undefined };
    const gate = new Promise<void>((_resolve, reject) => {
      hold.fail = reject;
    });
    gate.catch(() => undefined);
    archive.packSegment = async () => {
      await gate;
      throw new Error('unreachable');
    };
    receiver.begin(at(1, START, []));
    let reads = 0;
    const read = async (): Promise<boolean> => {
      reads += 1;
      return true;
    };
    const taking = (async () => {
      for (;;) await receiver.acceptSegment(read);
    })();
    taking.catch(() => undefined);
    // All the memory is in use, and the next one waits.
    await eventually(() => expect(reads).toBe(16));
    hold.fail(new Error('S3 said no'));
    await expect(taking).rejects.toThrow('S3 said no');
    expect(reads).toBe(16);
  });

  it('tells each object’s last commit, and only of commits whose records end in it', async () => {
    let last: LastCommit | undefined;
    const { archive, receiver } = ground({
      watchCommits: () => ({
        push: () => undefined,
        pushSegment: () => undefined,
        get last() {
          return last;
        },
      }),
    });
    const commit = (offset: number): LastCommit => ({
      time: '2026-01-17T08:54:59.123456Z',
      lsn: START + BigInt(offset),
    });
    receiver.begin(at(1, START, []));
    last = commit(90_000);
    await feed(receiver, randomBytes(100_000));
    await receiver.flush();
    await feed(receiver, randomBytes(1000));
    await receiver.flush();
    await feed(receiver, randomBytes(2 * SIZE - 101_000));
    await receiver.settle();
    const told = [...archive.commits].map(([key, each]) => [key, each?.lsn]);
    expect(told).toEqual([
      [expect.stringMatching(`${name(0)}\\.`), START + 90_000n],
      [expect.stringMatching(`${name(0)}\\.`), undefined],
      [name(0), START + 90_000n],
      [name(1), undefined],
    ]);
  });

  it('tells since when the oldest byte waits that S3 does not hold', async () => {
    const { archive, receiver } = ground();
    let open = (): void => undefined;
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    archive.onPut = () => gate;
    receiver.begin(at(1, START, []));
    expect(receiver.waitingSince).toBeUndefined();
    const before = performance.now();
    await feed(receiver, randomBytes(SIZE));
    const after = performance.now();
    await sleep(50);
    await feed(receiver, randomBytes(SIZE + 10));
    expect(receiver.waitingSince).toBeGreaterThanOrEqual(before);
    expect(receiver.waitingSince).toBeLessThanOrEqual(after);
    open();
    await receiver.flush();
    await receiver.settle();
    expect(receiver.waitingSince).toBeUndefined();
  });

  it('throws what no further try can mend, and tells it once', async () => {
    const { archive, receiver, failures } = ground();
    const conflict = new LifeboatError('WAL_CONFLICT', 'other WAL');
    archive.onPut = () => Promise.reject(conflict);
    receiver.begin(at(1, START, []));
    await feed(receiver, randomBytes(2 * SIZE)).catch(() => undefined);
    await expect(receiver.settle()).rejects.toBe(conflict);
    expect(() => receiver.accept(Buffer.alloc(10))).toThrow(conflict);
    expect(failures).toEqual([conflict]);
  });
});
