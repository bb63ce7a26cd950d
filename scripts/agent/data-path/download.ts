import { createHash } from 'node:crypto';
import { open, type FileHandle } from 'node:fs/promises';
import { crc32 } from 'node:zlib';
import { encodeCrc32 } from '../../../lib/domain/crc32.ts';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import { onDisk, writeFully } from '../host/durable-file.ts';
import type { Digest, DownloadRequest } from '../ports/dump-files.ts';
import { readAhead } from './read-ahead.ts';

const PIECES = 5;

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
  for await (const piece of readAhead(request.store, request, PIECES)) {
    interrupted.throwIfAborted();
    sha256.update(piece);
    crc = crc32(piece, crc);
    await onDisk(`Cannot write ${path}`, () => writeFully(file, piece));
    done += piece.length;
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
