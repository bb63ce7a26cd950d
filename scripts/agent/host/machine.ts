import { chmod, chown, mkdir, readFile, realpath, rename, rm, stat, writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { basename, dirname, join } from 'node:path';
import type { Environment } from '../environment.ts';
import type { Access, Machine, MachineUser } from '../ports/install.ts';
import { onDisk } from './durable-file.ts';
import { findBackupCommand, findWalCommand } from './launcher.ts';
import { readCrontab, readUnitState, runSystemctl, writeCrontab } from './schedulers.ts';
import { findUser, mayAccess } from './users.ts';

export interface MachineOptions {
  readonly environment: Environment;
  /** A folder that stands for `/`: nothing outside it is written, and no scheduler is told. */
  readonly root?: string;
}

export function openMachine({ environment, root }: MachineOptions): Machine {
  const at = (path: string): string => (root === undefined ? path : join(root, path));
  return {
    facts: async () => ({
      system: root !== undefined || process.getuid?.() === 0,
      user: currentUser(),
      systemdRuns: root === undefined && (await isFolder('/run/systemd/system')),
      zoneIsUtc: await isUtcZone(at('/etc/localtime')),
      backupCommand: await findBackupCommand(environment),
      walCommand: await findWalCommand(environment),
    }),
    findUser,
    readFile: (path) => onDisk(`Cannot read ${at(path)}`, () => readIfThere(at(path))),
    writeFile: (path, text, access) =>
      onDisk(`Cannot write ${at(path)}`, () => replaceFile(at(path), text, access)),
    createFile: (path, access) => onDisk(`Cannot create ${at(path)}`, () => createFile(at(path), access)),
    createFolder: (path, access) => onDisk(`Cannot create ${at(path)}`, () => createFolder(at(path), access)),
    removeFile: (path) => onDisk(`Cannot remove ${at(path)}`, () => rm(at(path), { force: true })),
    folderExists: (path) => isFolder(at(path)),
    // Below another root everything belongs to whoever runs the test, so there is nothing to learn.
    mayAccess: async (user, path, wanted) => root !== undefined || (await mayAccess(user, path, wanted)),
    systemctl: runSystemctl,
    unitState: readUnitState,
    readCrontab: () => readCrontab(environment),
    writeCrontab: (text) => writeCrontab(environment, text),
  };
}

function currentUser(): MachineUser {
  const { username, uid, gid, homedir } = userInfo();
  return { name: username, uid, gid, home: homedir };
}

/** cron(8) and every program without TZ go by /etc/localtime; without it, by UTC (tzset(3)). */
async function isUtcZone(path: string): Promise<boolean> {
  try {
    const zone = await realpath(path);
    return /\/zoneinfo\/(?:Etc\/)?(?:UTC|UCT|Zulu|Universal|GMT|Greenwich|GMT[+-]?0)$/.test(zone);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT';
  }
}

async function isFolder(path: string): Promise<boolean> {
  return await stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

async function replaceFile(path: string, text: string, access: Access): Promise<'written' | 'unchanged'> {
  if ((await readIfThere(path)) === text) {
    await setAccess(path, access);
    return 'unchanged';
  }
  await mkdir(dirname(path), { recursive: true, mode: 0o755 });
  // A dot in front: neither systemd nor cron looks at such a file.
  const unfinished = join(dirname(path), `.${basename(path)}.${process.pid}.unfinished`);
  try {
    await writeFile(unfinished, text, { mode: 0o600, flag: 'wx' });
    await setAccess(unfinished, access);
    await rename(unfinished, path);
  } catch (error) {
    await rm(unfinished, { force: true });
    throw error;
  }
  return 'written';
}

async function createFile(path: string, access: Access): Promise<'created' | 'unchanged'> {
  await mkdir(dirname(path), { recursive: true, mode: 0o755 });
  try {
    await writeFile(path, '', { mode: 0o600, flag: 'wx' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return 'unchanged';
    throw error;
  }
  await setAccess(path, access);
  return 'created';
}

async function createFolder(path: string, access: Access): Promise<'created' | 'unchanged'> {
  if (await isFolder(path)) return 'unchanged';
  await mkdir(dirname(path), { recursive: true, mode: 0o755 });
  await mkdir(path, { mode: 0o700 });
  await setAccess(path, access);
  return 'created';
}

async function setAccess(path: string, { mode, owner }: Access): Promise<void> {
  await chmod(path, mode);
  // Only root may give files away; for anyone else they are their own already.
  if (process.getuid?.() === 0) await chown(path, owner?.uid ?? 0, owner?.gid ?? 0);
}
