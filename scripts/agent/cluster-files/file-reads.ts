import { closeSync, read, readSync } from 'node:fs';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import { openPageMemory, type PageMemory } from '../data-path/pages/page-memory.ts';
import type { FileMember, Member } from './cluster-walk.ts';
import { cannotRead } from './disk-failure.ts';

/** Large enough that a disk is kept busy, small enough that what was read is still in the processor's cache when it is sent. */
const CHUNK = 512 * 1024;
const CHUNKS_AHEAD = 8;
/** Read at once when their turn comes: the way through the thread pool would take longer than the reading. */
const SMALL = 64 * 1024;
/** Opened, but not yet sent: each is a file descriptor. */
const MEMBERS_AHEAD = 64;

/** A stretch of a file: what was asked for, of which the first `read` bytes are the file's and the rest zeros. */
export interface Chunk {
  readonly bytes: Buffer;
  readonly offset: number;
  /** Less than asked for where the file was cut off since it was opened. */
  readonly read: number;
  /** Where the pages can be checked. */
  readonly memory: PageMemory;
}

/** What a piece is made of, in order: a member, then the chunks of its file, as long as the file was when it was opened. */
interface QueuedMember {
  readonly member: Member;
  /** Bytes of its file for which a read was begun. */
  planned: number;
  readonly reads: PendingRead[];
}

interface PendingRead {
  readonly buffer: Buffer;
  readonly done: Promise<number>;
  readonly length: number;
  readonly offset: number;
}

/**
 * Reads the files of a walk, large ones ahead of their turn, in memory of its own. A chunk is valid until the next but one
 * is asked for.
 */
export class FileReads {
  readonly #large = openPageMemory(CHUNKS_AHEAD + 2, CHUNK);
  readonly #small = openPageMemory(3, SMALL);
  readonly #idle: Buffer[] = [...this.#large.buffers];
  readonly #held: (Buffer | undefined)[] = [];
  readonly #queue: QueuedMember[] = [];
  readonly #pending = new Set<Promise<unknown>>();
  #smallTurn = 0;
  #walk: Iterator<Member> | undefined;
  #current: QueuedMember | undefined;

  /** The members of the next walk, after those of the one before. */
  begin(walk: Iterator<Member>): void {
    this.#walk = walk;
  }

  /** @returns `undefined` at the walk's end. The file of the member before it is closed. @throws LifeboatError DISK_FAILED */
  nextMember(): Member | undefined {
    this.#closeCurrent();
    this.#current = this.#queue.shift() ?? this.#takeNext();
    this.#readAhead();
    return this.#current?.member;
  }

  /** Of the file that `nextMember` returned last; `undefined` at its end. @throws LifeboatError DISK_FAILED */
  async nextChunk(): Promise<Chunk | undefined> {
    const current = this.#current!;
    const member = current.member as FileMember;
    const { size } = member.file.stat;
    if (isSmall(size)) {
      if (current.planned === size) return undefined;
      current.planned = size;
      return this.#readSmall(member, size);
    }
    this.#release();
    this.#readAhead();
    const pending = current.reads.shift();
    if (!pending) {
      if (current.planned < size) throw new LifeboatError('BUG', `${member.name} was not read to its end`);
      return undefined;
    }
    const { buffer, length, offset } = pending;
    this.#hold(buffer);
    const count = await pending.done;
    const bytes = buffer.subarray(0, length);
    if (count < length) bytes.fill(0, count);
    return { bytes, offset, read: count, memory: this.#large };
  }

  #readSmall({ name, file }: FileMember, size: number): Chunk {
    this.#smallTurn = (this.#smallTurn + 1) % this.#small.buffers.length;
    const bytes = this.#small.buffers[this.#smallTurn]!.subarray(0, size);
    let count = 0;
    try {
      while (count < size) {
        const got = readSync(file.fd, bytes, count, size - count, count);
        if (got === 0) break;
        count += got;
      }
    } catch (error) {
      throw cannotRead(name, error);
    }
    if (count < size) bytes.fill(0, count);
    return { bytes, offset: 0, read: count, memory: this.#small };
  }

  /** As long as there is memory: the current file's next chunks, then those of the files behind it. */
  #readAhead(): void {
    if (this.#current) this.#startReads(this.#current);
    for (const queued of this.#queue) this.#startReads(queued);
    while (this.#idle.length > 0 && this.#queue.length < MEMBERS_AHEAD) {
      const next = this.#takeNext();
      if (!next) return;
      this.#queue.push(next);
      this.#startReads(next);
    }
  }

  #takeNext(): QueuedMember | undefined {
    const next = this.#walk?.next();
    if (!next || next.done) return undefined;
    return { member: next.value, planned: 0, reads: [] };
  }

  #startReads(queued: QueuedMember): void {
    const { member } = queued;
    if (member.kind !== 'file' || isSmall(member.file.stat.size)) return;
    const { size } = member.file.stat;
    while (queued.planned < size) {
      const buffer = this.#idle.pop();
      if (!buffer) return;
      const length = Math.min(CHUNK, size - queued.planned);
      const offset = queued.planned;
      const done = readAt(member, buffer.subarray(0, length), offset);
      // Awaited in its turn; until then a failure must not count as unhandled.
      const settled = done.then(
        () => undefined,
        () => undefined,
      );
      this.#pending.add(settled);
      void settled.then(() => this.#pending.delete(settled));
      queued.reads.push({ buffer, done, length, offset });
      queued.planned += length;
    }
  }

  /** The one given out before the last: its time is over. */
  #release(): void {
    if (this.#held.length < 2) return;
    const buffer = this.#held.shift();
    if (buffer) this.#idle.push(buffer);
  }

  #hold(buffer: Buffer): void {
    this.#held.push(buffer);
  }

  #closeCurrent(): void {
    const member = this.#current?.member;
    this.#current = undefined;
    if (member?.kind === 'file') closeSync(member.file.fd);
  }

  /** Waits for the reads that are under way, then closes every file and folder. Never throws. */
  async close(): Promise<void> {
    await Promise.all(this.#pending);
    this.#closeCurrent();
    for (const { member } of this.#queue.splice(0)) if (member.kind === 'file') closeSync(member.file.fd);
    this.#walk?.return?.();
    this.#walk = undefined;
  }
}

function isSmall(size: number): boolean {
  return size <= SMALL;
}

/** @returns bytes read: fewer only where the file ends */
function readAt({ name, file }: FileMember, buffer: Buffer, offset: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const from = (done: number): void => {
      read(file.fd, buffer, done, buffer.length - done, offset + done, (error, count) => {
        if (error) reject(cannotRead(name, error));
        else if (count === 0 || done + count === buffer.length) resolve(done + count);
        else from(done + count);
      });
    };
    from(0);
  });
}
