import type { ObjectStore } from '../ports/store.ts';

const PIECE = 8 * 1024 * 1024;

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
  let offset = 0;
  while (offset < size || pending.length > 0) {
    while (offset < size && pending.length < pieces) {
      const piece = store.read(key, { offset, length: Math.min(PIECE, size - offset) });
      // Marked as handled: a later piece may fail before the earlier ones were asked for.
      piece.catch(() => undefined);
      pending.push(piece);
      offset += PIECE;
    }
    yield await pending.shift()!;
  }
}
