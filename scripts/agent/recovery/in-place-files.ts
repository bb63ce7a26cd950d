import {
  chown,
  lchown,
  lstat,
  mkdir,
  open,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  rmdir,
  stat,
  symlink,
} from 'node:fs/promises';
import path from 'node:path';
import {
  formatInPlaceJournal,
  parseInPlaceJournal,
  type InPlaceJournal,
  type Move,
} from '../../../lib/domain/base/in-place-journal.ts';
import { isMissing, onDisk, syncFolder } from '../host/durable-file.ts';
import { endAbandonedCombiner } from './combiner.ts';
import { requireNoServer } from './postmaster.ts';
import { CHAIN_FOLDER } from './work-files.ts';

function journalOf(dataDir: string): string {
  return `${dataDir}.lifeboat-in-place.json`;
}

/** @throws LifeboatError CORRUPT, MANIFEST_NEWER, DISK_FAILED */
export async function readJournal(dataDir: string): Promise<InPlaceJournal | undefined> {
  const file = journalOf(dataDir);
  const text = await onDisk(`Cannot read ${file}`, () =>
    readFile(file, 'utf8').catch((error: unknown) => {
      if (isMissing(error)) return undefined;
      throw error;
    }),
  );
  return text === undefined ? undefined : parseInPlaceJournal(text, file);
}

/** Whole or not at all, and on the disk before it counts. */
export async function writeJournal(journal: InPlaceJournal): Promise<void> {
  const file = journalOf(journal.dataDir);
  await onDisk(`Cannot write ${file}`, async () => {
    const unfinished = `${file}.tmp`;
    const handle = await open(unfinished, 'w', 0o600);
    try {
      await handle.writeFile(formatInPlaceJournal(journal));
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(unfinished, file);
    await syncFolder(path.dirname(file));
  });
}

export async function removeJournal(dataDir: string): Promise<void> {
  await onDisk(`Cannot remove ${journalOf(dataDir)}`, () => rm(journalOf(dataDir), { force: true }));
}

export async function move(moves: readonly Move[]): Promise<void> {
  for (const each of moves) {
    if (each.kind === 'link') await relink(each);
    else await renameOnce(each);
  }
}

async function renameOnce({ from, to, own }: Extract<Move, { kind: 'rename' }>): Promise<void> {
  await onDisk(`Cannot rename ${from} to ${to}`, async () => {
    const isDone = own === 'to' ? await exists(to) : !(await exists(from));
    if (isDone) {
      // What is missing at both ends was removed by somebody.
      if (!(await exists(to))) throw new Error('there is neither of them');
      return;
    }
    await makeParent(to, from);
    // rename(2) replaces an empty folder only; anything else makes it fail.
    await rename(from, to);
    for (const folder of new Set([path.dirname(to), path.dirname(from)])) await syncFolder(folder);
  });
}

/** Like the folder that is moved: the same owner, and nobody else's business. */
async function makeParent(to: string, from: string): Promise<void> {
  const parent = path.dirname(to);
  if (await exists(parent)) return;
  await mkdir(parent, { mode: 0o700 });
  const { uid, gid } = await stat(from);
  if (process.getuid?.() === 0) await chown(parent, uid, gid);
  await syncFolder(path.dirname(parent));
}

async function relink({ link, to }: Extract<Move, { kind: 'link' }>): Promise<void> {
  await onDisk(`Cannot make the link ${link}`, async () => {
    // Its cluster is not there yet, or has moved on with the link in it.
    if (!(await exists(path.dirname(link)))) return;
    if ((await readlink(link).catch(() => undefined)) === to) return;
    const { uid, gid } = await stat(path.dirname(link));
    const unfinished = `${link}.lifeboat`;
    await rm(unfinished, { force: true });
    await symlink(to, unfinished);
    if (process.getuid?.() === 0) await lchown(unfinished, uid, gid);
    await rename(unfinished, link);
    await syncFolder(path.dirname(link));
  });
}

export async function tidy(folders: readonly string[]): Promise<void> {
  // Where something else lies in one, it stays.
  for (const folder of folders) await rmdir(folder).catch(() => undefined);
}

/** The names are unique to one recovery, and come from its own journal; yet nothing else is ever removed like this. */
const OURS = /_recovered_\d{8}_\d{6}$/;
const OURS_OF_A_TABLESPACE = /\/recovered_\d{8}_\d{6}$/;

export async function clear({ recovered, emptied }: InPlaceJournal): Promise<void> {
  await requireNoServer(recovered);
  if (!OURS.test(recovered)) return;
  await endAbandonedCombiner(path.join(recovered, CHAIN_FOLDER));
  const tablespaces = emptied.filter((folder) => OURS_OF_A_TABLESPACE.test(folder));
  for (const folder of [...tablespaces, `${recovered}_tablespaces`, recovered])
    await onDisk(`Cannot remove ${folder}`, () => rm(folder, { recursive: true, force: true }));
}

/** Of all tablespaces of one server; it is the same in each. */
export async function versionFolderIn(folder: string): Promise<string | undefined> {
  const names = await readdir(folder).catch(() => []);
  return names.find((name) => /^PG_\d+_\d+$/.test(name));
}

export async function exists(file: string): Promise<boolean> {
  try {
    await lstat(file);
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}
