import { stat } from 'node:fs/promises';
import path from 'node:path';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import { findUser, mayAccess } from '../host/users.ts';
import type { RecoveryPlace, RecoveryServers } from '../ports/recovery.ts';
import type { FileOwner } from '../data-path/tar/extraction-folder.ts';
import { findServerPrograms } from './server-programs.ts';
import { Workplace, type WorkplaceGround } from './workplace.ts';

export function openRecoveryServers(ground: Omit<WorkplaceGround, 'owner'>): RecoveryServers {
  return {
    find: (major) => findServerPrograms(major, ground.database.binDir, ground.environment),
    open: async (place) => {
      const tablespaces = place.tablespaceDirs?.values() ?? [];
      for (const folder of [place.dataDir, place.tablespaceDir, ...tablespaces]) requirePlainPath(folder);
      const owner = await findOwner(place);
      return await Workplace.open({ ...ground, owner }, place);
    },
  };
}

/** tablespace_map and postgresql.conf would each need an escape of their own. */
function requirePlainPath(folder: string): void {
  // oxlint-disable-next-line no-control-regex -- control characters are what is refused
  if (path.isAbsolute(folder) && !/[\u0000-\u001f\u007f\\"']/.test(folder)) return;
  throw new LifeboatError(
    'USAGE',
    `${JSON.stringify(folder)} is no absolute path without quotes, backslashes and control characters`,
  );
}

/** PostgreSQL refuses to run as root. @returns `undefined`: ourselves */
async function findOwner({ dataDir, osUser }: RecoveryPlace): Promise<FileOwner | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const above = await stat(path.dirname(dataDir)).catch(() => undefined);
  if (!above) {
    throw new LifeboatError('RESTORE_REFUSED', `There is no folder ${path.dirname(dataDir)}`, {
      hint: `Make it first, for PostgreSQL’s user: sudo install -d -o postgres ${path.dirname(dataDir)}`,
    });
  }
  if (osUser === undefined && above.uid !== 0) return { uid: above.uid, gid: above.gid };
  const user = await findUser(osUser ?? 'postgres');
  if (!user || user.uid === 0) {
    throw new LifeboatError(
      'RESTORE_REFUSED',
      `PostgreSQL does not run as root, and there is no user ${JSON.stringify(osUser ?? 'postgres')}`,
      { hint: 'Name one with --os-user. Nothing was touched.' },
    );
  }
  if (!(await mayAccess(user, path.dirname(dataDir), 'run'))) {
    throw new LifeboatError('RESTORE_REFUSED', `${user.name} may not enter ${path.dirname(dataDir)}`, {
      hint: 'Choose another place with --data-dir, or let the user in: chmod o+x',
    });
  }
  return { uid: user.uid, gid: user.gid };
}
