import { Socket } from 'node:net';
import { MessageReader } from './message-reader.ts';

/**
 * The socket of a connection: first `pg` signs in over it, then our reader takes it over for good. Node reads straight
 * into the reader's buffers, without a fresh one for each read; with TLS what was decrypted is copied there.
 */
export class SocketFeed {
  readonly reader: MessageReader;
  /** For `pg`'s Client, which connects it. */
  readonly plain: Socket;
  /** When something was heard of the server last, in ms since the epoch. */
  heardAt = Date.now();
  #socket: Socket;
  #takenOver = false;
  #paused = false;
  /** Decrypted bytes for which there is no room yet. */
  #rest: Buffer = Buffer.alloc(0);

  constructor() {
    this.reader = new MessageReader(() => this.#resume());
    this.plain = new Socket({
      onread: {
        buffer: () => this.reader.room,
        callback: (length, buffer) => this.#onRead(buffer as Buffer, length),
      },
    });
    this.#socket = this.plain;
  }

  /** Whether the server has to wait until our consumer has made room. */
  get paused(): boolean {
    return this.#paused;
  }

  #onRead(buffer: Buffer, length: number): boolean {
    if (!this.#takenOver) {
      // `pg` keeps slices of what it gets.
      this.plain.emit('data', Buffer.from(buffer.subarray(0, length)));
      return true;
    }
    this.heardAt = Date.now();
    this.#paused = !this.reader.received(length);
    return !this.#paused;
  }

  /**
   * After `pg` signed in, and before anything is asked: nothing is on its way that it could hold back.
   * @param socket the one that `pg` uses now: `plain`, or TLS over it
   */
  takeOver(socket: Socket): void {
    this.#socket = socket;
    this.#takenOver = true;
    socket.removeAllListeners('data');
    if (socket !== this.plain) socket.on('data', (chunk) => this.#onDecrypted(chunk));
    socket.resume();
  }

  #onDecrypted(chunk: Buffer): void {
    this.heardAt = Date.now();
    this.#rest = chunk;
    this.#moveRest();
    if (this.#paused) this.#socket.pause();
  }

  #moveRest(): void {
    this.#paused = false;
    while (this.#rest.length > 0 && !this.#paused) {
      const length = this.#rest.copy(this.reader.room);
      this.#rest = this.#rest.subarray(length);
      this.#paused = !this.reader.received(length);
    }
  }

  #resume(): void {
    this.#moveRest();
    if (!this.#paused) this.#socket.resume();
  }
}
