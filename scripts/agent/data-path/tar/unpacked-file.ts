import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { canAlign, StretchWriter } from './stretch-writer.ts';

/** In a smaller file the few kilobytes at its ends, and opening it once more, cost more than its cache. */
const LEAST = 4 * 1024 * 1024;
/** What a file system answers that does not write past the cache after all, or not from such a place. */
const REFUSALS: ReadonlySet<string> = new Set(['EINVAL', 'EOPNOTSUPP', 'ENOTSUP']);

/**
 * A file that is being unpacked. A large one is written past the kernel's cache where its file system can: copying into that and
 * writing it back later costs more than the disk does, and pages that a live cluster beside needs would have to make room. Bytes
 * that do not fill a block, and all of them where the file system refuses, go through the cache. `O_DIRECT` in
 * https://man7.org/linux/man-pages/man2/open.2.html
 */
export class UnpackedFile {
  readonly #cached: FileHandle;
  readonly #direct: FileHandle | undefined;
  #isRefused = false;

  private constructor(cached: FileHandle, direct: FileHandle | undefined) {
    this.#cached = cached;
    this.#direct = direct;
  }

  /** @param file new and open for writing; closed with this one. @param size in bytes, that it is going to have */
  static async over(file: FileHandle, size: number): Promise<UnpackedFile> {
    return new UnpackedFile(file, size < LEAST ? undefined : await openPastCache(file));
  }

  /** Through the cache altogether, whatever its size. */
  static cached(file: FileHandle): UnpackedFile {
    return new UnpackedFile(file, undefined);
  }

  /** Whether the file system has refused nothing so far: some take the flag and write through the cache all the same. */
  get isDirect(): boolean {
    return this.#direct !== undefined && !this.#isRefused;
  }

  /** For bytes that follow one another from `position` on; several may write their own at the same time. */
  stretchAt(position: number): StretchWriter {
    return new StretchWriter(this, position);
  }

  /** Through the cache. `write(2)` may write less than asked, on a disk that just filled up above all. */
  async write(bytes: Buffer, position: number): Promise<void> {
    for (let done = 0; done < bytes.length;) {
      const { bytesWritten } = await this.#cached.write(bytes, done, bytes.length - done, position + done);
      done += bytesWritten;
    }
  }

  /** @param blocks whole ones, in memory that begins at one. @param position that of a block */
  async writeBlocks(blocks: Buffer, position: number): Promise<void> {
    const done = await this.#writePastCache(blocks, position);
    if (done < blocks.length) await this.write(blocks.subarray(done), position + done);
  }

  /** @returns how many bytes */
  async #writePastCache(blocks: Buffer, position: number): Promise<number> {
    if (!this.#direct || this.#isRefused) return 0;
    try {
      const { bytesWritten } = await this.#direct.write(blocks, 0, blocks.length, position);
      return bytesWritten;
    } catch (error) {
      if (!REFUSALS.has((error as NodeJS.ErrnoException).code ?? '')) throw error;
      this.#isRefused = true;
      return 0;
    }
  }

  /** Whichever way its bytes went: those past the cache may be in the disk's own, and where they lie is known in memory only. */
  async sync(): Promise<void> {
    await this.#cached.sync();
  }

  /** What went through the cache. */
  async datasync(): Promise<void> {
    await this.#cached.datasync();
  }

  async close(): Promise<void> {
    try {
      await this.#direct?.close();
    } finally {
      await this.#cached.close();
    }
  }
}

/** Of the same file, whatever its name leads to by now. @returns `undefined` where that cannot be */
async function openPastCache({ fd }: FileHandle): Promise<FileHandle | undefined> {
  // Linux alone has both the flag and the folder.
  const { O_DIRECT } = constants as { O_DIRECT?: number };
  if (O_DIRECT === undefined || !canAlign()) return undefined;
  return await open(`/proc/self/fd/${fd}`, constants.O_WRONLY | O_DIRECT).catch(() => undefined);
}
