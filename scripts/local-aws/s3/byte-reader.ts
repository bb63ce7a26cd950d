import { s3Error } from './s3-error.ts';

const NEWLINE = 0x0a;

/** Lines and byte counts out of a stream of buffers, without copying the bytes. */
export class ByteReader {
  readonly #source: AsyncIterator<Buffer>;
  #rest: Buffer = Buffer.alloc(0);

  constructor(source: AsyncIterable<Buffer>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** The next bytes: at least one, at most `limit`. @throws S3Error IncompleteBody at the end. */
  async upTo(limit: number): Promise<Buffer> {
    while (this.#rest.length === 0) await this.#fill();
    const piece = this.#rest.subarray(0, limit);
    this.#rest = this.#rest.subarray(piece.length);
    return piece;
  }

  /** Up to CRLF, which is left out. @throws S3Error IncompleteBody when it is longer than `limit` or never ends. */
  async line(limit: number): Promise<string> {
    let line = '';
    for (;;) {
      const end = this.#rest.indexOf(NEWLINE);
      line += this.#rest.subarray(0, end < 0 ? undefined : end).toString('latin1');
      // One more than the limit is the carriage return.
      if (line.length > limit + 1) throw malformed();
      if (end >= 0) {
        this.#rest = this.#rest.subarray(end + 1);
        return line.endsWith('\r') ? line.slice(0, -1) : line;
      }
      await this.#fill();
    }
  }

  async #fill(): Promise<void> {
    const next = await this.#source.next();
    if (next.done === true) throw malformed();
    this.#rest = next.value;
  }
}

const malformed = (): Error => s3Error('IncompleteBody', 'The request body terminated unexpectedly');
