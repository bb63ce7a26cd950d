import { LifeboatError } from '../../../lib/domain/errors.ts';

/**
 * What a PostgreSQL server sends, cut into messages (type, length, body:
 * https://www.postgresql.org/docs/current/protocol-overview.html#PROTOCOL-MESSAGE-CONCEPTS) without a copy. The socket
 * reads into a few buffers that are used again and again; when all of them hold what nobody has consumed yet, it has to
 * pause, and with it the server.
 *
 * What `take` and `next` give out lies in those buffers. It is valid until the second `turn()` from then.
 */
export interface BackendMessage {
  readonly type: number;
  readonly body: Buffer;
}

/**
 * Larger than a message (32 KiB in a base backup, 128 KiB of WAL), so that little is moved from slab to slab, and small
 * enough that the few that are at work stay in the processor's cache: a third less time than with 1 MiB.
 */
const SLAB_SIZE = 256 * 1024;
/** 4 MiB: what is read ahead of a slow consumer. */
const SLABS = 16;
/** A read into less room than this would fetch too little for its cost. */
const LEAST_ROOM = 64 * 1024;
const HEADER_SIZE = 5;
/** Nothing that is asked for comes near it. */
const LARGEST_MESSAGE = 64 * 1024 * 1024;

interface Slab {
  readonly buffer: Buffer;
  /** Bytes received. */
  length: number;
  /** Where the last whole message ends. */
  framed: number;
  /** Where the next message to give out begins. */
  taken: number;
  /** The turn in which something of it was given out last. */
  turn: number;
}

export class MessageReader {
  readonly #slabs: [Slab, ...Slab[]] = [newSlab(SLAB_SIZE)];
  /** The one that was used last is taken first. */
  readonly #free: Slab[] = Array.from({ length: SLABS - 1 }, () => newSlab(SLAB_SIZE));
  /** Consumed, but perhaps still looked at. */
  readonly #retired: Slab[] = [];
  readonly #onRoom: () => void;
  #turn = 0;
  #full = false;
  #failure: Error | undefined;
  #waiting: (() => void) | undefined;

  /** @param onRoom the socket may go on reading after `received` said that it must not */
  constructor(onRoom: () => void) {
    this.#onRoom = onRoom;
  }

  /** Where the next bytes belong. */
  get room(): Buffer {
    const { buffer, length } = this.#filling;
    return buffer.subarray(length);
  }

  get #filling(): Slab {
    return this.#slabs.at(-1) ?? this.#slabs[0];
  }

  /**
   * So many bytes were written to `room`.
   * @returns whether to read on; there is room in any case
   */
  received(length: number): boolean {
    const slab = this.#filling;
    slab.length += length;
    const size = frame(slab);
    if (size > LARGEST_MESSAGE) {
      this.fail(new LifeboatError('DB_LOST', `What the server sends is no PostgreSQL protocol`));
      return false;
    }
    if (slab.buffer.length - slab.length < LEAST_ROOM) this.#openSlab(slab, size);
    this.#wake();
    return !this.#full;
  }

  /** The message whose beginning is here goes on in the next slab. */
  #openSlab(slab: Slab, messageSize: number): void {
    const next = messageSize + LEAST_ROOM > SLAB_SIZE ? newSlab(messageSize + LEAST_ROOM) : this.#free.pop();
    if (!next) throw new LifeboatError('BUG', 'More was read from the server than there is room for');
    next.length = slab.buffer.copy(next.buffer, 0, slab.framed, slab.length);
    this.#slabs.push(next);
    this.#full = this.#free.length === 0;
  }

  /** No more will come; what came before is given out first. */
  fail(error: Error): void {
    this.#failure ??= error;
    this.#wake();
  }

  #wake(): void {
    const wake = this.#waiting;
    this.#waiting = undefined;
    wake?.();
  }

  /** The consumer is done with what it got before the last turn. */
  turn(): void {
    this.#turn++;
    while (this.#retired[0] && this.#retired[0].turn < this.#turn - 1) {
      this.#release(this.#retired.shift()!);
    }
  }

  #release(slab: Slab): void {
    if (slab.buffer.length !== SLAB_SIZE) return;
    Object.assign(slab, { length: 0, framed: 0, taken: 0, turn: 0 });
    this.#free.push(slab);
    if (!this.#full) return;
    this.#full = false;
    this.#onRoom();
  }

  /** The next message if it is here already, and of this type where one is given. */
  take(type?: number): BackendMessage | undefined {
    let slab = this.#slabs[0];
    while (slab.taken === slab.framed) {
      const next = this.#slabs[1];
      if (!next) return undefined;
      this.#slabs.shift();
      this.#retired.push(slab);
      slab = next;
    }
    const start = slab.taken;
    if (type !== undefined && slab.buffer[start] !== type) return undefined;
    slab.taken += 1 + slab.buffer.readUInt32BE(start + 1);
    slab.turn = this.#turn;
    return { type: slab.buffer[start]!, body: slab.buffer.subarray(start + HEADER_SIZE, slab.taken) };
  }

  /** The next message. @throws what `fail` was told, once everything was given out */
  async next(): Promise<BackendMessage> {
    for (;;) {
      const message = this.take();
      if (message) return message;
      if (this.#failure) throw this.#failure;
      // Whoever waits without a turn, over more messages than there are slabs, must not wait for ever.
      if (this.#full) this.#release(newSlab(SLAB_SIZE));
      await new Promise<void>((resolve) => {
        this.#waiting = resolve;
      });
    }
  }
}

function newSlab(size: number): Slab {
  return { buffer: Buffer.allocUnsafeSlow(size), length: 0, framed: 0, taken: 0, turn: 0 };
}

/** Finds the whole messages among what was received. @returns the size of the one that isn't whole; 0: not known yet */
function frame(slab: Slab): number {
  while (slab.length - slab.framed >= HEADER_SIZE) {
    const size = 1 + slab.buffer.readUInt32BE(slab.framed + 1);
    // The length counts itself.
    if (size < HEADER_SIZE) return Infinity;
    if (slab.framed + size > slab.length) return size;
    slab.framed += size;
  }
  return 0;
}
