import { readFile } from 'node:fs/promises';
import path from 'node:path';

/** What postmaster.pid says: https://www.postgresql.org/docs/current/storage-file-layout.html */
export interface Postmaster {
  readonly pid: number;
  /** `starting`, `stopping`, `ready` or `standby`. */
  readonly status: string;
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
  if (!Number.isInteger(pid) || pid <= 1 || !isAlive(pid)) return undefined;
  return { pid, status: lines[STATUS_LINE]?.trim() ?? '' };
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
