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

/**
 * A volume's plain bytes, in pieces that are in the processor's cache when they are yielded. A piece's memory is given back once
 * the next is asked for.
 * @throws LifeboatError CORRUPT for a frame that does not decode to its length, and what the store throws
 */
export async function* readVolume(source: VolumeSource): AsyncGenerator<Buffer> {
  let index = 0;
  for await (const stored of readStoredFrames(source)) {
    source.onStored(stored);
    yield* decompress(source, index, stored);
    releaseMemory(stored);
    index += 1;
  }
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

async function* decompress(source: VolumeSource, index: number, stored: Buffer): AsyncGenerator<Buffer> {
  const { store, prefix, volume } = source;
  const { key, rawSize, rawFrameSize, frameSizes } = volume;
  const where = `Frame ${index + 1} of ${frameSizes.length} of ${store.urlOf(prefix + key)}`;
  const expected = index < frameSizes.length - 1 ? rawFrameSize : rawSize - index * rawFrameSize;
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
  if (size === expected) return;
  const holds = size > expected ? `more than ${expected} bytes` : `${size} bytes instead of ${expected}`;
  throw new LifeboatError('CORRUPT', `${where} holds ${holds}`);
}
