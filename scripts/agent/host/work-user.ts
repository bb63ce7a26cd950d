import { chmod, chown, lstat, mkdir } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { dirname, resolve } from 'node:path';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import type { MachineUser } from '../ports/install.ts';
import { isMissing, onDisk } from './durable-file.ts';
import { findUser } from './users.ts';

/**
 * Whom the work is done as. Root becomes anyone; anyone else only does their own series' work.
 * @throws LifeboatError RUN_REFUSED naming the user
 */
export async function requireWorkUser(name: string): Promise<MachineUser> {
  const own = userInfo();
  if (own.username === name) return { name: own.username, uid: own.uid, gid: own.gid, home: own.homedir };
  if (own.uid !== 0) {
    throw new LifeboatError(
      'RUN_REFUSED',
      `The series is ${JSON.stringify(name)}’s (osUser), and this is ${JSON.stringify(own.username)}`,
      { hint: `Run it as that user, or as root: sudo lifeboat run …` },
    );
  }
  const user = await findUser(name);
  if (user) return user;
  throw new LifeboatError('RUN_REFUSED', `There is no user ${JSON.stringify(name)} (osUser) on this host`, {
    hint: 'Name PostgreSQL’s user as osUser of the series in lifeboat.config.json and deploy it: ls -ld /var/lib/postgresql',
  });
}

/**
 * Root becomes the user for good: real, effective and saved ids, and the groups that a login would give. `spawn` with uid
 * and gid would do without the groups: libuv drops them all, and with them the way to sockets, keys and disks that the
 * user is let to by a group. So the child does it itself, before it reads or opens anything.
 * @throws LifeboatError BUG when it is still root afterwards
 */
export async function becomeUser(name: string): Promise<void> {
  if (process.getuid?.() !== 0) return;
  const user = await requireWorkUser(name);
  if (user.uid === 0) return;
  (process as unknown as InitGroups).initgroups(user.name, user.gid);
  process.setgid!(user.gid);
  process.setuid!(user.uid);
  if (process.getuid!() !== user.uid || process.geteuid!() !== user.uid || process.getegid!() !== user.gid)
    throw new LifeboatError('BUG', `Root could not become ${user.name}`);
}

/** https://nodejs.org/docs/latest-v24.x/api/process.html#processinitgroupsuser-extragroup, which the types leave out. */
interface InitGroups {
  initgroups(user: string, extraGroup: number): void;
}

/**
 * Makes the user's folder where only root can: below folders that nobody else may write to. Anywhere else the user makes
 * it, so that root follows no link of theirs and gives nothing away. One that is there stays as it is.
 */
export async function makeFolderFor(user: MachineUser, path: string): Promise<void> {
  if (process.getuid?.() !== 0 || user.uid === 0) return;
  const folder = resolve(path);
  await onDisk(`Cannot make the folder ${folder}`, async () => {
    const missing = await missingFolders(folder);
    if (missing.length === 0 || !(await isRootsOwn(dirname(missing[0]!)))) return;
    for (const each of missing) {
      await mkdir(each, { mode: 0o755 });
      // Whatever the umask left of it.
      await chmod(each, each === folder ? 0o700 : 0o755);
    }
    await chown(folder, user.uid, user.gid);
  });
}

/** Outermost first. */
async function missingFolders(folder: string): Promise<string[]> {
  const missing: string[] = [];
  for (let path = folder; !(await isThere(path)); path = dirname(path)) missing.unshift(path);
  return missing;
}

async function isThere(path: string): Promise<boolean> {
  return await lstat(path).then(
    () => true,
    (error: unknown) => {
      if (isMissing(error)) return false;
      throw error as Error;
    },
  );
}

async function isRootsOwn(folder: string): Promise<boolean> {
  for (let path = folder; ; path = dirname(path)) {
    const { uid, mode } = await lstat(path);
    if (uid !== 0 || (mode & 0o022) !== 0) return false;
    if (path === dirname(path)) return true;
  }
}
