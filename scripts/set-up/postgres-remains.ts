import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

/** What a postmaster leaves behind when it is killed with -9: its children, and shared memory that outlives them all. */

export interface SharedMemory {
  /** System V segment ids. */
  readonly segments: readonly string[];
  /** Files under /dev/shm. */
  readonly files: readonly string[];
}

const GRACE_MS = 2000;

export function childrenOf(pid: number): number[] {
  try {
    const list = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8');
    return list.trim().split(/\s+/).filter(Boolean).map(Number);
  } catch {
    return []; // already gone
  }
}

/**
 * All that these processes share, as the kernel shows it: a System V segment is mapped as /SYSV<key>, with its id in
 * the inode column. A postmaster's children are needed too, as it does not map all of the files itself.
 */
export function sharedMemoryOf(pids: readonly number[]): SharedMemory {
  const maps = pids.flatMap(mapsOf);
  return {
    segments: unique(maps.flatMap((line) => /\s(\d+)\s+\/SYSV[0-9a-f]{8}/.exec(line)?.[1] ?? [])),
    files: unique(maps.flatMap((line) => /\s(\/dev\/shm\/PostgreSQL\.\d+)$/.exec(line)?.[1] ?? [])),
  };
}

function mapsOf(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/maps`, 'utf8').split('\n');
  } catch {
    return []; // a backend that has just ended
  }
}

function unique(names: readonly string[]): string[] {
  return [...new Set(names)];
}

/** Waits for orphaned backends to notice that their postmaster is gone; those that do not are killed as well. */
export async function endProcesses(pids: readonly number[]): Promise<void> {
  const limit = Date.now() + GRACE_MS;
  while (pids.some(isRunning) && Date.now() < limit) await sleep(20);
  for (const pid of pids.filter(isRunning)) process.kill(pid, 'SIGKILL');
  while (pids.some(isRunning)) await sleep(10);
}

/** A zombie, which only its new parent can bury, has no command line any more. */
function isRunning(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8') !== '';
  } catch {
    return false;
  }
}

export async function releaseShared(memory: SharedMemory): Promise<void> {
  for (const id of memory.segments) {
    // A later start of the same cluster may have released it already.
    if (segmentExists(id)) await promisify(execFile)('ipcrm', ['-m', id]);
  }
  await Promise.all(memory.files.filter(existsSync).map((file) => rm(file, { force: true })));
}

function segmentExists(id: string): boolean {
  const lines = readFileSync('/proc/sysvipc/shm', 'utf8').split('\n').slice(1);
  return lines.some((line) => line.trim().split(/\s+/)[1] === id);
}
