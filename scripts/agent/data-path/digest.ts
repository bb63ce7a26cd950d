import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { encodeCrc32 } from '../../../lib/domain/crc32.ts';
import type { DigestReader } from '../ports/backup.ts';
import type { ObjectStore } from '../ports/store.ts';
import { readAhead } from './read-ahead.ts';
import { releaseMemory } from './release-memory.ts';

const PIECES = 2;

/** Pieces are fetched ahead and hashed in order. */
export const digestReader: DigestReader = {
  digest: async (store, key, options) => {
    const hash = createHash('sha256');
    const size = await readPieces(store, key, { ...options, take: (piece) => hash.update(piece) });
    return { size, sha256: hash.digest('hex') };
  },
  checksum: async (store, key, options) => {
    let crc = 0;
    const take = (piece: Buffer): unknown => (crc = crc32(piece, crc));
    const size = await readPieces(store, key, { ...options, take });
    return { size, crc32: encodeCrc32(crc) };
  },
};

interface Reading {
  readonly size: number;
  readonly interrupted: AbortSignal;
  readonly onProgress?: (bytes: number) => void;
  readonly take: (piece: Buffer) => unknown;
}

/** @returns how many bytes there were */
async function readPieces(
  store: ObjectStore,
  key: string,
  { size, interrupted, onProgress, take }: Reading,
): Promise<number> {
  let done = 0;
  for await (const piece of readAhead(store, { key, size }, PIECES)) {
    interrupted.throwIfAborted();
    take(piece);
    done += piece.length;
    releaseMemory(piece);
    onProgress?.(done);
  }
  return done;
}
