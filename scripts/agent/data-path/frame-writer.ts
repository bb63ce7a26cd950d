import type { Compression } from '../../../lib/domain/backup/keys.ts';
import { compressFrame } from './compress-frame.ts';
import { FrameBuffers, RAW_FRAME_SIZE } from './frame-buffers.ts';
import { releaseMemory } from './release-memory.ts';

/**
 * Cuts a stream into frames of equal plain length and compresses several at once in libuv's thread pool. A frame is a
 * whole gzip member or zstd frame, so `gunzip` and `zstd -d` read the concatenation as one file, and a restore can fetch,
 * check and decompress each on its own.
 */
export interface FrameOptions {
  readonly compression: Compression;
  readonly level: number;
  /** The plain bytes are PostgreSQL's data pages, see compressFrame. */
  readonly pages?: boolean;
  /** Called in the order of the input; its promise holds the writer back, and the frame is gone once it has resolved. */
  readonly emit: (frame: Buffer) => Promise<void>;
  /** Of several files that follow one another; the writer's own when left out. */
  readonly buffers?: FrameBuffers;
}

export const DEFAULT_LEVEL = { gzip: 1, zstd: 1 } as const satisfies Record<Compression, number>;

export class FrameWriter {
  readonly #options: FrameOptions;
  readonly #buffers: FrameBuffers;
  #current: Buffer | undefined;
  #filled = 0;
  #emitted: Promise<void> = Promise.resolve();
  #failure: unknown;
  readonly frameSizes: number[] = [];
  rawSize = 0;

  constructor(options: FrameOptions) {
    this.#options = options;
    this.#buffers = options.buffers ?? new FrameBuffers();
  }

  /**
   * Copies `chunk`. Most of the time that is all; when every frame buffer is being compressed or written, the promise
   * resolves once the rest has found room, and the chunk must stay as it is until then.
   * @throws what `emit` or the compression threw
   */
  write(chunk: Buffer): Promise<void> | undefined {
    if (this.#failure !== undefined) throw this.#failure;
    this.rawSize += chunk.length;
    const copied = this.#fill(chunk, 0);
    return copied === chunk.length ? undefined : this.#writeRest(chunk, copied);
  }

  async #writeRest(chunk: Buffer, copied: number): Promise<void> {
    for (let from = copied; from < chunk.length; from = this.#fill(chunk, from)) {
      await this.#buffers.untilIdle();
      if (this.#failure !== undefined) throw this.#failure;
    }
  }

  /** Copies as much as there is room for now. @returns how far it got */
  #fill(chunk: Buffer, start: number): number {
    let from = start;
    while (from < chunk.length) {
      this.#current ??= this.#buffers.take();
      if (!this.#current) break;
      const copied = chunk.copy(this.#current, this.#filled, from);
      from += copied;
      this.#filled += copied;
      if (this.#filled === RAW_FRAME_SIZE) this.#dispatch();
    }
    return from;
  }

  /** Compresses what is left and waits for the last `emit`. An empty stream becomes one empty frame: a valid file. */
  async end(): Promise<void> {
    while (this.rawSize === 0 && !this.#current) {
      await this.#buffers.untilIdle();
      this.#current = this.#buffers.take();
    }
    if (this.#filled > 0 || this.rawSize === 0) this.#dispatch();
    await this.#emitted;
    if (this.#failure !== undefined) throw this.#failure;
  }

  #dispatch(): void {
    const buffer = this.#current!;
    const compressed = compressFrame(buffer.subarray(0, this.#filled), this.#options);
    // Marked as handled at once: it is awaited only after the frames before it were emitted.
    compressed.catch(() => undefined);
    const before = this.#emitted;
    this.#emitted = (async () => {
      await before;
      try {
        const frame = await compressed;
        if (this.#failure === undefined) {
          this.frameSizes.push(frame.length);
          await this.#options.emit(frame);
        }
        releaseMemory(frame);
      } catch (error) {
        this.#failure ??= error;
      }
      this.#buffers.giveBack(buffer);
    })();
    this.#current = undefined;
    this.#filled = 0;
  }
}
