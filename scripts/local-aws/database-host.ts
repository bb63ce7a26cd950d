import { chmodSync, chownSync, mkdirSync, readFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import path from 'node:path';
import { serverUser } from '../set-up/postgres-installation.ts';
import type { HostSpecification } from './ssm/managed-host.ts';

/** This machine as a database host: its folders, redirected, and the user that the agent becomes there. */
export interface DatabaseHost {
  readonly specification: HostSpecification;
  /** PostgreSQL’s user where we are root, as the SSM agent is; else whoever we are. */
  readonly osUser: string;
  readonly backupDir: string;
  /** Where the agent is installed: /opt/lifeboat on a real host. */
  readonly installRoot: string;
}

/** @param folder of the local AWS; its parents must be open to PostgreSQL’s user */
export function prepareDatabaseHost(folder: string, instanceId: string): DatabaseHost {
  const user = serverUser();
  const root = path.join(folder, 'hosts', instanceId);
  const installRoot = path.join(root, 'opt/lifeboat');
  const backupDir = path.join(root, 'var/backups/hostmaster');
  mkdirSync(backupDir, { recursive: true });
  chmodSync(folder, 0o755);
  // As an administrator prepares it; below a folder of root's alone the agent would do so itself.
  if (user) chownSync(backupDir, user.uid, user.gid);
  return {
    specification: {
      instanceId,
      environment: {
        LIFEBOAT_INSTALL_ROOT: installRoot,
        // systemd's way to say where a service keeps what must last.
        STATE_DIRECTORY: path.join(root, 'var/lib/lifeboat'),
      },
    },
    osUser: serverUserName(),
    backupDir,
    installRoot,
  };
}

/** Whom PostgreSQL runs as on this machine. */
export function serverUserName(): string {
  const user = serverUser();
  return user ? nameOf(user.uid) : userInfo().username;
}

function nameOf(uid: number): string {
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((entry) => entry.split(':')[2] === String(uid));
  return line?.split(':')[0] ?? 'postgres';
}
