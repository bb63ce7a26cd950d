import { randomBytes } from 'node:crypto';
import { constants, zstdCompressSync } from 'node:zlib';
import type { BaseVolume } from '../../../../lib/domain/base/base-manifest.ts';
import { readVolume } from '../../../../scripts/agent/data-path/volumes/volume-reader.ts';
import type { ObjectStore } from '../../../../scripts/agent/ports/store.ts';

const RAW_FRAME = 3 * 1024 * 1024;

const compress = (raw: Buffer): Buffer =>
  zstdCompressSync(raw, { params: { [constants.ZSTD_c_checksumFlag]: 1 } });

/** A volume of these frames, and a store that has it and nothing else. */
function volumeOf(frames: readonly Buffer[], rawSize: number) {
  const object = Buffer.concat(frames);
  const volume = {
    key: 'base-00001.tar.zst',
    rawSize,
    rawFrameSize: RAW_FRAME,
    frameSizes: frames.map((f) => f.length),
  };
  const store = {
    urlOf: (key: string) => `file:///backups/${key}`,
    read: (_: string, { offset, length }: { offset: number; length: number }) =>
      // The reader gives its memory back.
      Promise.resolve(Buffer.from(object.subarray(offset, offset + length))),
  };
  return { store: store as unknown as ObjectStore, volume: volume as unknown as BaseVolume, object };
}

async function readAll(
  frames: readonly Buffer[],
  rawSize: number,
): Promise<{ raw: Buffer; stored: Buffer; object: Buffer }> {
  const { store, volume, object } = volumeOf(frames, rawSize);
  const [stored, raw]: [Buffer[], Buffer[]] = [[], []];
  const onStored = (frame: Buffer): void => void stored.push(Buffer.from(frame));
  for await (const piece of readVolume({ store, prefix: 'one/', volume, onStored }))
    raw.push(Buffer.from(piece));
  return { raw: Buffer.concat(raw), stored: Buffer.concat(stored), object };
}

describe('The bytes of a volume', () => {
  const raw = randomBytes(2 * RAW_FRAME + 777);
  const parts = [
    raw.subarray(0, RAW_FRAME),
    raw.subarray(RAW_FRAME, 2 * RAW_FRAME),
    raw.subarray(2 * RAW_FRAME),
  ];
  const frames = parts.map(compress);

  it('come in order, and each frame is shown as it is stored', async () => {
    const found = await readAll(frames, raw.length);
    expect(found.raw.equals(raw)).toBe(true);
    expect(found.stored.equals(found.object)).toBe(true);
  });

  it('are refused where a frame holds less or more than the manifest says', async () => {
    const short = compress(raw.subarray(0, 5000));
    await expect(readAll([frames[0]!, short, frames[2]!], raw.length)).rejects.toMatchObject({
      code: 'CORRUPT',
      message: `Frame 2 of 3 of file:///backups/one/base-00001.tar.zst holds 5000 bytes instead of ${RAW_FRAME}`,
    });
    await expect(readAll([frames[0]!], 1000)).rejects.toMatchObject({
      code: 'CORRUPT',
      message: expect.stringContaining(
        'Frame 1 of 1 of file:///backups/one/base-00001.tar.zst holds more than 1000 bytes',
      ),
    });
  });

  it('are refused where a frame is damaged', async () => {
    const damaged = Buffer.from(frames[1]!);
    damaged[damaged.length >> 1]! ^= 1;
    await expect(readAll([frames[0]!, damaged, frames[2]!], raw.length)).rejects.toMatchObject({
      code: 'CORRUPT',
      message: expect.stringMatching(/^Frame 2 of 3 .* does not decompress: /),
    });
    await expect(readAll([frames[0]!.subarray(0, 9000)], RAW_FRAME)).rejects.toMatchObject({
      code: 'CORRUPT',
    });
  });

  it('leave the error of whoever takes them as it is', async () => {
    const { store, volume } = volumeOf(frames, raw.length);
    const taking = async (): Promise<void> => {
      for await (const _ of readVolume({ store, prefix: '', volume, onStored: () => undefined }))
        throw new Error('full');
    };
    await expect(taking()).rejects.toThrow(/^full$/);
  });
});
