import { open, unlink, type FileHandle } from 'node:fs/promises';
import { crc32 } from 'node:zlib';
import { PARTIAL_SUFFIX } from '../../../lib/domain/backup/keys.ts';
import { encodeCrc32 } from '../../../lib/domain/crc32.ts';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import type { StoredObject, Upload } from '../ports/store.ts';
import { giveToFolderOwner, isMissing, onDisk, publishFile, readFully, writeFully } from './durable-file.ts';

const READ_SIZE = 1024 * 1024;

/** Only the owner reads a dump: it holds everything that the database holds. */
const FILE_MODE = 0o600;

/** Writes `<path>.partial`, which becomes `path` in `complete`. @throws LifeboatError OBJECT_EXISTS, DISK_FULL, DISK_FAILED */
export async function startLocalUpload(
  path: string,
  describe: () => Promise<StoredObject>,
): Promise<LocalUpload> {
  const partial = path + PARTIAL_SUFFIX;
  try {
    const file = await open(partial, 'wx', FILE_MODE);
    await giveToFolderOwner(file, partial);
    return new LocalUpload(path, partial, file, describe);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') {
      return await onDisk(`Cannot create ${partial}`, () => Promise.reject(error as Error));
    }
    throw new LifeboatError(
      'OBJECT_EXISTS',
      `${partial} exists: another run writes it, or a killed one left it`,
      {
        hint: 'Nothing was overwritten. When no other run is going, run the backup again: it clears what was left.',
      },
    );
  }
}

export class LocalUpload implements Upload {
  readonly #path: string;
  readonly #partial: string;
  readonly #file: FileHandle;
  readonly #describe: () => Promise<StoredObject>;
  #size = 0;
  #crc = 0;
  #open = true;

  constructor(path: string, partial: string, file: FileHandle, describe: () => Promise<StoredObject>) {
    this.#path = path;
    this.#partial = partial;
    this.#file = file;
    this.#describe = describe;
  }

  async write(chunk: Buffer): Promise<void> {
    await onDisk(`Cannot write ${this.#partial}`, () => writeFully(this.#file, chunk));
    this.#crc = crc32(chunk, this.#crc);
    this.#size += chunk.length;
  }

  async complete(expected: { size: number; crc32: string }): Promise<StoredObject> {
    const written = { size: this.#size, crc32: encodeCrc32(this.#crc) };
    if (written.size !== expected.size || written.crc32 !== expected.crc32) {
      throw new LifeboatError('CORRUPT', `${this.#partial}: ${differ(written, expected)}`);
    }
    await onDisk(`Cannot finish ${this.#path}`, () => this.#finish(expected));
    return { ...(await this.#describe()), crc32: expected.crc32 };
  }

  async #finish(expected: { size: number; crc32: string }): Promise<void> {
    await this.#file.sync();
    await this.#close();
    if (await publishFile(this.#partial, this.#path)) return;
    const there = await checksumFile(this.#path);
    if (there.size !== expected.size || there.crc32 !== expected.crc32) {
      throw new LifeboatError(
        'OBJECT_EXISTS',
        `${this.#path} exists with other content: ${differ(there, expected)}`,
      );
    }
    await unlink(this.#partial);
  }

  async abort(): Promise<void> {
    // What stays behind is a .partial file, which nothing takes for a backup and the next run clears.
    await this.#close().catch(() => undefined);
    await unlink(this.#partial).catch(() => undefined);
  }

  async #close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    await this.#file.close();
  }
}

function differ(found: { size: number; crc32: string }, expected: { size: number; crc32: string }): string {
  return `${found.size} bytes with CRC-32 ${found.crc32}, expected ${expected.size} bytes with ${expected.crc32}`;
}

async function checksumFile(path: string): Promise<{ size: number; crc32: string }> {
  const file = await open(path, 'r');
  try {
    const buffer = Buffer.allocUnsafe(READ_SIZE);
    let size = 0;
    let crc = 0;
    for (;;) {
      const length = await readFully(file, buffer, size);
      if (length === 0) return { size, crc32: encodeCrc32(crc) };
      crc = crc32(buffer.subarray(0, length), crc);
      size += length;
    }
  } finally {
    await file.close();
  }
}

/** @returns the bytes, or `undefined` when there is no such file. @throws LifeboatError CORRUPT when it is shorter. */
export async function readLocalRange(
  path: string,
  range: { offset: number; length: number } | undefined,
): Promise<Buffer | undefined> {
  return await onDisk(`Cannot read ${path}`, async () => {
    const file = await open(path, 'r').catch(nothingWhenMissing);
    if (!file) return undefined;
    try {
      const { offset, length } = range ?? { offset: 0, length: (await file.stat()).size };
      const buffer = Buffer.allocUnsafe(length);
      const done = await readFully(file, buffer, offset);
      if (done === length) return buffer;
      throw new LifeboatError(
        'CORRUPT',
        `${path} ends at byte ${offset + done}, expected ${offset + length}`,
      );
    } finally {
      await file.close();
    }
  });
}

export function nothingWhenMissing(error: unknown): undefined {
  if (isMissing(error)) return undefined;
  throw error as Error;
}
