import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { LifeboatError } from '../../../lib/domain/errors.ts';

/** What postmaster.pid says: https://www.postgresql.org/docs/current/storage-file-layout.html */
export interface Postmaster {
  readonly pid: number;
  /** `starting`, `stopping`, `ready` or `standby`. */
  readonly status: string;
  /** Seen at work in the data directory. Otherwise the number may be another process' by now, which we cannot tell. */
  readonly isCertain: boolean;
}

const STATUS_LINE = 7;

/** @returns `undefined`: no server runs on this data directory */
export async function findPostmaster(dataDir: string): Promise<Postmaster | undefined> {
  let lines: string[];
  try {
    lines = (await readFile(path.join(dataDir, 'postmaster.pid'), 'utf8')).split('\n');
  } catch {
    // No server was started, or it ended well.
    return undefined;
  }
  const pid = Number(lines[0]);
  if (!Number.isInteger(pid) || pid <= 1) return undefined;
  const seen = await look(pid, dataDir);
  if (seen === 'no') return undefined;
  return { pid, status: lines[STATUS_LINE]?.trim() ?? '', isCertain: seen === 'yes' };
}

/**
 * A postmaster's working directory is its data directory, whatever that is called by now. After a crash of the host its number
 * may be anybody's.
 */
async function look(pid: number, dataDir: string): Promise<'yes' | 'perhaps' | 'no'> {
  if (!isAlive(pid)) return 'no';
  try {
    const options = { bigint: true } as const;
    const [own, its] = await Promise.all([stat(dataDir, options), stat(`/proc/${pid}/cwd`, options)]);
    return own.dev === its.dev && own.ino === its.ino ? 'yes' : 'no';
  } catch {
    // Another user's, which shows that to root alone, or one that has just ended.
    return isAlive(pid) ? 'perhaps' : 'no';
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Before what a recovery that was killed left is cleared away. @throws LifeboatError RESTORE_REFUSED while its server runs */
export async function requireNoServer(dataDir: string): Promise<void> {
  const found = await findPostmaster(dataDir);
  if (!found) return;
  const { pid, isCertain } = found;
  const told = isCertain ? 'and its server still runs' : 'and its server may still run';
  throw new LifeboatError(
    'RESTORE_REFUSED',
    `${dataDir} is that of a recovery that was killed, ${told} (process ${pid})`,
    {
      hint: isCertain
        ? `End it first: kill -INT ${pid}`
        : `This user cannot see whose process that is. Run the command as root, or look: ps -o user,args -p ${pid}; if it is none of PostgreSQL’s: rm ${dataDir}/postmaster.pid`,
    },
  );
}
