import { createGunzip, createZstdDecompress } from 'node:zlib';
import type { Compression } from '../../../lib/domain/backup/keys.ts';
import { releaseMemory } from './release-memory.ts';

/** Room beyond a frame's length, so that zlib sees the frame's end without asking for a second output buffer. */
const SPARE = 1024;
/** zlib's own. */
const LEAST_CHUNK = 64;

const DECOMPRESSORS = { gzip: createGunzip, zstd: createZstdDecompress } as const;

/**
 * The plain bytes of one gzip member or zstd frame, decompressed in libuv's thread pool. As `gunzip` and `zstdDecompress` of
 * node:zlib do, but those copy their output, and leave the original to the garbage collector.
 *
 * @param rawSize how many bytes it ought to hold: the caller compares, as a decoder may stop early without an error
 * @returns the decompressor's own output buffer; a large one is to be given back with `releaseMemory`
 * @throws zlib's error, or a RangeError for more than `rawSize`
 */
export function decompressFrame(frame: Buffer, compression: Compression, rawSize: number): Promise<Buffer> {
  const room = rawSize + SPARE;
  const decompressor = DECOMPRESSORS[compression]({ chunkSize: Math.max(LEAST_CHUNK, room) });
  return new Promise((resolve, reject) => {
    const pieces: Buffer[] = [];
    let size = 0;
    decompressor.on('data', (piece: Buffer) => {
      size += piece.length;
      if (size > room) decompressor.destroy(new RangeError(`it holds more than ${rawSize} bytes`));
      else pieces.push(piece);
    });
    decompressor.once('error', reject);
    decompressor.once('end', () => resolve(pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces)));
    decompressor.end(frame);
  });
}

/** Fits the processor's cache: what takes in a larger one waits for the memory, and the disk's cache is filled half as fast. */
const PIECE = 1024 * 1024;

/**
 * The same in pieces, each decompressed while the one before it is worked on. A piece's memory is given back once the next is
 * asked for.
 * @throws zlib's error
 */
export async function* decompressInPieces(frame: Buffer, compression: Compression): AsyncGenerator<Buffer> {
  const decompressor = DECOMPRESSORS[compression]({ chunkSize: PIECE });
  decompressor.end(frame);
  for await (const piece of decompressor as AsyncIterable<Buffer>) {
    yield piece;
    // Into what is left of one that is not full the decompressor may still be writing.
    if (piece.length === PIECE) releaseMemory(piece);
  }
}
