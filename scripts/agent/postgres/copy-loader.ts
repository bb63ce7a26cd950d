import type { Client } from 'pg';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import type { RowPiece } from '../ports/dump-files.ts';
import { closeClient } from './connection.ts';
import { CopyIn } from './copy-in.ts';

/**
 * Loads the rows of one table after another, each over several connections at once: PostgreSQL takes in one COPY on one
 * core. Every connection gets whole rows, as soon as it has room for more.
 */

/** Small, so that at a table's end no connection has much more left to do than the others. */
const PORTION = 512 * 1024;
/** Portions on their way to one connection: one that it reads and one that waits. */
const PORTIONS_AHEAD = 2;
const NEWLINE = 10;

interface Lane {
  readonly client: Client;
  copy: CopyIn | undefined;
  waiting: number;
}

export class CopyLoader {
  readonly #lanes: readonly Lane[];
  #statement: Buffer | undefined;
  /** Whose last row is not complete yet. */
  #within: Lane | undefined;
  #failure: LifeboatError | undefined;
  #room: (() => void) | undefined;
  #before: Promise<unknown> = Promise.resolve();

  /** @param clients at least one, in the session state of the dump; the loader closes them */
  constructor(clients: readonly Client[]) {
    this.#lanes = clients.map((client) => ({ client, copy: undefined, waiting: 0 }));
  }

  async listen(channel: string, heard: (payload: string) => void): Promise<void> {
    const { client } = this.#lanes[0]!;
    client.on('notification', (notification) => {
      if (notification.channel === channel) heard(notification.payload ?? '');
    });
    await client.query(`LISTEN ${channel}`);
  }

  /** @returns at the table's end the number of its rows, all of them committed. @throws LifeboatError RESTORE_FAILED */
  async take(piece: RowPiece): Promise<number | undefined> {
    switch (piece.kind) {
      case 'copy':
        this.#statement = piece.statement;
        return undefined;
      case 'rows': {
        const { written } = await this.#write(piece.bytes);
        // The bytes of the piece before may be gone from now on, those of this one not yet.
        await this.#before;
        this.#before = written;
        return undefined;
      }
      case 'end of rows':
        return await this.#end();
    }
  }

  /** @returns a promise of when the bytes may be used again, which is kept even after a failure */
  async #write(bytes: Buffer): Promise<{ readonly written: Promise<unknown> }> {
    const written: Promise<void>[] = [];
    for (let rest = bytes; rest.length > 0;) {
      const portion = rest.subarray(0, portionEnd(rest));
      const lane = this.#within ?? (await this.#free());
      this.#throwFailure();
      written.push(this.#send(lane, portion));
      // A newline ends a row in every encoding: within a row's text it is written as \n.
      this.#within = portion[portion.length - 1] === NEWLINE ? undefined : lane;
      rest = rest.subarray(portion.length);
    }
    return { written: Promise.all(written) };
  }

  async #end(): Promise<number> {
    // The server must judge the statement of an empty table too.
    if (this.#lanes.every(({ copy }) => !copy)) this.#open(this.#lanes[0]!);
    const open = this.#lanes.flatMap(({ copy }) => copy ?? []);
    // The first failure ends all: the others may have much left to do.
    const counts = await Promise.all(open.map((copy) => copy.end())).catch((error: unknown) => {
      throw this.#failure ?? error;
    });
    for (const lane of this.#lanes) lane.copy = undefined;
    this.#statement = undefined;
    this.#within = undefined;
    return counts.reduce((sum, rows) => sum + rows, 0);
  }

  /** Rows of a table that was not ended are rolled back: the server sees the connection break. */
  async close(): Promise<void> {
    await Promise.all(
      this.#lanes.map(async ({ client, copy }) => {
        if (copy) breakConnection(client);
        await closeClient(client);
      }),
    );
  }

  /** Ends all sessions at once. */
  abort(): void {
    for (const { client } of this.#lanes) breakConnection(client);
  }

  #open(lane: Lane): CopyIn {
    const copy = new CopyIn(lane.client, this.#statement!);
    lane.copy = copy;
    copy.finished.catch((error: unknown) => {
      this.#failure ??= explain(error as ServerError);
      this.#room?.();
    });
    return copy;
  }

  async #send(lane: Lane, portion: Buffer): Promise<void> {
    const copy = lane.copy ?? this.#open(lane);
    lane.waiting += 1;
    await copy.write(portion);
    lane.waiting -= 1;
    this.#room?.();
  }

  async #free(): Promise<Lane> {
    for (;;) {
      const [lane] = [...this.#lanes].sort((a, b) => a.waiting - b.waiting);
      if (lane!.waiting < PORTIONS_AHEAD || this.#failure) return lane!;
      await new Promise<void>((resolve) => {
        this.#room = resolve;
      });
    }
  }

  #throwFailure(): void {
    if (this.#failure) throw this.#failure;
  }
}

/** Up to and including a newline, if there is one. */
function portionEnd(rest: Buffer): number {
  if (rest.length <= PORTION * 1.5) {
    const last = rest.lastIndexOf(NEWLINE);
    return last < 0 ? rest.length : last + 1;
  }
  const next = rest.indexOf(NEWLINE, PORTION);
  return next < 0 ? rest.length : next + 1;
}

interface ServerError extends Error {
  readonly severity?: string;
  readonly detail?: string;
  readonly hint?: string;
  /** `COPY orders, line 7, column total: "x"` */
  readonly where?: string;
}

/** A line's number would be one within what a single connection got. */
function explain(error: ServerError): LifeboatError {
  const where = error.where?.replaceAll(/^(COPY .*), line \d+/gm, '$1');
  const said = [`${error.severity ?? 'ERROR'}:  ${error.message}`];
  if (error.detail) said.push(`DETAIL:  ${error.detail}`);
  if (error.hint) said.push(`HINT:  ${error.hint}`);
  if (where) said.push(`CONTEXT:  ${where}`);
  return new LifeboatError('RESTORE_FAILED', `PostgreSQL refused rows: ${said.join('\n')}`, { cause: error });
}

function breakConnection(client: Client): void {
  (client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
}
