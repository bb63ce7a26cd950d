import { open, type FileHandle } from 'node:fs/promises';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import { onDisk, writeFully } from '../host/durable-file.ts';
import type { ArchiveHead } from './custom-archive/archive-reader.ts';
import { BlockWalker } from './custom-archive/block-walker.ts';
import { enterOffsets, type DataOffset } from './custom-archive/data-offsets.ts';

/**
 * Writes a custom-format archive into a file that pg_restore can seek in, and enters where each table's data begins: an
 * archive that pg_dump wrote to a pipe does not say, and each of pg_restore's parallel jobs would read through all data
 * before its own, a row at a time.
 */

/**
 * @param path must not exist. @param where the dump's name, for errors
 * @throws LifeboatError CORRUPT when the archive is damaged or incomplete, DISK_FULL
 */
export async function unpackArchive(
  content: AsyncIterable<Buffer>,
  path: string,
  where: string,
  onProgress: (rawBytes: number) => void,
): Promise<void> {
  const failure = `Cannot write ${path}`;
  const file = await onDisk(failure, () => open(path, 'wx', 0o600));
  try {
    await onDisk(failure, async () => {
      const { head, offsets } = await writeContent(content, file, where, onProgress);
      if (head) await enterOffsets(file, head, offsets);
    });
  } finally {
    await file.close();
  }
}

async function writeContent(
  content: AsyncIterable<Buffer>,
  file: FileHandle,
  where: string,
  onProgress: (rawBytes: number) => void,
): Promise<{ head: ArchiveHead | undefined; offsets: DataOffset[] }> {
  const offsets: DataOffset[] = [];
  let head: ArchiveHead | undefined;
  const walker = new BlockWalker({
    head: (found) => {
      head = found;
    },
    blockStart: (entry, offset) => offsets.push({ position: entry.offsetPosition, offset }),
  });
  let written = 0;
  let writing: Promise<void> = Promise.resolve();
  try {
    for await (const chunk of content) {
      walker.push(chunk);
      // One write behind: the next frame is walked while this one goes to disk.
      await writing;
      writing = writeFully(file, chunk);
      writing.catch(() => undefined);
      written += chunk.length;
      onProgress(written);
    }
  } finally {
    await writing;
  }
  walker.end();
  if (!walker.complete)
    throw new LifeboatError('CORRUPT', `${where} is not complete: the data of some tables is missing`);
  return { head, offsets };
}
