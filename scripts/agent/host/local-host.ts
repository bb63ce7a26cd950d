import { readFileSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { mkdir, stat, statfs } from 'node:fs/promises';
import { hostname, uptime } from 'node:os';
import { dirname, join } from 'node:path';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import type { Host, HostFacts } from '../ports/host.ts';
import { isMissing } from './durable-file.ts';
import { lockFile } from './lock.ts';

/** @param folder BACKUP_DIR: where the locks lie, so that whoever shares the backups shares the locks */
export function openLocalHost(folder: string): Host {
  return {
    facts: readFacts,
    lock: async (name, holder) => {
      await makeFolder(folder);
      return lockFile(join(folder, `.${lockName(name)}.lock`), holder);
    },
    freeBytes,
    boot: () => ({ id: readBootId(), uptimeMs: Math.round(uptime() * 1000) }),
    newRunId: () =>
      `${new Date().toISOString().replace(/[-:]|\.\d+/g, '')}-${randomBytes(4).toString('hex')}`,
  };
}

async function makeFolder(folder: string): Promise<void> {
  await makeWithParents(folder).catch((cause: unknown) => {
    throw new LifeboatError(
      'DISK_FAILED',
      `Cannot create BACKUP_DIR ${folder}: ${(cause as Error).message}`,
      {
        cause,
        hint: 'Create it for this user (sudo install -d -m 700 -o "$USER" <folder>), or set BACKUP_DIR to a folder of theirs.',
      },
    );
  });
}

/** Not mkdir's own `recursive`: that says ENOENT of a path below a read-only disk, and of others it cannot make. */
async function makeWithParents(folder: string): Promise<void> {
  try {
    await makeOne(folder);
  } catch (error) {
    if (!isMissing(error) || folder === dirname(folder)) throw error;
    await makeWithParents(dirname(folder));
    await makeOne(folder);
  }
}

async function makeOne(folder: string): Promise<void> {
  try {
    await mkdir(folder, { mode: 0o700 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || !(await isFolder(folder))) throw error;
  }
}

async function isFolder(path: string): Promise<boolean> {
  return await stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

/** A database's name may hold anything, a file's may not; two names never share a lock file. */
function lockName(name: string): string {
  return name
    .replace(/[^A-Za-z0-9._-]/g, (character) => `%${character.codePointAt(0)!.toString(16)}`)
    .slice(0, 200);
}

async function freeBytes(path: string): Promise<number> {
  for (let folder = path; ; folder = dirname(folder)) {
    try {
      const { bavail, bsize } = await statfs(folder);
      return bavail * bsize;
    } catch (cause) {
      const missing = (cause as NodeJS.ErrnoException).code === 'ENOENT' && folder !== dirname(folder);
      if (!missing)
        throw new LifeboatError(
          'DISK_FAILED',
          `Cannot read the free space of ${folder}: ${(cause as Error).message}`,
          { cause },
        );
    }
  }
}

function readFacts(): HostFacts {
  // Without this the report resolves the names of every open connection's peer.
  (process.report as { excludeNetwork?: boolean }).excludeNetwork = true;
  const report = process.report.getReport() as { header?: { glibcVersionRuntime?: string } };
  const glibc = report.header?.glibcVersionRuntime;
  return {
    name: hostname(),
    platform: process.platform,
    architecture: process.arch,
    libc: glibc ? `glibc ${glibc}` : 'unknown',
  };
}

/** https://docs.kernel.org/admin-guide/sysctl/kernel.html#random; elsewhere than on Linux no two runs share a boot. */
function readBootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    return `unknown-${process.pid}-${Date.now()}`;
  }
}
