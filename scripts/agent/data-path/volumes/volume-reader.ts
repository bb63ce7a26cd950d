import type { BaseVolume } from '../../../../lib/domain/base/base-manifest.ts';
import { LifeboatError } from '../../../../lib/domain/errors.ts';
import type { ObjectStore } from '../../ports/store.ts';
import { decompressInPieces } from '../decompress-frame.ts';
import { releaseMemory } from '../release-memory.ts';

/** Fetched while the one before them is decompressed. */
const FRAMES_AHEAD = 2;

export interface VolumeSource {
  readonly store: ObjectStore;
  /** Of the backup's own folder. */
  readonly prefix: string;
  readonly volume: BaseVolume;
  /** Is shown each frame as it is stored, in order. */
  readonly onStored: (frame: Buffer) => void;
}

/** A part of a volume that is decompressed on its own. */
export interface VolumeFrame {
  /** Of its plain bytes. */
  readonly rawSize: number;
  /**
   * Its plain bytes, in pieces that are in the processor's cache when they are yielded. A piece's memory is given back once the
   * next is asked for. To be read once, to its end.
   * @throws LifeboatError CORRUPT when it does not decode to its length
   */
  pieces(): AsyncGenerator<Buffer>;
}

/**
 * A volume's frames in order, fetched ahead. They may be decompressed at the same time.
 * @throws LifeboatError what the store throws
 */
export async function* readFrames(source: VolumeSource): AsyncGenerator<VolumeFrame> {
  const { rawSize, rawFrameSize, frameSizes } = source.volume;
  let index = 0;
  for await (const stored of readStoredFrames(source)) {
    source.onStored(stored);
    const number = index;
    const expected = number < frameSizes.length - 1 ? rawFrameSize : rawSize - number * rawFrameSize;
    yield { rawSize: expected, pieces: () => decompress(source, number, stored, expected) };
    index += 1;
  }
}

/**
 * A volume's plain bytes, in pieces that are in the processor's cache when they are yielded. A piece's memory is given back once
 * the next is asked for.
 * @throws LifeboatError CORRUPT for a frame that does not decode to its length, and what the store throws
 */
export async function* readVolume(source: VolumeSource): AsyncGenerator<Buffer> {
  for await (const frame of readFrames(source)) yield* frame.pieces();
}

async function* readStoredFrames({ store, prefix, volume }: VolumeSource): AsyncGenerator<Buffer> {
  const pending: Promise<Buffer>[] = [];
  let offset = 0;
  let next = 0;
  const startNext = (): void => {
    const length = volume.frameSizes[next];
    if (length === undefined) return;
    const frame = store.read(prefix + volume.key, { offset, length });
    // Awaited in its turn; until then a failure must not count as unhandled.
    frame.catch(() => undefined);
    pending.push(frame);
    offset += length;
    next += 1;
  };
  for (let count = 0; count < FRAMES_AHEAD; count += 1) startNext();
  try {
    for (let frame = pending.shift(); frame; frame = pending.shift()) {
      const bytes = await frame;
      startNext();
      yield bytes;
    }
  } finally {
    await Promise.allSettled(pending);
  }
}

async function* decompress(
  { store, prefix, volume }: VolumeSource,
  index: number,
  stored: Buffer,
  expected: number,
): AsyncGenerator<Buffer> {
  const where = `Frame ${index + 1} of ${volume.frameSizes.length} of ${store.urlOf(prefix + volume.key)}`;
  let size = 0;
  try {
    for await (const piece of decompressInPieces(stored, 'zstd')) {
      size += piece.length;
      if (size > expected) break;
      yield piece;
    }
  } catch (cause) {
    throw new LifeboatError('CORRUPT', `${where} does not decompress: ${(cause as Error).message}`, {
      cause,
    });
  }
  if (size === expected) return releaseMemory(stored);
  const holds = size > expected ? `more than ${expected} bytes` : `${size} bytes instead of ${expected}`;
  throw new LifeboatError('CORRUPT', `${where} holds ${holds}`);
}
