import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import type { FileOwner } from '../data-path/tar/extraction-folder.ts';
import { onDisk, writeFully } from '../host/durable-file.ts';
import type { ObjectStore } from '../ports/store.ts';

interface StoredFile {
  readonly store: ObjectStore;
  readonly key: string;
  readonly size: number;
  readonly sha256: string;
}

const PIECE = 8 * 1024 * 1024;

/**
 * Writes an object to a file as it is, a piece at a time: a backup_manifest of a million files has 150 MB.
 * @throws LifeboatError CORRUPT unless it is what the manifest says, S3_…, DISK_FULL, DISK_FAILED
 */
export async function fetchFile(
  { store, key, size, sha256 }: StoredFile,
  path: string,
  owner: FileOwner | undefined,
): Promise<void> {
  const hash = createHash('sha256');
  const file = await onDisk(`Cannot write ${path}`, () => open(path, 'w', 0o600));
  try {
    if (owner) await onDisk(`Cannot write ${path}`, () => file.chown(owner.uid, owner.gid));
    for (let offset = 0; offset < size; offset += PIECE) {
      const bytes = await store.read(key, { offset, length: Math.min(PIECE, size - offset) });
      hash.update(bytes);
      await onDisk(`Cannot write ${path}`, () => writeFully(file, bytes));
    }
  } finally {
    await file.close();
  }
  const found = hash.digest('hex');
  if (found === sha256) return;
  const where = store.urlOf(key);
  throw new LifeboatError('CORRUPT', `${where} has the SHA-256 ${found}; the manifest says ${sha256}`);
}
