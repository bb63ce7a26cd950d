/** Finds the first end of a byte sequence in a stream of chunks, also where it straddles two of them. */
export class SequenceFinder {
  readonly #sequence: Buffer;
  #tail: Buffer;

  /** @param before bytes that count as standing before the stream, such as the newline that starts its first line */
  constructor(sequence: Buffer, before: Buffer = Buffer.alloc(0)) {
    this.#sequence = sequence;
    this.#tail = before;
  }

  /** Position in `chunk` just after the sequence when it ends at or after `from`; -1 when it does not end in this chunk. */
  findEnd(chunk: Buffer, from: number): number {
    const overlap = this.#sequence.length - 1;
    const seam = Buffer.concat([this.#tail, chunk.subarray(from, from + overlap)]);
    const atSeam = seam.indexOf(this.#sequence);
    if (atSeam >= 0) return from + atSeam + this.#sequence.length - this.#tail.length;
    const found = chunk.indexOf(this.#sequence, from);
    if (found >= 0) return found + this.#sequence.length;
    const rest = chunk.subarray(Math.max(from, chunk.length - overlap));
    // A copy, not a view: the chunk's memory belongs to the caller.
    this.#tail = Buffer.concat([this.#tail, rest]).subarray(-overlap);
    return -1;
  }
}
