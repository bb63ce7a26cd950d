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
 * for work do not keep the process from ending. Once one could not be started, those that run have to do; it is told once.
 */
export class PackingThreads {
  readonly #program: string;
  readonly #warn: (message: string) => void;
  /** That have packed something, and run. */
  readonly #proven = new Set<Worker>();
  readonly #idle = new Set<Worker>();
  readonly #waiting: (() => void)[] = [];
  #busy = 0;
  /** What kept a thread from starting. */
  #refusal: Error | undefined;
  #warned = false;

  constructor(
    program = PROGRAM,
    warn: (message: string) => void = (message) => process.emitWarning(message),
  ) {
    this.#program = program;
    this.#warn = warn;
  }

  /**
   * @param bytes in shared memory; as they are until the promise settles
   * @throws what kept the thread from starting or ended it: the system may have no memory, or no more threads, to give
   */
  async pack(bytes: Buffer): Promise<PackedWal> {
    await this.#untilOneIsFree();
    try {
      const thread = this.#takeThread();
      return await this.#packIn(thread, bytes);
    } catch (error) {
      this.#tell(error as Error);
      throw error;
    } finally {
      this.#busy -= 1;
      for (const look of this.#waiting.splice(0)) look();
    }
  }

  /** Its place counts as taken when it returns: others look in the same tick. */
  async #untilOneIsFree(): Promise<void> {
    for (;;) {
      const most = this.#refusal ? this.#proven.size : MOST_THREADS;
      if (this.#refusal && most === 0) throw this.#refusal;
      if (this.#busy < most) break;
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
      });
    }
    this.#busy += 1;
  }

  #takeThread(): Worker {
    for (const thread of this.#idle) {
      this.#idle.delete(thread);
      return thread;
    }
    if (this.#refusal) throw this.#refusal;
    try {
      return this.#start();
    } catch (error) {
      this.#refusal = error as Error;
      throw error;
    }
  }

  #start(): Worker {
    const thread = new Worker(this.#program);
    // Whoever waits for its answer hears of it; where nobody does, nothing is lost.
    thread.on('error', () => undefined);
    thread.once('exit', () => {
      this.#proven.delete(thread);
      this.#idle.delete(thread);
    });
    return thread;
  }

  async #packIn(thread: Worker, bytes: Buffer): Promise<PackedWal> {
    const proven = this.#proven.has(thread);
    try {
      thread.ref();
      thread.postMessage(bytes, []);
      const { rawSha256, body } = await answerOf(thread);
      thread.unref();
      this.#proven.add(thread);
      this.#idle.add(thread);
      return { rawSha256, body: Buffer.from(body.buffer, body.byteOffset, body.length) };
    } catch (error) {
      this.#proven.delete(thread);
      if (!proven) this.#refusal ??= error as Error;
      void thread.terminate();
      throw error;
    }
  }

  #tell({ message }: Error): void {
    if (this.#warned) return;
    this.#warned = true;
    this.#warn(`WAL is compressed more slowly, without the thread that was to do so: ${message}`);
  }
}

interface Answer {
  readonly rawSha256: string;
  readonly body: Uint8Array<ArrayBuffer>;
}

/** @throws also when the thread ends without a word, or its answer cannot be read: nothing would come any more */
async function answerOf(thread: Worker): Promise<Answer> {
  const over = new AbortController();
  const first = async (event: string): Promise<{ event: string; told: unknown }> => {
    const [told] = (await once(thread, event, { signal: over.signal })) as unknown[];
    return { event, told };
  };
  try {
    const { event, told } = await Promise.race(['message', 'messageerror', 'exit'].map(first));
    if (event === 'message') return told as Answer;
    throw new Error(event === 'exit' ? `it ended with exit status ${String(told)}` : String(told));
  } finally {
    over.abort();
  }
}
