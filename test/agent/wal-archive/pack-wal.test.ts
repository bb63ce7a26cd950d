import { createHash, randomBytes, randomInt } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';
import { zstdDecompressSync } from 'node:zlib';
import { packWal } from '../../../scripts/agent/wal-archive/pack-wal.ts';
import { PackingThreads } from '../../../scripts/agent/wal-archive/packing-threads.ts';

/** Half of it can be compressed. */
function wal(size: number): Buffer {
  return Buffer.concat([randomBytes(Math.ceil(size / 2)), Buffer.alloc(Math.floor(size / 2))]);
}

function shared(bytes: Buffer): Buffer {
  const copy = Buffer.from(new SharedArrayBuffer(bytes.length));
  bytes.copy(copy);
  return copy;
}

async function expectPacked(bytes: Buffer, given: Buffer, threads?: PackingThreads): Promise<void> {
  const { body, rawSha256 } = await packWal(given, threads);
  expect(rawSha256).toBe(createHash('sha256').update(bytes).digest('hex'));
  expect(zstdDecompressSync(body).equals(bytes)).toBe(true);
}

describe('Packing WAL', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'lifeboat-threads-'));
  afterAll(() => rmSync(folder, { recursive: true }));

  /** @param answer what the thread does with `bytes`; `times` counts from 1 */
  function threadsThat(name: string, answer: string, told: string[] = []): PackingThreads {
    const program = path.join(folder, `${name}.mjs`);
    const text = `import { parentPort, threadId } from 'node:worker_threads';
      let times = 0;
      const body = new Uint8Array(1);
      parentPort.on('message', (bytes) => { times += 1; ${answer} });`;
    writeFileSync(program, text);
    return new PackingThreads(program, (message) => told.push(message));
  }

  it('compresses and hashes what lies in memory of its own', async () => {
    const bytes = wal(3_000_000);
    await expectPacked(bytes, bytes);
  });

  it('does so in threads with what lies in shared memory, however much at once', async () => {
    const sizes = [0, 1, 100, 5000, 65_536, ...Array.from({ length: 12 }, () => 3_000_000)];
    await Promise.all(
      sizes.map(async (size) => {
        const bytes = wal(size);
        await expectPacked(bytes, shared(bytes));
      }),
    );
  });

  it('packs a part of shared memory and leaves the rest alone', async () => {
    const bytes = shared(wal(200_000));
    const part = bytes.subarray(50_000, 150_000);
    await expectPacked(Buffer.from(part), part);
  });

  it('makes the same bytes in a thread as in memory of its own, and hands over no more memory than they need', async () => {
    // What a small hash table overlooks.
    const words = Array.from({ length: 3000 }, () => randomBytes(16).toString('hex'));
    const bytes = Buffer.from(
      Array.from({ length: 100_000 }, () => words[randomInt(words.length)]).join(' '),
    );
    const threaded = await packWal(shared(bytes));
    const own = await packWal(bytes);
    expect(threaded.body.equals(own.body)).toBe(true);
    const zeros = await packWal(Buffer.from(new SharedArrayBuffer(16 * 1024 * 1024)));
    expect(zeros.body.buffer.byteLength).toBe(zeros.body.length);
  });

  it('starts no more threads than it may, however much comes at once', async () => {
    const threads = threadsThat('named', 'parentPort.postMessage({ rawSha256: String(threadId), body });');
    const bytes = shared(wal(1000));
    const packed = await Promise.all(Array.from({ length: 12 }, () => threads.pack(bytes)));
    const used = new Set(packed.map(({ rawSha256 }) => rawSha256));
    expect(used.size).toBeLessThanOrEqual(Math.min(4, availableParallelism()));
  });

  it('does without a thread that ends before it has answered, or while it waits for work', async () => {
    const answers = 'parentPort.postMessage({ rawSha256: "", body });';
    const bytes = wal(1000);
    const told: string[] = [];
    const silent = threadsThat('silent', 'process.exit(0);', told);
    await Promise.all([1, 2, 3, 4, 5, 6].map(() => expectPacked(bytes, shared(bytes), silent)));
    expect(told).toEqual([expect.stringContaining('exit status 0')]);
    const second = threadsThat('second', `if (times === 2) process.exit(0); ${answers}`);
    expect((await packWal(shared(bytes), second)).rawSha256).toBe('');
    await expectPacked(bytes, shared(bytes), second);
    // One that had worked: the next may do better.
    expect((await packWal(shared(bytes), second)).rawSha256).toBe('');
    const idle = threadsThat('idle', `${answers} setImmediate(() => process.exit(0));`);
    for (let count = 0; count < 4; count += 1) {
      const { rawSha256 } = await packWal(shared(bytes), idle);
      expect(['', createHash('sha256').update(bytes).digest('hex')]).toContain(rawSha256);
    }
  });

  it('does without threads where none can be started, says so once, and tries no more', async () => {
    const told: string[] = [];
    const program = path.join(folder, 'late.mjs');
    const late = new PackingThreads(program, (message) => told.push(message));
    const bytes = wal(100_000);
    await Promise.all([1, 2, 3, 4, 5, 6].map(() => expectPacked(bytes, shared(bytes), late)));
    expect(told).toEqual([expect.stringContaining('late.mjs')]);
    // It would start now.
    threadsThat('late', 'parentPort.postMessage({ rawSha256: "", body });');
    await expectPacked(bytes, shared(bytes), late);
    expect(told).toHaveLength(1);
  });
});
