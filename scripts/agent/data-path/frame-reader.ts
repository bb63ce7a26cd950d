import type { FileHandle } from 'node:fs/promises';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import type { Compression } from '../../../lib/domain/backup/keys.ts';
import { onDisk, readFully } from '../host/durable-file.ts';
import { decompressFrame } from './decompress-frame.ts';
import { releaseMemory } from './release-memory.ts';

/**
 * Reads a file of independent frames by its index: several are decompressed at once in libuv's thread pool, and handed
 * out in order. One call per frame, because Node 24 decodes only the first of concatenated zstd frames (nodejs/node
 * #64741); every length is compared, because a decoder may stop early without an error.
 */
export interface FrameLayout {
  readonly compression: Compression;
  readonly rawSize: number;
  readonly rawFrameSize: number;
  readonly frameSizes: readonly number[];
}

/** One for each of two cores, and one done ahead; every one costs a frame's memory. */
const IN_FLIGHT = 3;

/**
 * A frame's memory is given back when the frame after the next is asked for: left to the garbage collector, a hundred
 * megabytes of them would pile up. So a consumer may be at work on one frame and the one before, no more.
 *
 * @param where named in errors
 * @throws LifeboatError CORRUPT when a frame does not decompress to the length that the index gives
 */
export async function* readFrames(
  file: FileHandle,
  layout: FrameLayout,
  where: string,
): AsyncGenerator<Buffer> {
  const pending: Promise<Buffer>[] = [];
  // For the compressed bytes; a frame's slot is free again when it was awaited.
  const largest = layout.frameSizes.reduce((most, size) => Math.max(most, size), 1);
  const slots = Array.from({ length: IN_FLIGHT }, () => Buffer.allocUnsafe(largest));
  let offset = 0;
  let next = 0;
  const startNext = (): void => {
    const size = layout.frameSizes[next];
    if (size === undefined) return;
    const frame = readFrame(file, layout, {
      index: next,
      offset,
      size,
      where,
      slot: slots[next % IN_FLIGHT] as Buffer,
    });
    // Awaited in its turn; until then a failure must not count as unhandled.
    frame.catch(() => undefined);
    pending.push(frame);
    offset += size;
    next += 1;
  };
  requireWholeIndex(layout, where);
  for (let count = 0; count < IN_FLIGHT; count += 1) startNext();
  try {
    let before: Buffer | undefined;
    for (let frame = pending.shift(); frame; frame = pending.shift()) {
      const raw = await frame;
      startNext();
      yield raw;
      if (before) releaseMemory(before);
      before = raw;
    }
  } finally {
    // The file is closed after us: nothing may still be reading it.
    await Promise.allSettled(pending);
  }
}

interface FramePlace {
  readonly index: number;
  readonly offset: number;
  readonly size: number;
  readonly where: string;
  readonly slot: Buffer;
}

async function readFrame(file: FileHandle, layout: FrameLayout, place: FramePlace): Promise<Buffer> {
  const { index, offset, size, where, slot } = place;
  const compressed = slot.subarray(0, size);
  const read = await onDisk(`Cannot read ${where}`, () => readFully(file, compressed, offset));
  if (read < size) throw corrupt(`${where} ends within frame ${index + 1} of ${layout.frameSizes.length}`);
  const expected = rawLengthOf(layout, index);
  let raw: Buffer;
  try {
    raw = await decompressFrame(compressed, layout.compression, expected);
  } catch (cause) {
    const message = `Frame ${index + 1} of ${where} (bytes ${offset} to ${offset + size}) does not decompress: ${(cause as Error).message}`;
    throw new LifeboatError('CORRUPT', message, { cause });
  }
  if (raw.length !== expected) {
    throw corrupt(`Frame ${index + 1} of ${where} holds ${raw.length} bytes instead of ${expected}`);
  }
  return raw;
}

function rawLengthOf({ rawSize, rawFrameSize, frameSizes }: FrameLayout, index: number): number {
  return index < frameSizes.length - 1 ? rawFrameSize : rawSize - index * rawFrameSize;
}

function requireWholeIndex({ rawSize, rawFrameSize, frameSizes }: FrameLayout, where: string): void {
  const expected = Math.max(1, Math.ceil(rawSize / rawFrameSize));
  if (frameSizes.length !== expected) {
    throw corrupt(`The manifest of ${where} lists ${frameSizes.length} frames; its sizes make ${expected}`);
  }
}

function corrupt(message: string): LifeboatError {
  return new LifeboatError('CORRUPT', message);
}
