import { createHash } from 'node:crypto';
import type { DigestReader } from '../ports/backup.ts';
import type { ObjectStore } from '../ports/store.ts';

const PIECE = 8 * 1024 * 1024;
const AHEAD = 2;

/** Pieces are fetched ahead in parallel and hashed in order; memory is bounded by the pieces in flight. */
export const digestReader: DigestReader = {
  digest: async (store, key, { size, interrupted, onProgress }) => {
    const hash = createHash('sha256');
    let done = 0;
    for await (const piece of readAhead(store, key, size)) {
      interrupted.throwIfAborted();
      hash.update(piece);
      done += piece.length;
      onProgress?.(done);
    }
    return { size: done, sha256: hash.digest('hex') };
  },
};

async function* readAhead(store: ObjectStore, key: string, size: number): AsyncGenerator<Buffer> {
  const pending: Promise<Buffer>[] = [];
  let offset = 0;
  while (offset < size || pending.length > 0) {
    while (offset < size && pending.length < AHEAD) {
      const piece = store.read(key, { offset, length: Math.min(PIECE, size - offset) });
      // Marked as handled: a later piece may fail before the earlier ones were asked for.
      piece.catch(() => undefined);
      pending.push(piece);
      offset += PIECE;
    }
    yield await pending.shift()!;
  }
}
