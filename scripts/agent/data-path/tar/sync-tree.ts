import { open, readdir } from 'node:fs/promises';
import path from 'node:path';
import { onDisk } from '../../host/durable-file.ts';

/** More than the disk's queue is deep gains nothing. */
const IN_FLIGHT = 16;

/**
 * Brings a folder and all below it to the disk: files first, then the folders that hold their names. Links are not
 * followed.
 * @param files `false` where the files were synced as they were written
 * @throws LifeboatError DISK_FAILED, DISK_FULL
 */
export async function syncTree(folder: string, files = true): Promise<void> {
  const { folders, files: found } = await listTree(folder);
  if (files) await eachOf(found, syncPath);
  await eachOf(folders, syncPath);
}

async function listTree(folder: string): Promise<{ folders: string[]; files: string[] }> {
  const found = { folders: [folder], files: [] as string[] };
  const entries = await onDisk(`Cannot list ${folder}`, () =>
    readdir(folder, { withFileTypes: true, recursive: true }),
  );
  for (const entry of entries) {
    const name = path.join(entry.parentPath, entry.name);
    if (entry.isDirectory()) found.folders.push(name);
    else if (entry.isFile()) found.files.push(name);
  }
  return found;
}

function syncPath(name: string): Promise<void> {
  return onDisk(`Cannot bring ${name} to the disk`, async () => {
    const handle = await open(name, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  });
}

async function eachOf(names: readonly string[], work: (name: string) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let name = names[next++]; name !== undefined; name = names[next++]) await work(name);
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
}
