import { open, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import { isSegmentSize } from '../../../lib/domain/wal/segment.ts';
import { LONG_PAGE_HEADER, readPageHeader, readSegmentFacts } from '../data-path/wal/wal-page.ts';
import { giveToFolderOwner, isMissing, makeFolderBelow, onDisk, readFully } from '../host/durable-file.ts';
import type { WalFiles } from '../ports/wal.ts';

/** Within the data directory, which nobody but the server's user can write to: whoever forges a mark loses WAL. */
const MARKS_FOLDER = 'lifeboat_pushed';

const SEGMENT = /^[0-9A-F]{24}$/;

/** @param folder `pg_wal`, within a data directory */
export function openWalFiles(folder: string): WalFiles {
  const dataDir = dirname(folder);
  const marks = join(dataDir, MARKS_FOLDER);
  const at = (name: string): string => join(folder, basename(name));
  return {
    systemIdentifier: () => readSystemIdentifier(join(dataDir, 'global', 'pg_control')),
    read: (name, memory) => onDisk(`Cannot read ${at(name)}`, () => readWhole(at(name), memory)),
    describeSegment: (name, bytes) => describeSegment(at(name), bytes),
    waiting: async (name, most) => {
      const names = await list(join(folder, 'archive_status'));
      return names
        .filter((each) => each.endsWith('.ready'))
        .map((each) => each.slice(0, -'.ready'.length))
        .filter((each) => SEGMENT.test(each) && each > name && each.slice(0, 8) === name.slice(0, 8))
        .toSorted()
        .slice(0, most);
    },
    histories: async () => (await list(folder)).filter((name) => /^[0-9A-F]{8}\.history$/.test(name)),
    identify: (name) => identify(at(name)),
    mark: async (name, identity) => {
      await onDisk(`Cannot write to ${marks}`, async () => {
        await makeFolderBelow(marks, 0o700);
        const unfinished = join(marks, `.${name}.${process.pid}`);
        await writeForOwner(unfinished, `${identity}\n`);
        await rename(unfinished, join(marks, name));
      });
    },
    sweepMarks: async () => {
      const ready = new Set(await list(join(folder, 'archive_status')));
      for (const name of await list(marks)) {
        if (!ready.has(`${name}.ready`)) await rm(join(marks, name), { force: true });
      }
    },
  };
}

/** Root's own would be a file in the data directory that the server may not read: no base backup could be made. */
async function writeForOwner(path: string, text: string): Promise<void> {
  const file = await open(path, 'w', 0o600);
  try {
    await giveToFolderOwner(file, path);
    await file.writeFile(text);
  } finally {
    await file.close();
  }
}

async function readWhole(path: string, memory: Buffer | undefined): Promise<Buffer> {
  const file = await open(path);
  try {
    if (memory?.length !== (await file.stat()).size) return await file.readFile();
    return memory.subarray(0, await readFully(file, memory, 0));
  } finally {
    await file.close();
  }
}

async function list(folder: string): Promise<string[]> {
  return await onDisk(`Cannot list ${folder}`, async () => {
    try {
      return await readdir(folder);
    } catch (error) {
      if (isMissing(error)) return [];
      throw error;
    }
  });
}

/**
 * Inode, size, time of the last change of its bytes and
 * of its inode. As `stat -c '%i %s %.9Y %.9Z'` prints it, since that is what the launcher compares with.
 */
async function identify(path: string): Promise<string> {
  const { ino, size, mtimeNs, ctimeNs } = await onDisk(`Cannot look at ${path}`, () =>
    stat(path, { bigint: true }),
  );
  return `${ino} ${size} ${seconds(mtimeNs)} ${seconds(ctimeNs)}`;
}

function seconds(nanoseconds: bigint): string {
  const billion = 1_000_000_000n;
  return `${nanoseconds / billion}.${String(nanoseconds % billion).padStart(9, '0')}`;
}

/** The first eight bytes of every version's pg_control (src/include/catalog/pg_control.h). */
async function readSystemIdentifier(path: string): Promise<string> {
  return await onDisk(`Cannot read ${path}`, async () => {
    const file = await open(path);
    try {
      const bytes = Buffer.alloc(8);
      await file.read(bytes, 0, 8, 0);
      const identifier = bytes.readBigUInt64LE(0);
      if (identifier !== 0n) return String(identifier);
    } finally {
      await file.close();
    }
    throw new LifeboatError('CORRUPT', `${path} names no cluster`);
  });
}

function describeSegment(path: string, bytes: Buffer): { systemIdentifier: string; segmentSize: number } {
  const header = bytes.length >= LONG_PAGE_HEADER ? readPageHeader(bytes, 0) : undefined;
  if (header?.major === undefined || !header.long || !isSegmentSize(bytes.length)) {
    throw new LifeboatError(
      'CORRUPT',
      `${path} is no WAL segment of PostgreSQL 14 to 18 (${bytes.length} bytes)`,
      {
        hint: 'It was not archived. See the server’s log: its disk may be full or damaged.',
      },
    );
  }
  const { systemIdentifier, segmentSize } = readSegmentFacts(bytes, 0);
  return { systemIdentifier: String(systemIdentifier), segmentSize };
}
