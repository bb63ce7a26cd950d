import { SLASH, STAR } from './characters.ts';

/** A block comment from after its opening on; SQL’s may hold others. */
export class BlockComment {
  #depth = 1;
  #previous = 0;

  /** @returns true when `byte` is its last one */
  endsWith(byte: number): boolean {
    const closes = byte === SLASH && this.#previous === STAR;
    const opens = byte === STAR && this.#previous === SLASH;
    if (closes) this.#depth -= 1;
    if (opens) this.#depth += 1;
    // Each byte belongs to one token only: the star of an opening does not also close.
    this.#previous = opens || closes ? 0 : byte;
    return this.#depth === 0;
  }
}
