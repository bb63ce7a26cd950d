import type { ObjectStore } from '../ports/store.ts';

/** Of S3 a request each. From a disk small ones are as fast, and with large ones the garbage collector would see memory run short. */
const PIECE = { s3: 8 * 1024 * 1024, local: 1024 * 1024 } as const;

/**
 * An object's bytes in order, in pieces that are fetched ahead in parallel.
 *
 * @param pieces so many are in memory at most, the one that was yielded among them
 * @throws LifeboatError what the store throws
 */
export async function* readAhead(
  store: ObjectStore,
  { key, size }: { readonly key: string; readonly size: number },
  pieces: number,
): AsyncGenerator<Buffer> {
  const pending: Promise<Buffer>[] = [];
  const pieceSize = PIECE[store.kind];
  let offset = 0;
  while (offset < size || pending.length > 0) {
    while (offset < size && pending.length < pieces) {
      const piece = store.read(key, { offset, length: Math.min(pieceSize, size - offset) });
      // Marked as handled: a later piece may fail before the earlier ones were asked for.
      piece.catch(() => undefined);
      pending.push(piece);
      offset += pieceSize;
    }
    yield await pending.shift()!;
  }
}
