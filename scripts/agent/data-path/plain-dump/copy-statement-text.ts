const COPY_START = 'COPY ';
const COPY_STATEMENT = /^COPY .* FROM stdin$/s;
/** A COPY statement lists at most 1,600 columns of 63 quoted bytes. */
const STATEMENT_KEPT = 1 << 20;

/** The text of a statement for as long as it may still be a COPY; of others, such as a large object's, little is kept. */
export class CopyStatementText {
  readonly #pieces: Buffer[] = [];
  #length = 0;

  keep(chunk: Buffer, from: number, to: number): void {
    if (to <= from || this.#length > STATEMENT_KEPT) return;
    if (this.#length >= COPY_START.length && !this.#startsWithCopy()) return;
    // A copy, not a view: the chunk's memory belongs to the caller.
    this.#pieces.push(Buffer.from(chunk.subarray(from, to)));
    this.#length += to - from;
  }

  /** `COPY … FROM stdin`; `undefined` when it is another statement. */
  get copyStatement(): string | undefined {
    if (!this.#startsWithCopy()) return undefined;
    const text = Buffer.concat(this.#pieces).toString('utf8');
    return COPY_STATEMENT.test(text) ? text : undefined;
  }

  /** True when nothing but the two dashes of a comment was kept. */
  get isOnlyComment(): boolean {
    return this.#length === 2 && Buffer.concat(this.#pieces).toString('latin1') === '--';
  }

  #startsWithCopy(): boolean {
    const start = Buffer.concat(this.#pieces, Math.min(this.#length, COPY_START.length));
    return start.toString('latin1') === COPY_START;
  }
}
