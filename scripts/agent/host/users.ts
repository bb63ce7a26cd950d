import { execFile } from 'node:child_process';
import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import type { MachineUser } from '../ports/install.ts';

/** getent(1), not /etc/passwd: users may come from a directory service. */
export async function findUser(name: string): Promise<MachineUser | undefined> {
  try {
    const { stdout } = await promisify(execFile)('getent', ['passwd', '--', name]);
    const [login, , uid, gid, , home] = stdout.trimEnd().split(':');
    if (!login || !uid || !gid || !home) return undefined;
    return { name: login, uid: Number(uid), gid: Number(gid), home };
  } catch {
    // getent ends with status 2 for an unknown name, and a host without it has no users to offer.
    return undefined;
  }
}

const BIT = { run: 0o1, write: 0o2 } as const;

/**
 * By the modes of `path` and of the folders on the way. Supplementary groups and ACLs are not looked at, so a "no" is
 * a reason to look, not a proof.
 */
export async function mayAccess(user: MachineUser, path: string, wanted: 'run' | 'write'): Promise<boolean> {
  if (user.uid === 0) return true;
  try {
    if (!(await allows(user, path, BIT[wanted]))) return false;
    for (let folder = dirname(path); ; folder = dirname(folder)) {
      if (!(await allows(user, folder, BIT.run))) return false;
      if (folder === dirname(folder)) return true;
    }
  } catch {
    // Not there, or out of reach for us as well.
    return false;
  }
}

async function allows(user: MachineUser, path: string, bit: number): Promise<boolean> {
  const { mode, uid, gid } = await stat(path);
  const shift = uid === user.uid ? 6 : gid === user.gid ? 3 : 0;
  return ((mode >> shift) & bit) !== 0;
}
