import { constants } from 'node:fs';
import { access, readdir, stat, statfs } from 'node:fs/promises';
import path from 'node:path';
import { reserveOf } from '../../../lib/domain/base/disk-reserve.ts';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import { formatBytes } from '../../../lib/domain/quantities.ts';
import { isMissing } from '../host/durable-file.ts';
import { findPostmaster } from './postmaster.ts';

/** Numbers, as in stat(2), of the file systems that a cluster which runs lies on. */
export type LiveDisks = ReadonlySet<number>;

/**
 * @param dataDir `undefined`, or one that is not there: none
 * @param tablespaces where they were, should this user not see where they are
 */
export async function findLiveDisks(
  dataDir: string | undefined,
  tablespaces: readonly string[],
): Promise<LiveDisks> {
  if (dataDir === undefined || !(await mayRun(dataDir))) return new Set();
  const links = path.join(dataDir, 'pg_tblspc');
  const names = await readdir(links).catch(() => []);
  const folders = [dataDir, path.join(dataDir, 'pg_wal'), ...names.map((name) => path.join(links, name))];
  const found = await Promise.all(
    [...folders, ...tablespaces].map((folder) =>
      stat(folder).then(
        ({ dev }) => [dev],
        () => [],
      ),
    ),
  );
  return new Set(found.flat());
}

/** One that this user may not look into counts as one that runs. */
async function mayRun(dataDir: string): Promise<boolean> {
  if (await findPostmaster(dataDir)) return true;
  return await access(dataDir, constants.R_OK | constants.X_OK).then(
    () => false,
    (error: unknown) => !isMissing(error),
  );
}

interface Disk {
  readonly device: number;
  /** Bytes that are free for this user. */
  readonly free: number;
  /** Bytes that are to stay free. */
  readonly reserve: number;
}

/** Of the disk that a folder lies on, or will. */
export async function measureDisk(folder: string, live: LiveDisks): Promise<Disk> {
  try {
    const [{ dev }, { blocks, bavail, bsize }] = await Promise.all([stat(folder), statfs(folder)]);
    return { device: dev, free: bavail * bsize, reserve: live.has(dev) ? reserveOf(blocks * bsize) : 0 };
  } catch (error) {
    if (!isMissing(error) || folder === path.dirname(folder)) throw error;
    return await measureDisk(path.dirname(folder), live);
  }
}

/** A disk does not write away the reserve between two looks. */
const LOOK_EVERY_MS = 250;

export interface DiskGuard {
  /** Aborts with DISK_FULL for its reason. */
  readonly signal: AbortSignal;
  end(): void;
}

/**
 * Looks, until it is ended, whether the disks that a recovery writes to still have their reserve: the cluster that runs beside it
 * may grow as well.
 */
export async function guardDisks(
  folders: readonly string[],
  live: LiveDisks,
  measure = measureDisk,
): Promise<DiskGuard> {
  const controller = new AbortController();
  const guarded = new Map<number, string>();
  for (const folder of live.size === 0 ? [] : folders) {
    const { device, reserve } = await measure(folder, live);
    if (reserve > 0) guarded.set(device, folder);
  }
  if (guarded.size === 0) return { signal: controller.signal, end: () => undefined };
  const look = async (): Promise<void> => {
    for (const folder of guarded.values()) {
      const { free, reserve } = await measure(folder, live);
      if (free < reserve) controller.abort(reserveTouched(folder, free, reserve));
    }
  };
  // A disk that cannot be asked cannot be written to either, which ends the recovery by itself.
  const timer = setInterval(() => void look().catch(() => undefined), LOOK_EVERY_MS);
  timer.unref();
  return { signal: controller.signal, end: () => clearInterval(timer) };
}

function reserveTouched(folder: string, free: number, reserve: number): LifeboatError {
  return new LifeboatError(
    'DISK_FULL',
    `The recovery gave up: ${formatBytes(free)} are left on the disk of ${folder}, and the cluster that runs on it is to be left ${formatBytes(reserve)}`,
  );
}
