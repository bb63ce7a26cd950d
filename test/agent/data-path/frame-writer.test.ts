import { gunzipSync, zstdDecompressSync } from 'node:zlib';
import { compressFrame } from '../../../scripts/agent/data-path/compress-frame.ts';
import { RAW_FRAME_SIZE } from '../../../scripts/agent/data-path/frame-buffers.ts';
import { FrameWriter } from '../../../scripts/agent/data-path/frame-writer.ts';

function patternOf(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let index = 0; index < length; index += 1) bytes[index] = (index * 2654435761) >>> 24;
  return bytes;
}

async function write(compression: 'gzip' | 'zstd', input: Buffer, chunkSize: number) {
  const frames: Buffer[] = [];
  const writer = new FrameWriter({
    compression,
    level: 1,
    emit: async (frame) => {
      // Slower for early frames: order must come from the writer, not from luck.
      await new Promise((resolve) => setTimeout(resolve, frames.length === 0 ? 20 : 0));
      // Its memory is given back once this has resolved.
      frames.push(Buffer.from(frame));
    },
  });
  for (let at = 0; at < input.length; at += chunkSize) {
    const chunk = Buffer.from(input.subarray(at, at + chunkSize));
    await writer.write(chunk);
    // The caller may reuse its buffer as soon as write has resolved.
    chunk.fill(0);
  }
  await writer.end();
  return { frames, writer };
}

describe('Framing a dump', () => {
  const input = patternOf(RAW_FRAME_SIZE * 2 + 12_345);

  it('cuts into gzip members that read as one file and each on its own', async () => {
    const { frames, writer } = await write('gzip', input, 65_536);
    expect(gunzipSync(Buffer.concat(frames)).equals(input)).toBe(true);
    expect(frames.map((frame) => gunzipSync(frame).length)).toEqual([RAW_FRAME_SIZE, RAW_FRAME_SIZE, 12_345]);
    expect(writer.frameSizes).toEqual(frames.map(({ length }) => length));
    expect(writer.rawSize).toBe(input.length);
  });

  it('cuts into zstd frames that carry a checksum', async () => {
    const { frames } = await write('zstd', input, 1_000_003);
    expect(Buffer.concat(frames.map((frame) => zstdDecompressSync(frame))).equals(input)).toBe(true);
    // The whole frame is stored, so a flipped bit in the middle would decode cleanly but for the checksum.
    const damaged = Buffer.from(frames[2]!);
    damaged[damaged.length >> 1]! ^= 1;
    expect(() => zstdDecompressSync(damaged)).toThrow();
  });

  it('ends a zstd frame once, without an empty one behind it', async () => {
    const { frames } = await write('zstd', Buffer.alloc(RAW_FRAME_SIZE + 3, 'page '), 1_000_003);
    expect(frames.map((frame) => frame.lastIndexOf(Buffer.from('28b52ffd', 'hex')))).toEqual([0, 0]);
  });

  it.each([
    ['gzip', gunzipSync],
    ['zstd', zstdDecompressSync],
  ] as const)('makes a valid %s file of an empty stream', async (compression, decompressed) => {
    const { frames } = await write(compression, Buffer.alloc(0), 1);
    expect(frames).toHaveLength(1);
    expect(decompressed(frames[0]!)).toHaveLength(0);
  });

  it.each([1, 2, 3, 9, 19])('packs data pages at level %i into frames that any zstd reads', async (level) => {
    const pages = patternOf(100_000);
    const frame = await compressFrame(pages, { compression: 'zstd', level, pages: true });
    expect(zstdDecompressSync(frame).equals(pages)).toBe(true);
  });

  it('says what keeps a frame from being compressed', async () => {
    const refused = compressFrame(Buffer.alloc(10), { compression: 'gzip', level: 99 });
    await expect(refused).rejects.toThrow('level');
  });

  it('passes on what a sink threw and emits nothing after it', async () => {
    let emitted = 0;
    const writer = new FrameWriter({
      compression: 'zstd',
      level: 1,
      emit: () => {
        emitted += 1;
        return Promise.reject(new Error('the disk is full'));
      },
    });
    await expect(
      (async () => {
        for (let round = 0; round < 12; round += 1) await writer.write(Buffer.alloc(RAW_FRAME_SIZE));
        await writer.end();
      })(),
    ).rejects.toThrow('the disk is full');
    expect(emitted).toBe(1);
  });
});
