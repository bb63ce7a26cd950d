import { mkdtempSync, rmSync } from 'node:fs';
import { open, writeFile, type FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { constants, gzipSync, zstdCompressSync } from 'node:zlib';
import type { LifeboatError } from '../../../lib/domain/errors.ts';
import { readFrames, type FrameLayout } from '../../../scripts/agent/data-path/frame-reader.ts';

const RAW_FRAME = 64 * 1024;
const folder = mkdtempSync(join(tmpdir(), 'lifeboat-frames-'));
afterAll(() => rmSync(folder, { recursive: true }));

const RAW = Buffer.alloc(RAW_FRAME * 9 + 777, 'some rows\tof a table\n');
for (let index = 0; index < RAW.length; index += 1) RAW[index]! ^= index >> 12;

function compress(raw: Buffer, compression: 'gzip' | 'zstd'): Buffer {
  return compression === 'gzip'
    ? gzipSync(raw)
    : zstdCompressSync(raw, { params: { [constants.ZSTD_c_checksumFlag]: 1 } });
}

async function writeFramed(
  compression: 'gzip' | 'zstd',
  change: (frames: Buffer[]) => Buffer[] = (frames) => frames,
): Promise<{ file: FileHandle; layout: FrameLayout }> {
  const frames = Array.from({ length: Math.ceil(RAW.length / RAW_FRAME) }, (_, index) =>
    compress(RAW.subarray(index * RAW_FRAME, (index + 1) * RAW_FRAME), compression),
  );
  const layout = {
    compression,
    rawSize: RAW.length,
    rawFrameSize: RAW_FRAME,
    frameSizes: frames.map(({ length }) => length),
  };
  const path = join(folder, `${Math.random()}`);
  await writeFile(path, Buffer.concat(change(frames)));
  return { file: await open(path, 'r'), layout };
}

async function readAll(file: FileHandle, layout: FrameLayout): Promise<Buffer> {
  const chunks: Buffer[] = [];
  // A copy: a frame's memory is given back when the one after the next is asked for.
  for await (const chunk of readFrames(file, layout, 'x')) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}

async function failure(file: FileHandle, layout: FrameLayout): Promise<LifeboatError> {
  const error: unknown = await readAll(file, layout).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  await file.close();
  expect(error).toMatchObject({ code: 'CORRUPT' });
  return error as LifeboatError;
}

describe.each(['gzip', 'zstd'] as const)('readFrames of %s', (compression) => {
  it('gives back what was compressed, in order, every frame of it', async () => {
    const { file, layout } = await writeFramed(compression);
    expect((await readAll(file, layout)).equals(RAW)).toBe(true);
    await file.close();
  });

  it('notices every flipped bit by the frame’s own checksum, and says in which frame', async () => {
    const { file, layout } = await writeFramed(compression, (frames) => {
      const third = frames[2]!;
      third[third.length >> 1]! ^= 0x10;
      return frames;
    });
    expect((await failure(file, layout)).message).toMatch(/Frame 3 of x .* does not decompress/);
  });

  it('notices a file that ends too early', async () => {
    const { file, layout } = await writeFramed(compression, (frames) => frames.slice(0, -1));
    expect((await failure(file, layout)).message).toMatch(/x ends within frame 10 of 10/);
  });

  it('notices a frame that holds less than the index says', async () => {
    const { file, layout } = await writeFramed(compression);
    expect((await failure(file, { ...layout, rawSize: layout.rawSize + 1 })).message).toMatch(
      /Frame 10 of x holds 777 bytes instead of 778/,
    );
  });

  it('notices a frame that holds more than the index says', async () => {
    const { file, layout } = await writeFramed(compression);
    expect((await failure(file, { ...layout, rawSize: layout.rawSize - 1 })).message).toMatch(
      /Frame 10 of x/,
    );
  });

  it('notices an index that is not complete', async () => {
    const { file, layout } = await writeFramed(compression);
    const frameSizes = layout.frameSizes.slice(0, 4);
    expect((await failure(file, { ...layout, frameSizes })).message).toMatch(
      /lists 4 frames; its sizes make 10/,
    );
  });

  it('may be left in the middle, and the file closed at once', async () => {
    const { file, layout } = await writeFramed(compression);
    for await (const chunk of readFrames(file, layout, 'x')) {
      expect(chunk.length).toBe(RAW_FRAME);
      break;
    }
    await file.close();
  });
});

it('reads an empty dump, which is one empty frame', async () => {
  const frame = gzipSync(Buffer.alloc(0));
  const path = join(folder, 'empty');
  await writeFile(path, frame);
  const file = await open(path, 'r');
  const layout = {
    compression: 'gzip',
    rawSize: 0,
    rawFrameSize: RAW_FRAME,
    frameSizes: [frame.length],
  } as const;
  expect(await readAll(file, layout)).toHaveLength(0);
  await file.close();
});
