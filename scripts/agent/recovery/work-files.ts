import {
  chown,
  lstat,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  rmdir,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import type { FileOwner } from '../data-path/tar/extraction-folder.ts';
import { isMissing, onDisk, syncFolder } from '../host/durable-file.ts';
import { requireNoServer } from './postmaster.ts';

/** Says that a data directory is a recovery's half-made one, which the next run may clear away. */
export const MARK = 'lifeboat_recovery.json';

/** Below the data directory and below the tablespaces' folder, while the backups of a chain are being combined. */
export const CHAIN_FOLDER = 'lifeboat_chain';

const markSchema = z.object({
  kind: z.literal('unfinished recovery'),
  label: z.string(),
  tablespaceDir: z.string(),
  tablespaces: z.array(z.int().positive()),
  /** Of the tablespaces that do not lie in `tablespaceDir`. */
  folders: z.array(z.string()).optional(),
});

export type Mark = z.infer<typeof markSchema>;

/**
 * What is in the way of a recovery.
 * @returns the mark of a killed one; `undefined`: the folder is absent or empty
 * @throws LifeboatError RESTORE_REFUSED for a folder that holds anything else, or whose server runs
 */
export async function lookAt(dataDir: string): Promise<Mark | undefined> {
  const names = await namesIn(dataDir);
  if (names.length === 0) return undefined;
  const mark = names.includes(MARK) ? await readMark(path.join(dataDir, MARK)) : undefined;
  if (!mark) {
    throw new LifeboatError('RESTORE_REFUSED', `${dataDir} is not empty`, {
      hint: 'Name a folder that is not there yet with --data-dir. Nothing was touched.',
    });
  }
  await requireNoServer(dataDir);
  return mark;
}

/** @throws LifeboatError RESTORE_REFUSED unless the folder is absent or empty */
export async function requireFree(folder: string): Promise<void> {
  if ((await namesIn(folder)).length === 0) return;
  throw new LifeboatError('RESTORE_REFUSED', `${folder} is not empty: tablespaces are restored into it`, {
    hint: 'Name another with --tablespace-dir. Nothing was touched.',
  });
}

async function namesIn(folder: string): Promise<string[]> {
  return await onDisk(`Cannot read ${folder}`, async () => {
    try {
      return await readdir(folder);
    } catch (error) {
      if (isMissing(error)) return [];
      throw error;
    }
  });
}

async function readMark(file: string): Promise<Mark | undefined> {
  try {
    return markSchema.parse(JSON.parse(await readFile(file, 'utf8')));
  } catch {
    // Somebody else's file: then the folder is refused as any other that is not empty.
    return undefined;
  }
}

export async function writeMark(dataDir: string, mark: Omit<Mark, 'kind'>): Promise<void> {
  const file = path.join(dataDir, MARK);
  const text = `${JSON.stringify({ kind: 'unfinished recovery', ...mark }, null, 1)}\n`;
  await onDisk(`Cannot write ${file}`, () => writeFile(file, text, { mode: 0o600 }));
}

/** What is below the folder, not the folder itself; the mark last, so that a killed removal can be taken up again. */
export async function emptyFolder(folder: string): Promise<void> {
  for (const name of await namesIn(folder)) {
    if (name !== MARK)
      await onDisk(`Cannot remove ${folder}/${name}`, () =>
        rm(path.join(folder, name), { recursive: true, force: true }),
      );
  }
  await rm(path.join(folder, MARK), { force: true });
}

export async function removeTablespaces({
  tablespaceDir,
  tablespaces,
  folders = [],
}: Pick<Mark, 'tablespaceDir' | 'tablespaces' | 'folders'>): Promise<void> {
  const any = tablespaces.length + folders.length > 0;
  const names = any ? [CHAIN_FOLDER, ...tablespaces.map(String)] : [];
  for (const folder of [...names.map((name) => path.join(tablespaceDir, name)), ...folders]) {
    await onDisk(`Cannot remove ${folder}`, () => rm(folder, { recursive: true, force: true }));
  }
  // It stays where somebody put something else into it.
  await rmdir(tablespaceDir).catch(() => undefined);
}

/** Mode 0700, as PostgreSQL demands. @returns whether it was made now */
export async function makeOwnFolder(folder: string, owner: FileOwner | undefined): Promise<boolean> {
  return await onDisk(`Cannot make the folder ${folder}`, async () => {
    const there = await lstat(folder).catch(() => undefined);
    if (!there) await mkdir(folder, { mode: 0o700 });
    else if (!(await stat(folder)).isDirectory()) throw new Error('there is something else of that name');
    if (owner) await chown(folder, owner.uid, owner.gid);
    if (!there) await syncFolder(path.dirname(folder));
    return there === undefined;
  });
}

export async function linkTo(target: string, link: string, owner: FileOwner | undefined): Promise<void> {
  await onDisk(`Cannot make the link ${link}`, async () => {
    await makeOwnFolder(path.dirname(link), owner);
    await symlink(target, link);
  });
}

export async function writeOwn(file: string, text: string, owner: FileOwner | undefined): Promise<void> {
  await onDisk(`Cannot write ${file}`, async () => {
    await writeFile(file, text, { mode: 0o600 });
    if (owner) await chown(file, owner.uid, owner.gid);
  });
}

/** Out of the server's sight, yet there for whoever wants to know. */
export async function keepSource(file: string): Promise<void> {
  await onDisk(`Cannot rename ${file}`, async () => {
    try {
      await rename(file, `${file}.source`);
    } catch (error) {
      // On Debian configuration lies elsewhere.
      if (!isMissing(error)) throw error;
    }
  });
}

/** Whether a server that starts there goes on with a recovery: the signal files go at the promotion. */
export async function isInRecovery(dataDir: string): Promise<boolean> {
  const names = await namesIn(dataDir);
  return names.includes('recovery.signal') || names.includes('standby.signal');
}

/**
 * A cluster that was recovered has its socket in its own data directory, and PostgreSQL backs up the lock beside it. No server
 * starts here while its process number is anybody's.
 */
export async function removeSocketLocks(dataDir: string): Promise<void> {
  await onDisk(`Cannot clear ${dataDir}`, async () => {
    for (const name of await namesIn(dataDir)) {
      if (/^\.s\.PGSQL\.\d+\.lock$/.test(name)) await rm(path.join(dataDir, name), { force: true });
    }
  });
}
