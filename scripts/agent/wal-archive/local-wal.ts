import { lstat, open } from 'node:fs/promises';
import path from 'node:path';
import { parseSegmentName } from '../../../lib/domain/wal/segment.ts';
import {
  READ_FILE,
  readText,
  whyNotThisHost,
  whyOtherWal,
  type ServerProcess,
} from '../cluster-files/same-host.ts';
import { holdsSegment } from '../data-path/wal/segment-pages.ts';
import { isMissing, readFully } from '../host/durable-file.ts';
import type { LocalWal, WalServer } from '../ports/wal.ts';

/**
 * The folder of WAL of a server that is proven to run on this very host, from files that this user may read.
 * @param home as the server tells it
 * @returns `undefined`: the server has to send its WAL
 */
export async function findLocalWal(
  { home }: Pick<WalServer, 'home'>,
  systemIdentifier: string,
): Promise<LocalWal | undefined> {
  const asked = performance.now();
  const { dataDirectory, ...process } = await home();
  if (dataDirectory === undefined) return undefined;
  const server = await readPostmaster(dataDirectory);
  if (!server || !(await isThisHost({ ...process, dataDirectory }, asked))) return undefined;
  const folder = path.join(dataDirectory, 'pg_wal');
  return {
    folder,
    read: async ({ timeline, segment }, into) => {
      try {
        if (!(await readStable(path.join(folder, segment), into))) return 'unfit';
      } catch (error) {
        // Removed, or no longer to be read: the server sends it, or says what is wrong.
        return isMissing(error) ? 'absent' : 'unfit';
      }
      const place = parseSegmentName(segment, into.length);
      if (!place || !holdsSegment(into, { start: place.start, timeline, systemIdentifier })) return 'unfit';
      // What else is put there once that server has stopped is none of its WAL.
      return (await readPostmaster(dataDirectory)) === server ? 'taken' : 'unfit';
    },
  };
}

async function isThisHost(server: ServerProcess, asked: number): Promise<boolean> {
  try {
    const askedFor = (): number => (performance.now() - asked) / 1000;
    if ((await whyNotThisHost(server, askedFor)) !== undefined) return false;
    return (await whyOtherWal(server.pid, server.dataDirectory)) === undefined;
  } catch {
    // Not to be looked at by this user.
    return false;
  }
}

/**
 * The server keeps a file that it needs no more for later use, and renames it before it writes to it: one that still had its
 * name after it was read was not written to meanwhile.
 * @returns false: it is of another size, or has another name now
 */
async function readStable(file: string, into: Buffer): Promise<boolean> {
  const handle = await open(file, READ_FILE);
  try {
    const found = await handle.stat();
    if (!found.isFile() || found.size !== into.length) return false;
    if ((await readFully(handle, into, 0)) !== into.length) return false;
    const [read, named] = await Promise.all([handle.stat({ bigint: true }), lstat(file, { bigint: true })]);
    return read.ino === named.ino && read.dev === named.dev && Number(read.size) === into.length;
  } finally {
    await handle.close();
  }
}

/**
 * Its number, its folder and when it began, from postmaster.pid (https://www.postgresql.org/docs/current/storage-file-layout.html).
 * `undefined`: no server, or no right.
 */
async function readPostmaster(dataDirectory: string): Promise<string | undefined> {
  try {
    const text = await readText(path.join(dataDirectory, 'postmaster.pid'));
    return text?.split('\n').slice(0, 3).join('\n');
  } catch {
    return undefined;
  }
}
