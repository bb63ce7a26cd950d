import type { Duplex } from 'node:stream';
import type { Client } from 'pg';

/**
 * One `COPY … FROM stdin` on a connection
 * (https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-COPY). Nothing waits for the server's consent: it
 * passes over the rows of a COPY that it refused.
 */

/** What `pg` calls on the query at hand; its types know only `submit`. */
interface ProtocolEvents {
  handleCopyInResponse(): void;
  handleCommandComplete(message: { readonly text: string }): void;
  handleError(error: Error): void;
  handleReadyForQuery(): void;
}

interface ProtocolConnection {
  readonly stream: Duplex;
}

const QUERY = 'Q'.charCodeAt(0);
const COPY_DATA = 'd'.charCodeAt(0);
const COPY_DONE = 'c'.charCodeAt(0);
/** The length counts itself. */
const LENGTH_SIZE = 4;

export class CopyIn implements ProtocolEvents {
  /** Rows that the server took in; rejects with its error. */
  readonly finished: Promise<number>;
  readonly #stream: Duplex;
  readonly #statement: Buffer;
  #settle: { resolve(rows: number): void; reject(error: Error): void } | undefined;
  #submitted = false;
  #rows = 0;

  /** @param statement in the connection's client_encoding */
  constructor(client: Client, statement: Buffer) {
    this.#stream = (client as unknown as { connection: ProtocolConnection }).connection.stream;
    this.#statement = statement;
    this.finished = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    // Whoever writes the rows waits for it, but only in its turn.
    this.finished.catch(() => undefined);
    client.query(this);
    // Rows must not overtake it.
    if (!this.#submitted) this.#settle?.reject(new Error('The connection was not ready for a COPY'));
  }

  submit(): void {
    this.#submitted = true;
    const text = Buffer.concat([this.#statement, Buffer.alloc(1)]);
    this.#stream.write(Buffer.concat([header(QUERY, text.length), text]));
  }

  /**
   * Some of the rows; a row may go on in the next call.
   * @returns when the bytes may be used again; never rejects, `finished` does
   */
  write(rows: Buffer): Promise<void> {
    return new Promise((resolve) => {
      this.#stream.cork();
      this.#stream.write(header(COPY_DATA, rows.length));
      this.#stream.write(rows, () => resolve());
      this.#stream.uncork();
    });
  }

  /** The rows are complete. @returns their number */
  async end(): Promise<number> {
    this.#stream.write(header(COPY_DONE, 0));
    return await this.finished;
  }

  handleCopyInResponse(): void {}

  handleCommandComplete({ text }: { readonly text: string }): void {
    this.#rows = Number(/^COPY (\d+)/.exec(text)?.[1] ?? 0);
  }

  handleError(error: Error): void {
    this.#settle?.reject(error);
  }

  handleReadyForQuery(): void {
    this.#settle?.resolve(this.#rows);
  }
}

function header(type: number, length: number): Buffer {
  const bytes = Buffer.allocUnsafe(1 + LENGTH_SIZE);
  bytes[0] = type;
  bytes.writeInt32BE(LENGTH_SIZE + length, 1);
  return bytes;
}
