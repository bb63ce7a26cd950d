import { open, readdir } from 'node:fs/promises';
import { onDisk } from '../../host/durable-file.ts';

/** More than the disk's queue is deep gains nothing. */
const IN_FLIGHT = 16;
const SLASH = Buffer.from('/');

/**
 * Brings a folder and all below it to the disk: of each folder the files first, then the folder that holds their names. Links
 * are not followed. Names are bytes: those of files that somebody put into a data directory need not be UTF-8.
 * @param isSynced of a file, by its name below the folder, a character for each byte: it is there already
 * @throws LifeboatError DISK_FAILED, DISK_FULL, or the interruption's
 */
export async function syncTree(
  folder: string,
  interrupted?: AbortSignal,
  isSynced: (name: string) => boolean = () => false,
): Promise<void> {
  const root = Buffer.byteLength(folder) + SLASH.length;
  const pending: Buffer[] = [Buffer.from(folder)];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const { folders, files } = await list(next);
    pending.push(...folders);
    const unsynced = files.filter((path) => !isSynced(path.toString('latin1', root)));
    await eachOf([...unsynced, next], (path) => {
      interrupted?.throwIfAborted();
      return syncPath(path);
    });
  }
}

async function list(folder: Buffer): Promise<{ folders: Buffer[]; files: Buffer[] }> {
  const found = { folders: [] as Buffer[], files: [] as Buffer[] };
  const entries = await onDisk(`Cannot list ${folder.toString()}`, () =>
    readdir(folder, { withFileTypes: true, encoding: 'buffer' }),
  );
  for (const entry of entries) {
    const path = Buffer.concat([folder, SLASH, entry.name]);
    if (entry.isDirectory()) found.folders.push(path);
    else if (entry.isFile()) found.files.push(path);
  }
  return found;
}

function syncPath(path: Buffer): Promise<void> {
  return onDisk(`Cannot bring ${path.toString()} to the disk`, async () => {
    const handle = await open(path, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  });
}

async function eachOf(paths: readonly Buffer[], work: (path: Buffer) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    try {
      for (let path = paths[next++]; path !== undefined; path = paths[next++]) await work(path);
    } catch (error) {
      next = paths.length;
      throw error;
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
}
