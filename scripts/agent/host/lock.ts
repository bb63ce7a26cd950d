import { spawn } from 'node:child_process';
import { open, type FileHandle } from 'node:fs/promises';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import { giveToFolderOwner } from './durable-file.ts';
import type { HeldLock } from '../ports/host.ts';

/**
 * An flock(2) on `path`. Such a lock belongs to the open file, which a child shares: `flock` from util-linux takes it on
 * our descriptor and exits, and it stays ours until we close the file or die, in whatever way. The file itself stays and
 * means nothing without the lock.
 *
 * @param holder what others are told, such as the run's id
 * @throws LifeboatError BUSY with what the holder wrote
 */
export async function lockFile(path: string, holder: string): Promise<HeldLock> {
  const file = await open(path, 'a+', 0o600).catch((cause: unknown) => {
    throw new LifeboatError('DISK_FAILED', `Cannot open the lock file ${path}: ${(cause as Error).message}`, {
      cause,
    });
  });
  try {
    await giveToFolderOwner(file, path);
    if (!(await takeLock(file))) {
      const said = (await file.readFile('utf8')).trim();
      throw new LifeboatError('BUSY', `Another run holds ${path}: ${said || 'it did not say which'}`);
    }
    await file.truncate(0);
    // The lock is held without it. A full disk, which has no room even for this, must not cost the backup that goes to S3.
    await file.write(`${holder}\n`).catch(() => undefined);
  } catch (error) {
    await file.close();
    throw error;
  }
  return { release: () => file.close() };
}

async function takeLock(file: FileHandle): Promise<boolean> {
  const child = spawn('flock', ['--nonblock', '--exclusive', '3'], {
    stdio: ['ignore', 'ignore', 'ignore', file.fd],
  });
  const status = await new Promise<number | null>((resolve, reject) => {
    child.once('error', (cause) => {
      reject(
        new LifeboatError('DISK_FAILED', `Cannot run flock: ${cause.message}`, {
          cause,
          hint: 'Install it: sudo apt-get install util-linux',
        }),
      );
    });
    child.once('close', resolve);
  });
  return status === 0;
}
