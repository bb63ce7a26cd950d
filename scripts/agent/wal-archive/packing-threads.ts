import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import type { PackedWal } from './pack-wal.ts';

const MOST_THREADS = Math.min(4, availableParallelism());

/** Beside this module, in the sources as in the bundle. */
const PROGRAM = path.join(
  import.meta.dirname,
  `packing-thread${import.meta.filename.endsWith('.ts') ? '.ts' : '.mjs'}`,
);

/**
 * Threads that hash and compress WAL, each one piece at a time: the one that receives WAL sets the pace of all, and libuv's
 * own pool hashes only copies. The first is started with the first piece, more when they are needed; those that wait
 * for work do not keep the process from ending.
 */
export class PackingThreads {
  readonly #program: string;
  readonly #idle: Worker[] = [];
  readonly #waiting: (() => void)[] = [];
  #busy = 0;

  constructor(program = PROGRAM) {
    this.#program = program;
  }

  /**
   * @param bytes in shared memory; as they are until the promise settles
   * @throws what kept the thread from starting or ended it: the system may have no memory, or no more threads, to give
   */
  async pack(bytes: Buffer): Promise<PackedWal> {
    await this.#untilOneIsFree();
    let thread = this.#idle.pop();
    this.#busy += 1;
    try {
      thread ??= new Worker(this.#program);
      const packed = await packIn(thread, bytes);
      this.#idle.push(thread);
      return packed;
    } finally {
      this.#busy -= 1;
      this.#waiting.shift()?.();
    }
  }

  async #untilOneIsFree(): Promise<void> {
    while (this.#busy === MOST_THREADS) {
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
      });
    }
  }
}

async function packIn(thread: Worker, bytes: Buffer): Promise<PackedWal> {
  thread.ref();
  const answered = once(thread, 'message');
  thread.postMessage(bytes, []);
  const [packed] = (await answered) as [{ rawSha256: string; body: Uint8Array<ArrayBuffer> }];
  thread.unref();
  const { rawSha256, body } = packed;
  return { rawSha256, body: Buffer.from(body.buffer, body.byteOffset, body.length) };
}
