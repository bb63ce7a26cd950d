import type { Socket } from 'node:net';
import type { Client } from 'pg';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import { cancel } from './cancel.ts';
import { closeClient } from '../postgres/connection.ts';
import type { BackendMessage } from './message-reader.ts';
import {
  BACKEND,
  isFatal,
  parseDataRow,
  parseServerMessage,
  queryMessage,
  type Row,
  type ServerMessage,
} from './protocol.ts';
import { connectionLost, serverError } from './server-error.ts';
import type { SocketFeed } from './socket-feed.ts';

/** One command after the other on a connection that `pg` has signed in. */
export class Session {
  readonly #client: Client;
  readonly #feed: SocketFeed;
  readonly #socket: Socket;
  /** The command at work, without its values, for messages. */
  #command: string | undefined;
  #notice: ((said: ServerMessage) => void) | undefined;
  /** Why every further call fails. */
  #gone: Error | undefined;
  #cancelled: Promise<void> | undefined;

  constructor(client: Client, feed: SocketFeed) {
    this.#client = client;
    this.#feed = feed;
    this.#socket = (client as unknown as { connection: { stream: Socket } }).connection.stream;
    feed.takeOver(this.#socket);
    this.#socket.once('error', (error) => feed.reader.fail(connectionLost(error.message, error)));
    this.#socket.once('close', () => feed.reader.fail(connectionLost('the server closed it')));
  }

  get idle(): boolean {
    return this.#command === undefined;
  }

  /** When something was heard of the server last; while our own consumer makes it wait: now. */
  get heardAt(): number {
    return this.#feed.paused ? Date.now() : this.#feed.heardAt;
  }

  /**
   * Sends a command; `read` until it says that the command is over.
   * @param onNotice is told of warnings and notices meanwhile
   */
  begin(sql: string, onNotice?: (said: ServerMessage) => void): void {
    if (this.#gone) throw this.#gone;
    if (!this.idle) {
      throw new LifeboatError('BUG', `${nameOf(sql)} was sent while ${this.#command} is at work`);
    }
    this.#command = nameOf(sql);
    this.#notice = onNotice;
    this.#feed.heardAt = Date.now();
    this.send(queryMessage(sql));
  }

  /** Small things: nobody waits until they are out. */
  send(bytes: Buffer): void {
    this.#socket.write(bytes);
  }

  /** @returns when the bytes may be used again; never rejects, the next `read` does */
  sendAll(bytes: Buffer): Promise<void> {
    return new Promise((resolve) => {
      this.#socket.write(bytes, () => resolve());
    });
  }

  /** Lets the reader use again what was given out before the last turn. */
  turn(): void {
    this.#feed.reader.turn();
  }

  /** The body of the next message if that is a CopyData and here already. */
  copyDataNow(): Buffer | undefined {
    if (this.#gone) throw this.#gone;
    return this.#feed.reader.take(BACKEND.copyData)?.body;
  }

  /**
   * The next message of the command at work. ReadyForQuery is the last one.
   * @throws LifeboatError as `serverError` says; the next command may follow. DB_LOST
   */
  async read(): Promise<BackendMessage> {
    for (;;) {
      const message = await this.#next();
      if (message.type === BACKEND.errorResponse) await this.#refuse(parseServerMessage(message.body));
      if (!this.#isAside(message)) return message;
    }
  }

  /** Whether this is none of the command's own messages; takes note of it. */
  #isAside({ type, body }: BackendMessage): boolean {
    if (type === BACKEND.readyForQuery) this.#command = undefined;
    if (type === BACKEND.noticeResponse) this.#notice?.(parseServerMessage(body));
    return type === BACKEND.noticeResponse || type === BACKEND.parameterStatus;
  }

  async #next(): Promise<BackendMessage> {
    if (this.#gone) throw this.#gone;
    try {
      return await this.#feed.reader.next();
    } catch (error) {
      throw this.#break(error as Error);
    }
  }

  async #refuse(said: ServerMessage): Promise<never> {
    const command = this.#command ?? 'the connection';
    if (isFatal(said)) throw this.#break(connectionLost(said.message, said));
    while (!this.idle) this.#isAside(await this.#next());
    throw serverError(said, command);
  }

  /** @returns why the connection is gone: the first cause */
  #break(reason: Error): Error {
    this.#gone ??= reason;
    this.#socket.destroy();
    return this.#gone;
  }

  /** The rows of the next result set of the command at work; nothing else may come before it. */
  async resultSet(): Promise<Row[]> {
    const rows: Row[] = [];
    for (;;) {
      this.turn();
      const { type, body } = await this.read();
      if (type === BACKEND.dataRow) rows.push(parseDataRow(body));
      if (type === BACKEND.commandComplete || type === BACKEND.readyForQuery) return rows;
    }
  }

  /** Runs a command that answers with at most one result set. */
  async rows(sql: string): Promise<Row[]> {
    this.begin(sql);
    const rows = await this.resultSet();
    await this.untilIdle();
    return rows;
  }

  /** Passes over what is left of the command. */
  async untilIdle(): Promise<void> {
    while (!this.idle) {
      this.turn();
      await this.read();
    }
  }

  /** Whatever is or will be asked fails with the signal's reason. */
  abortOn(signal: AbortSignal | undefined): void {
    if (!signal) return;
    const abort = (): void => this.abort(signal.reason as Error);
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    this.#socket.once('close', () => signal.removeEventListener('abort', abort));
  }

  /** Gives the connection up at once; the command at work is cancelled on the server as well. */
  abort(reason: Error): void {
    if (!this.idle && !this.#gone) this.#cancelled ??= cancel(this.#client);
    this.#feed.reader.fail(reason);
    this.#break(reason);
  }

  async close(): Promise<void> {
    if (!this.idle) this.abort(new LifeboatError('BUG', 'The replication connection was closed'));
    this.#gone ??= new LifeboatError('BUG', 'The replication connection was closed');
    await this.#cancelled;
    await closeClient(this.#client);
  }
}

function nameOf(sql: string): string {
  return /^\w+/.exec(sql)?.[0] ?? 'a command';
}
