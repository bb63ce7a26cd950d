import type { FileHandle } from 'node:fs/promises';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import { onDisk, readFully } from '../host/durable-file.ts';

/**
 * Finds where each zstd frame begins and ends by reading only headers (RFC 8878, 3.1), because Node 24 decodes one frame
 * a call and ignores the rest without a word.
 */
export interface ZstdFrame {
  readonly offset: number;
  readonly size: number;
}

const MAGIC = 0xfd2fb528;
const SKIPPABLE = 0x184d2a50;
/** Magic, descriptor, window, dictionary id, content size. */
const LONGEST_HEADER = 18;
const BLOCK_HEADER = 3;
const RLE_BLOCK = 1;
const WINDOW = 64 * 1024;

/** Skippable frames hold no content and are passed over. @throws LifeboatError CORRUPT */
export async function* findZstdFrames(
  file: FileHandle,
  size: number,
  where: string,
): AsyncGenerator<ZstdFrame> {
  const reader = new HeaderReader(file, size, where);
  for (let offset = 0; offset < size;) {
    const magic = (await reader.at(offset, 4)).readUInt32LE(0);
    if ((magic & 0xfffffff0) >>> 0 === SKIPPABLE) {
      offset += 8 + (await reader.at(offset + 4, 4)).readUInt32LE(0);
    } else if (magic === MAGIC) {
      const end = await frameEnd(reader, offset);
      yield { offset, size: end - offset };
      offset = end;
    } else {
      throw new LifeboatError('CORRUPT', `${where} is damaged: no zstd frame begins at byte ${offset}`);
    }
  }
}

async function frameEnd(reader: HeaderReader, start: number): Promise<number> {
  const head = await reader.upTo(start, LONGEST_HEADER);
  const descriptor = head[4] ?? 0;
  let at = start + headerLength(descriptor);
  for (let last = false; !last;) {
    const header = (await reader.at(at, BLOCK_HEADER)).readUIntLE(0, BLOCK_HEADER);
    const type = (header >> 1) & 3;
    last = (header & 1) === 1;
    at += BLOCK_HEADER + (type === RLE_BLOCK ? 1 : header >> 3);
  }
  const checksum = (descriptor & 4) === 0 ? 0 : 4;
  // Proves that the file holds the frame's last byte.
  await reader.at(at + checksum - 1, 1);
  return at + checksum;
}

function headerLength(descriptor: number): number {
  const singleSegment = (descriptor & 0x20) !== 0;
  const dictionaryId = [0, 1, 2, 4][descriptor & 3] as number;
  const contentSize = [singleSegment ? 1 : 0, 2, 4, 8][descriptor >> 6] as number;
  return 4 + 1 + (singleSegment ? 0 : 1) + dictionaryId + contentSize;
}

/** Small reads at ascending offsets through one window: most blocks are shorter than it. */
class HeaderReader {
  readonly #file: FileHandle;
  readonly #size: number;
  readonly #where: string;
  #window = Buffer.alloc(0);
  #windowStart = 0;

  constructor(file: FileHandle, size: number, where: string) {
    this.#file = file;
    this.#size = size;
    this.#where = where;
  }

  async at(offset: number, length: number): Promise<Buffer> {
    const bytes = await this.upTo(offset, length);
    if (bytes.length === length) return bytes;
    throw new LifeboatError(
      'CORRUPT',
      `${this.#where} is cut short: it ends at byte ${this.#size} within a zstd frame`,
    );
  }

  async upTo(offset: number, length: number): Promise<Buffer> {
    const from = offset - this.#windowStart;
    if (from < 0 || from + length > this.#window.length) await this.#move(offset);
    return this.#window.subarray(offset - this.#windowStart, offset - this.#windowStart + length);
  }

  async #move(offset: number): Promise<void> {
    const window = Buffer.alloc(Math.max(0, Math.min(WINDOW, this.#size - offset)));
    const read = await onDisk(`Cannot read ${this.#where}`, () => readFully(this.#file, window, offset));
    this.#window = window.subarray(0, read);
    this.#windowStart = offset;
  }
}
