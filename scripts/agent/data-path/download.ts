import { createHash } from 'node:crypto';
import { open, type FileHandle } from 'node:fs/promises';
import { crc32 } from 'node:zlib';
import { encodeCrc32 } from '../../../lib/domain/crc32.ts';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import { onDisk, writeFully } from '../host/durable-file.ts';
import type { Digest, DownloadRequest } from '../ports/restore.ts';

const PART_SIZE = 8 * 1024 * 1024;
const IN_FLIGHT = 4;

/**
 * Fetches an object by parallel ranged reads and writes it in order, hashing as it goes, so that what is read later was
 * hashed on its way in.
 *
 * @param path must not exist
 * @throws LifeboatError what the store throws, DISK_FULL, DISK_FAILED, the interruption's reason
 */
export async function download(request: DownloadRequest, path: string): Promise<Digest> {
  const file = await onDisk(`Cannot write ${path}`, () => open(path, 'wx', 0o600));
  try {
    return await fetchInto(file, request, path);
  } finally {
    await file.close();
  }
}

async function fetchInto(file: FileHandle, request: DownloadRequest, path: string): Promise<Digest> {
  const { size, interrupted, onProgress } = request;
  const sha256 = createHash('sha256');
  let crc = 0;
  let done = 0;
  for await (const part of readParts(request)) {
    interrupted.throwIfAborted();
    sha256.update(part);
    crc = crc32(part, crc);
    await onDisk(`Cannot write ${path}`, () => writeFully(file, part));
    done += part.length;
    onProgress(done);
  }
  if (done !== size) {
    throw new LifeboatError(
      'CORRUPT',
      `${request.store.urlOf(request.key)} gave ${done} bytes instead of ${size}`,
    );
  }
  return { sha256: sha256.digest('hex'), crc32: encodeCrc32(crc) };
}

async function* readParts({ store, key, size }: DownloadRequest): AsyncGenerator<Buffer> {
  const pending: Promise<Buffer>[] = [];
  let next = 0;
  const startNext = (): void => {
    if (next >= size) return;
    const part = store.read(key, { offset: next, length: Math.min(PART_SIZE, size - next) });
    // Awaited in its turn; until then a failure must not count as unhandled.
    part.catch(() => undefined);
    pending.push(part);
    next += PART_SIZE;
  };
  for (let count = 0; count < IN_FLIGHT; count += 1) startNext();
  for (let part = pending.shift(); part; part = pending.shift()) {
    const bytes = await part;
    startNext();
    yield bytes;
  }
}
