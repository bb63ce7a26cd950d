import { lstat, open, readdir } from 'node:fs/promises';
import path from 'node:path';
import { onDisk, readFully } from '../../host/durable-file.ts';
import { encodeTarHeader, TAR_TRAILER, tarPadding } from './tar-header.ts';

/** A configuration is some kilobytes; what is larger in its folder is something else. */
const LARGEST_FILE = 4 * 1024 * 1024;
const PRIVATE_KEY = /-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----/;
/** Keys and keystores without a text header that would give them away. */
const KEY_NAME = /\.(key|p12|pfx|jks|der)$/i;

export interface ConfigTar {
  readonly bytes: Buffer;
  /** Names of the files in it. */
  readonly members: readonly string[];
  /** What lies in the folder and was not taken, and why. */
  readonly leftOut: readonly { readonly name: string; readonly reason: string }[];
}

/**
 * The files of a configuration folder that lies outside the data directory, as Debian's /etc/postgresql/15/main does:
 * a whole tar in memory. Private keys stay on the host; so do links, sockets and whatever is too large.
 *
 * @param folder absolute; names in the tar are relative to it
 * @throws LifeboatError DISK_FAILED when it cannot be read
 */
export async function packConfigFolder(folder: string): Promise<ConfigTar> {
  const entries = await onDisk(`Cannot list ${folder}`, () =>
    readdir(folder, { withFileTypes: true, recursive: true }),
  );
  const names = entries.map((entry) => path.relative(folder, path.join(entry.parentPath, entry.name)));
  const pieces: Buffer[] = [];
  const members: string[] = [];
  const leftOut: { name: string; reason: string }[] = [];
  for (const name of names.sort()) {
    const packed = await onDisk(`Cannot read ${path.join(folder, name)}`, () => packFile(folder, name));
    if (typeof packed === 'string') leftOut.push({ name, reason: packed });
    else {
      pieces.push(...packed.pieces);
      if (packed.isFile) members.push(name);
    }
  }
  return { bytes: Buffer.concat([...pieces, TAR_TRAILER]), members, leftOut };
}

/** @returns the member's bytes, or why it is left out */
async function packFile(
  folder: string,
  name: string,
): Promise<{ readonly pieces: Buffer[]; readonly isFile: boolean } | string> {
  const file = path.join(folder, name);
  const facts = await lstat(file);
  const common = { name, mode: facts.mode & 0o7777, modifiedAt: facts.mtimeMs / 1000 };
  if (facts.isDirectory())
    return { pieces: [encodeTarHeader({ ...common, type: 'directory' })], isFile: false };
  if (!facts.isFile()) return 'no file';
  if (KEY_NAME.test(name)) return 'a private key, by its name';
  if (facts.size > LARGEST_FILE) return `${facts.size} bytes`;
  const content = await readContent(file, facts.size);
  if (PRIVATE_KEY.test(content.toString('latin1'))) return 'a private key';
  const header = encodeTarHeader({ ...common, type: 'file', size: content.length });
  return { pieces: [header, content, tarPadding(content.length)], isFile: true };
}

async function readContent(file: string, size: number): Promise<Buffer> {
  const handle = await open(file, 'r');
  try {
    const content = Buffer.alloc(size);
    return content.subarray(0, await readFully(handle, content, 0));
  } finally {
    await handle.close();
  }
}
