import { constants } from 'node:fs';
import { open, realpath, stat } from 'node:fs/promises';
import { readFully } from '../host/durable-file.ts';
import { codeOf } from './disk-failure.ts';

/** What a session says of the process that serves it, and of its server. */
export interface ServerProcess {
  readonly pid: number;
  /** Since the session began, in seconds. */
  readonly age: number;
  /** When the postmaster began, in seconds since 1970. */
  readonly startedAt: number;
  readonly dataDirectory: string;
}

/** Whoever may write to the folder must not choose what is read by a link, nor hold us up by a pipe. */
export const READ_FILE = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
/** Of a second or two between one look and the other, and of the clock's ticks. */
const TOLERANCE_S = 2;
/** Between the postmaster's first step, which postmaster.pid has, and the one that it tells of: it makes its shared memory meanwhile. */
const START_UP_S = 600;
/** USER_HZ: what /proc counts in, on every Linux that PostgreSQL is packaged for. */
const TICKS_PER_S = 100;

/**
 * Whether the process that serves a session is one of this host's, and works in that folder of this host. An address tells nothing:
 * it may be a tunnel's, and a copy of the cluster, with its system identifier, may stand in the same folder here. A server within a
 * container is another host's.
 * @param askedFor how long the answer of the server took to come, in seconds: the process may be older by as much
 * @returns why not, `undefined`: it is
 */
export async function whyNotThisHost(
  server: ServerProcess,
  askedFor: () => number,
): Promise<string | undefined> {
  const { pid, dataDirectory } = server;
  const postmaster = await readText(`${dataDirectory}/postmaster.pid`);
  if (postmaster === undefined) return `${dataDirectory} on this host is no running cluster’s`;
  const [postmasterPid, folder, startedAt] = postmaster.split('\n');
  if (folder !== dataDirectory) return `${dataDirectory}/postmaster.pid on this host is of ${folder}`;
  const sinceStart = server.startedAt - Number(startedAt);
  if (!(sinceStart >= -TOLERANCE_S && sinceStart <= START_UP_S))
    return `the server in ${dataDirectory} on this host was started at another time`;
  const process = await readProcess(pid);
  if (!process || process.parent !== Number(postmasterPid))
    return `the server’s process ${pid} is none of this host’s`;
  if (!(process.age >= server.age - TOLERANCE_S && process.age <= server.age + askedFor() + TOLERANCE_S))
    return `the process ${pid} of this host is another one`;
  if (await isInContainer(pid)) return 'the server runs in a container';
  return await whyOtherFolder(`/proc/${pid}/cwd`, dataDirectory);
}

/**
 * Whether a path leads this process and the server to the same folder: units of systemd may each see a /tmp of their own.
 * @param seen the folder as the server's process sees it, below /proc
 */
export async function whyOtherFolder(seen: string, path: string): Promise<string | undefined> {
  try {
    const [theirs, ours] = await Promise.all([stat(seen), stat(path)]);
    const same = theirs.ino === ours.ino && theirs.dev === ours.dev;
    return same ? undefined : `${path} is another folder for the server than here`;
  } catch (error) {
    // A container's root may look at no other user's processes, but at what is mounted for them.
    if (['EACCES', 'EPERM'].includes(codeOf(error) ?? '') && isBelowProc(error))
      return (await hasSameMounts(seen)) ? undefined : `this user may not look at PostgreSQL’s processes`;
    return `${path} cannot be found here as the server sees it: ${(error as Error).message}`;
  }
}

/** The same of the server's folder of WAL, which may be a link, or a disk of its own that is mounted for the server alone. */
export async function whyOtherWal(pid: number, dataDirectory: string): Promise<string | undefined> {
  const folder = `${dataDirectory}/pg_wal`;
  let real: string;
  try {
    real = await realpath(folder);
  } catch (error) {
    return `${folder} cannot be read: ${(error as Error).message}`;
  }
  // The kernel would follow a link with an absolute target from our root, not from the server's.
  return (
    (await whyOtherFolder(`/proc/${pid}/root${real}`, real)) ??
    (await whyOtherFolder(`/proc/${pid}/cwd/pg_wal`, real))
  );
}

/**
 * Whether all is mounted for a process as for this one, below the same root: each mount has a number of its own, which no other
 * namespace of this host has (https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html).
 * @param seen below the process's folder in /proc
 */
async function hasSameMounts(seen: string): Promise<boolean> {
  const [folder] = /^\/proc\/\d+/.exec(seen) ?? [];
  if (folder === undefined || process.getuid?.() !== 0) return false;
  try {
    const [theirs, ours] = await Promise.all([
      readText(`${folder}/mountinfo`),
      readText('/proc/self/mountinfo'),
    ]);
    return theirs !== undefined && theirs !== '' && theirs === ours;
  } catch {
    // No proof.
    return false;
  }
}

function isBelowProc(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).path?.startsWith('/proc/') ?? false;
}

interface LocalProcess {
  readonly parent: number;
  /** In seconds. */
  readonly age: number;
}

/** https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html */
async function readProcess(pid: number): Promise<LocalProcess | undefined> {
  const [text, uptime] = await Promise.all([readText(`/proc/${pid}/stat`), readText('/proc/uptime')]);
  if (text === undefined || uptime === undefined) return undefined;
  // The second field is a name in parentheses, which may hold anything.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return { parent: Number(fields[1]), age: Number.parseFloat(uptime) - Number(fields[19]) / TICKS_PER_S };
}

/** Its process then has a number of its own in there. */
async function isInContainer(pid: number): Promise<boolean> {
  const status = (await readText(`/proc/${pid}/status`)) ?? '';
  const numbers = /^NSpid:\s*(.*)$/m.exec(status)?.[1]?.split(/\s+/) ?? [];
  return numbers.length > 1;
}

/** What is needed of any of the files here comes before. */
const MOST_TEXT = 64 * 1024;

/** `undefined`: it is not there, or no file. @throws NodeJS.ErrnoException */
export async function readText(path: string): Promise<string | undefined> {
  try {
    const handle = await open(path, READ_FILE);
    try {
      if (!(await handle.stat()).isFile()) return undefined;
      const bytes = Buffer.allocUnsafe(MOST_TEXT);
      return bytes.toString('utf8', 0, await readFully(handle, bytes, 0));
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (['ELOOP', 'ENOENT', 'ENOTDIR', 'ENXIO', 'ESRCH'].includes(codeOf(error) ?? '')) return undefined;
    throw error;
  }
}
