import type { Stats } from 'node:fs';
import { relationFileOf, type RelationFile } from '../data-path/pages/relation-file.ts';
import { Folder, type OpenEntry } from './folder.ts';
import { initForkOf, isDatabaseFolder, isEmptied, isLeftOut, isTemporary } from './left-out.ts';

/** Of a folder, a link in its place included. */
export type FolderStat = Pick<Stats, 'mode' | 'uid' | 'gid' | 'mtimeMs'>;

export interface FileMember {
  readonly kind: 'file';
  /** Relative to the archive, a character for each byte. */
  readonly name: string;
  /** Whoever takes the member closes it. */
  readonly file: OpenEntry;
  /** `undefined`: none whose pages have checksums. */
  readonly relation: RelationFile | undefined;
}

export type Member =
  | { readonly kind: 'folder'; readonly name: string; readonly stat: FolderStat }
  | FileMember
  /** PostgreSQL's warning of something that is no file. */
  | { readonly kind: 'warning'; readonly text: string }
  /** Nothing was found for a while: a moment for others. */
  | { readonly kind: 'pause' };

export interface WalkRules {
  /** Folders of the archive that a tablespace has of its own, relative to it. */
  readonly elsewhere: ReadonlySet<string>;
  /** stats_temp_directory up to 14, relative to the data directory. */
  readonly emptied: string | undefined;
  /** Since 17 pg_wal has a folder of them. */
  readonly summaries: boolean;
}

/** Left out one after the other, without a pause. */
const MOST_SKIPPED = 256;

/**
 * Everything of the data directory, or of a tablespace's folder, that the server would send, in its order of folders
 * (sendDir in basebackup.c). pg_control is the one file that comes separately. What vanishes meanwhile was dropped, which the WAL
 * tells as well.
 * @param prefix what leads to the folder within the archive, `''` or with a slash at its end
 * @throws LifeboatError DISK_FAILED
 */
export function* walkFolder(folder: Folder, prefix: string, rules: WalkRules): Generator<Member> {
  const isDatabase = isDatabaseFolder(prefix);
  const isUnlogged = unloggedCheck(folder, isDatabase || prefix === 'global/');
  let skipped = 0;
  for (const name of folder.names()) {
    if (isLeftOut(name) || (isDatabase && isTemporary(name)) || isUnlogged(name)) {
      skipped += 1;
      if (skipped % MOST_SKIPPED === 0) yield { kind: 'pause' };
      continue;
    }
    const path = prefix + name;
    if (path === CONTROL_FILE) continue;
    if (isEmptied(name) || path === rules.emptied || path === 'pg_wal') {
      yield* walkEmptied(folder, name, prefix, rules);
      continue;
    }
    const found = folder.open(name);
    if (found === 'gone') continue;
    if (found === 'special') yield { kind: 'warning', text: `skipping special file "./${path}"` };
    else if (found.stat.isDirectory()) yield* walkEntry(folder.below(name, found), path, rules);
    else yield { kind: 'file', name: path, file: found, relation: relationFileOf(path) };
  }
}

export const CONTROL_FILE = 'global/pg_control';

function* walkEntry(folder: Folder, path: string, rules: WalkRules): Generator<Member> {
  try {
    yield { kind: 'folder', name: path, stat: folder.stat };
    // The tablespaces are in tablespace_map.
    if (path !== 'pg_tblspc' && !rules.elsewhere.has(path)) yield* walkFolder(folder, `${path}/`, rules);
  } finally {
    folder.close();
  }
}

/**
 * Asked of each file, and not only of the list of names: a table may be made while that is read, its file before the one
 * that tells that it is unlogged.
 */
function unloggedCheck(folder: Folder, hasRelations: boolean): (name: string) => boolean {
  if (!hasRelations) return () => false;
  return (name) => {
    const initFork = initForkOf(name);
    return initFork !== undefined && folder.statOf(initFork) !== undefined;
  };
}

function* walkEmptied(
  folder: Folder,
  name: string,
  prefix: string,
  { summaries }: WalkRules,
): Generator<Member> {
  const found = folder.statOf(name);
  if (!found) return;
  const stat = found.isDirectory() ? found : asFolder(found, folder.stat);
  const path = prefix + name;
  yield { kind: 'folder', name: path, stat };
  if (path !== 'pg_wal') return;
  // Under the names that the server gives them.
  yield { kind: 'folder', name: './pg_wal/archive_status', stat };
  if (summaries) yield { kind: 'folder', name: './pg_wal/summaries', stat };
}

/** A link to another disk becomes a folder with the rights of those beside it. */
function asFolder({ uid, gid, mtimeMs }: Stats, beside: Stats): FolderStat {
  return { mode: (beside.mode & 0o050) === 0 ? 0o700 : 0o750, uid, gid, mtimeMs };
}
