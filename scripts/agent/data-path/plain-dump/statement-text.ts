const COPY_START = 'COPY ';
const SET_START = 'SET c';
const START_LENGTH = 5;
/** A COPY statement lists at most 1,600 columns of 63 quoted bytes. */
const STATEMENT_KEPT = 1 << 20;

/**
 * The text of a statement for as long as it may still be one that matters: a COPY, or the setting of the encoding; of
 * others, such as a large object's, little is kept.
 */
export class StatementText {
  readonly #pieces: Buffer[] = [];
  #length = 0;

  keep(chunk: Buffer, from: number, to: number): void {
    if (to <= from || this.#length > STATEMENT_KEPT) return;
    if (this.#length >= START_LENGTH && !this.#matters()) return;
    // A copy, not a view: the chunk's memory belongs to the caller.
    this.#pieces.push(Buffer.from(chunk.subarray(from, to)));
    this.#length += to - from;
  }

  /** `undefined` when it is neither a COPY nor the setting of the encoding. */
  get bytes(): Buffer | undefined {
    return this.#matters() ? Buffer.concat(this.#pieces) : undefined;
  }

  /** False once it is known for another statement. */
  get mayBeCopy(): boolean {
    const start = this.#start;
    return COPY_START.startsWith(start);
  }

  /** True when nothing but the two dashes of a comment was kept. */
  get isOnlyComment(): boolean {
    return this.#length === 2 && Buffer.concat(this.#pieces).toString('latin1') === '--';
  }

  #matters(): boolean {
    const start = this.#start;
    return start === COPY_START || start === SET_START;
  }

  get #start(): string {
    return Buffer.concat(this.#pieces, Math.min(this.#length, START_LENGTH)).toString('latin1');
  }
}
