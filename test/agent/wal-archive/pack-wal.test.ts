import { createHash, randomBytes } from 'node:crypto';
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

  it('does without threads where none can be started', async () => {
    const none = new PackingThreads('/nonexistent/thread.mjs');
    const bytes = wal(100_000);
    await Promise.all([1, 2, 3, 4, 5, 6].map(() => expectPacked(bytes, shared(bytes), none)));
  });
});
