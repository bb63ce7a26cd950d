import { formatBackupId } from './backup-id.ts';
import { parseBackupFile, type BackupFile, type DumpEncoding } from './keys.ts';
import type { Manifest } from './manifest.ts';

/** What lies in one store, as a listing tells it. */
export interface ListedFile {
  readonly key: string;
  readonly size: number;
  readonly modifiedAt: Date;
  readonly storageClass?: string | undefined;
}

type StoreKind = 'local' | 's3';

/**
 * - `complete`: a manifest, and every file it names is there in its recorded size
 * - `damaged`: a manifest, but a file is missing or of another size, or a later verification found it wrong
 * - `unreadable`: a manifest that this version cannot read
 * - `without manifest`: a dump of the user's earlier scripts, about which nothing can be promised
 * - `unfinished`: what a run that was killed, or is still running, left; never a backup
 */
export type CopyState = 'complete' | 'damaged' | 'unreadable' | 'without manifest' | 'unfinished';

/** One backup in one store. */
export interface BackupCopy {
  readonly id: string;
  readonly store: StoreKind;
  readonly state: CopyState;
  /** Why, where the state alone does not say it. */
  readonly detail: string | undefined;
  /** What kept the manifest from being read, where the state is `unreadable`. */
  readonly unreadable?: Error;
  /** Recorded time: the manifest's start, or what the file's name says. */
  readonly time: Date;
  readonly manifest: Manifest | undefined;
  readonly files: readonly ListedFile[];
  readonly dump: { readonly key: string; readonly size: number; readonly encoding: DumpEncoding } | undefined;
}

/** A store's listing with the manifests that were read from it. */
export interface StoreContents {
  readonly store: StoreKind;
  readonly files: readonly ListedFile[];
  /** By key; an Error where one could not be read. */
  readonly manifests: ReadonlyMap<string, Manifest | Error>;
}

/** Ids whose last verification found a copy wrong, with what it said. */
export type FailedVerifications = ReadonlyMap<string, string>;

/** All copies of the series `app` in one store, newest first. Files of other series are none of its business. */
export function catalogStore(
  app: string,
  contents: StoreContents,
  failed: FailedVerifications = new Map(),
): BackupCopy[] {
  const groups = new Map<string, { file: ListedFile; parsed: BackupFile }[]>();
  for (const file of contents.files) {
    const parsed = parseBackupFile(file.key);
    if (parsed?.id.app !== app) continue;
    const id = formatBackupId(parsed.id);
    groups.set(id, [...(groups.get(id) ?? []), { file, parsed }]);
  }
  return [...groups]
    .map(([id, members]) => describeCopy(id, members, contents, failed))
    .toSorted((one, other) => other.time.getTime() - one.time.getTime());
}

interface Member {
  readonly file: ListedFile;
  readonly parsed: BackupFile;
}

function describeCopy(
  id: string,
  members: readonly Member[],
  contents: StoreContents,
  failed: FailedVerifications,
): BackupCopy {
  const whole = members.filter(({ parsed }) => !parsed.partial);
  const manifestFile = whole.find(({ parsed }) => parsed.role === 'manifest');
  const manifest = manifestFile && contents.manifests.get(manifestFile.file.key);
  const dump = whole.flatMap(({ file, parsed }) =>
    parsed.role === 'dump' ? [{ key: file.key, size: file.size, encoding: parsed.encoding }] : [],
  )[0];
  const common = { id, store: contents.store, files: members.map(({ file }) => file), dump };
  if (manifest && !(manifest instanceof Error) && manifest.id !== id) {
    const detail = `its manifest is that of ${manifest.id}`;
    return { ...common, state: 'unreadable', detail, time: members[0]!.parsed.id.time, manifest: undefined };
  }
  if (manifest && !(manifest instanceof Error)) {
    const problem = findProblem(manifest, contents.files) ?? failed.get(id);
    const state = problem === undefined ? 'complete' : 'damaged';
    return { ...common, state, detail: problem, time: new Date(manifest.startedAt), manifest };
  }
  const time = members[0]!.parsed.id.time;
  if (manifest instanceof Error) {
    const detail = manifest.message;
    return { ...common, state: 'unreadable', detail, unreadable: manifest, time, manifest: undefined };
  }
  // Our own runs write the globals first, and the user's scripts never did: a dump beside globals is one of ours that
  // did not get as far as its manifest.
  const ours = members.some(({ parsed }) => parsed.partial || parsed.role === 'globals');
  const state = dump && !ours ? 'without manifest' : 'unfinished';
  return { ...common, state, detail: undefined, time, manifest: undefined };
}

function findProblem(manifest: Manifest, files: readonly ListedFile[]): string | undefined {
  for (const named of [manifest.dump, manifest.globals]) {
    const file = files.find(({ key }) => key === named.key);
    if (!file) return `${named.key} is missing`;
    if (file.size !== named.size) return `${named.key} has ${file.size} bytes instead of ${named.size}`;
  }
  return undefined;
}

/** One backup wherever it lies. */
export interface Backup {
  readonly id: string;
  readonly time: Date;
  readonly manifest: Manifest | undefined;
  readonly copies: readonly BackupCopy[];
}

/** The copies of several stores as backups, newest first by recorded time. */
export function mergeCopies(copies: readonly BackupCopy[]): Backup[] {
  const ids = new Map<string, BackupCopy[]>();
  for (const copy of copies) ids.set(copy.id, [...(ids.get(copy.id) ?? []), copy]);
  return [...ids]
    .map(([id, all]) => {
      const manifest = all.find((copy) => copy.manifest)?.manifest;
      return { id, time: manifest ? new Date(manifest.startedAt) : all[0]!.time, manifest, copies: all };
    })
    .toSorted((one, other) => other.time.getTime() - one.time.getTime());
}

/**
 * The newest backup of which at least one copy is complete. With `now` one that is dated in the future is taken only when
 * there is no other: its date says nothing about its age.
 */
export function latestBackup(backups: readonly Backup[], now?: Date): Backup | undefined {
  const good = backups.filter(({ copies }) => copies.some(({ state }) => state === 'complete'));
  return good.find(({ time }) => now === undefined || !isFromFuture(time, now)) ?? good[0];
}

/** Hosts agree on the time to within seconds; a name may also be some seconds ahead, when the right one was taken. */
const CLOCK_TOLERANCE_MS = 5 * 60 * 1000;

/** True for a time that only a clock that was set wrong can have recorded. */
export function isFromFuture(time: Date, now: Date): boolean {
  return time.getTime() - now.getTime() > CLOCK_TOLERANCE_MS;
}
