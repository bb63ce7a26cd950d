import { chown, link, lstat, mkdir, open, rename, stat, unlink, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { LifeboatError } from '../../../lib/domain/errors.ts';

/** How a file comes to stay: written beside, fsynced, given its name without replacing anything, folder fsynced. */

/** @throws LifeboatError DISK_FULL, DISK_FAILED: `message` (as in "Cannot write /var/…") followed by the system's reason. */
function diskError(message: string, error: unknown): LifeboatError {
  if (error instanceof LifeboatError) return error;
  const { code, message: reason } = error as NodeJS.ErrnoException;
  const full = code === 'ENOSPC' || code === 'EDQUOT';
  return new LifeboatError(full ? 'DISK_FULL' : 'DISK_FAILED', `${message}: ${reason}`, { cause: error });
}

/** Runs `work`; what the disk throws comes out as a LifeboatError. */
export async function onDisk<T>(message: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw diskError(message, error);
  }
}

/** `write(2)` may write less than asked, on a disk that just filled up above all. */
export async function writeFully(file: FileHandle, chunk: Buffer): Promise<void> {
  for (let written = 0; written < chunk.length;) {
    const { bytesWritten } = await file.write(chunk, written);
    written += bytesWritten;
  }
}

/** Bytes read, less than the buffer's length only at the end of the file. */
export async function readFully(file: FileHandle, buffer: Buffer, position: number): Promise<number> {
  let done = 0;
  while (done < buffer.length) {
    const { bytesRead } = await file.read(buffer, done, buffer.length - done, position + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return done;
}

/** Without it a crash may lose the name of a file whose bytes are safe. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * As root in another user's BACKUP_DIR, what is made is given to that user: a single `sudo lifeboat backup` must not lock
 * the nightly run out of its own lock file.
 */
export async function giveToFolderOwner(file: FileHandle, path: string): Promise<void> {
  if (process.getuid?.() !== 0) return;
  const { uid, gid } = await stat(dirname(path));
  if (uid !== 0) await file.chown(uid, gid);
}

/** With its parents, each of them the one's that its own parent is when we are root, and each fsynced into it. */
export async function makeFolderBelow(folder: string, mode: number): Promise<void> {
  try {
    await mkdir(folder, { mode });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return;
    if (!isMissing(error)) throw error;
    await makeFolderBelow(dirname(folder), mode);
    return await makeFolderBelow(folder, mode);
  }
  if (process.getuid?.() === 0) {
    const { uid, gid } = await stat(dirname(folder));
    if (uid !== 0) await chown(folder, uid, gid);
  }
  await syncFolder(dirname(folder));
}

export type LinkFile = (from: string, to: string) => Promise<void>;

/**
 * Gives the fsynced file `from` the name `to` in the same folder, never replacing a file that has it.
 * @returns false when `to` is taken; `from` is then still there.
 */
export async function publishFile(from: string, to: string, linkFile: LinkFile = link): Promise<boolean> {
  try {
    await linkFile(from, to);
    await unlink(from);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') return false;
    if (!NO_HARD_LINKS.has(code ?? '')) throw error;
    // Here a name taken between the look and the rename would be replaced; the run's lock keeps our own runs apart.
    if (await exists(to)) return false;
    await rename(from, to);
  }
  await syncFolder(dirname(to));
  return true;
}

/** What link(2) answers on exFAT, on some network shares and for files of another owner. */
const NO_HARD_LINKS: ReadonlySet<string> = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK']);

async function exists(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

export function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT';
}
