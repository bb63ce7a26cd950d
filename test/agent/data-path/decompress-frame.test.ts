import { gzipSync, zstdCompressSync } from 'node:zlib';
import { decompressFrame } from '../../../scripts/agent/data-path/decompress-frame.ts';

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
});
