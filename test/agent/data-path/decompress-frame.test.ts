import { randomBytes } from 'node:crypto';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { decompressFrame, decompressInPieces } from '../../../scripts/agent/data-path/decompress-frame.ts';

describe.each([
  ['gzip', gzipSync],
  ['zstd', zstdCompressSync],
] as const)('Decompressing a frame of %s', (compression, compressed) => {
  const raw = Buffer.alloc(300_000, 'a row of a table, ');

  it.each([0, 1, 300_000])('gives back %i bytes', async (size) => {
    const found = await decompressFrame(compressed(raw.subarray(0, size)), compression, size);
    expect(found.equals(raw.subarray(0, size))).toBe(true);
  });

  it('refuses one that holds far more than it ought to, without holding all of it', async () => {
    await expect(decompressFrame(compressed(raw), compression, 1_000)).rejects.toThrow(
      'it holds more than 1000 bytes',
    );
  });

  it('refuses what is no frame', async () => {
    await expect(decompressFrame(Buffer.from('neither of them'), compression, 10)).rejects.toThrow();
  });

  it('never takes a frame that is cut off for a whole one', async () => {
    const frame = compressed(raw);
    const found = await decompressFrame(frame.subarray(0, frame.length - 9), compression, raw.length).catch(
      () => undefined,
    );
    expect(found?.length).not.toBe(raw.length);
  });

  const MIB = 1024 * 1024;

  /** Slow with each piece, so that the decompressor goes on meanwhile as far as it ever does. */
  async function inPieces(frame: Buffer): Promise<{ bytes: Buffer; largest: number }> {
    const copies: Buffer[] = [];
    for await (const piece of decompressInPieces(frame, compression)) {
      await new Promise((resolve) => setTimeout(resolve, 5));
      copies.push(Buffer.from(piece));
    }
    return { bytes: Buffer.concat(copies), largest: Math.max(0, ...copies.map(({ length }) => length)) };
  }

  it.each([0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB, 3 * MIB + 5000])(
    'in pieces gives back %i bytes, none larger than a mebibyte',
    async (size) => {
      const whole = Buffer.concat([
        randomBytes(Math.floor(size / 2)),
        Buffer.alloc(size - Math.floor(size / 2), 7),
      ]);
      const { bytes, largest } = await inPieces(compressed(whole));
      expect(bytes.equals(whole)).toBe(true);
      expect(largest).toBeLessThanOrEqual(MIB);
    },
  );

  it('in pieces ends with an error for what is no frame, and when it is left early', async () => {
    await expect(inPieces(Buffer.from('neither of them'))).rejects.toThrow();
    for await (const piece of decompressInPieces(compressed(Buffer.alloc(5 * MIB)), compression)) {
      expect(piece.length).toBe(MIB);
      break;
    }
  });
});
