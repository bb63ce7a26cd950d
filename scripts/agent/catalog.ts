import {
  catalogStore,
  mergeCopies,
  type Backup,
  type BackupCopy,
  type FailedVerifications,
  type ListedFile,
} from '../../lib/domain/backup/catalog.ts';
import { parseBackupFile, seriesPrefix } from '../../lib/domain/backup/keys.ts';
import { LifeboatError } from '../../lib/domain/errors.ts';
import { parseManifest, type Manifest } from '../../lib/domain/backup/manifest.ts';
import { failedVerifications, type RunRecord } from '../../lib/domain/run/run-record.ts';
import type { ObjectStore } from './ports/store.ts';

/** What lies in every store of a series, read now. */
export interface Catalog {
  readonly backups: readonly Backup[];
  /** By store kind, newest first. */
  copiesIn(store: ObjectStore): readonly BackupCopy[];
}

const MANIFESTS_AT_ONCE = 8;

/**
 * Lists the stores and reads every manifest of the series `app`.
 * @param runs the journal's records: a copy that its last verification found wrong is not a good one
 * @throws LifeboatError when a store cannot be listed; a manifest that cannot be read marks its backup instead
 */
export async function readCatalog(
  app: string,
  stores: readonly ObjectStore[],
  runs: readonly RunRecord[] = [],
): Promise<Catalog> {
  const perStore = await Promise.all(
    stores.map(async (store) => ({
      store,
      copies: await readStore(app, store, failedVerifications(runs, store.kind)),
    })),
  );
  return {
    backups: mergeCopies(perStore.flatMap(({ copies }) => copies)),
    copiesIn: (wanted) => perStore.find(({ store }) => store === wanted)?.copies ?? [],
  };
}

/** Two stores' catalogs as one. */
export function joinCatalogs(one: Catalog, other: Catalog | undefined): Catalog {
  if (!other) return one;
  const copies = [...one.backups, ...other.backups].flatMap((backup) => backup.copies);
  return {
    backups: mergeCopies(copies),
    copiesIn: (wanted) => [...one.copiesIn(wanted), ...other.copiesIn(wanted)],
  };
}

async function readStore(
  app: string,
  store: ObjectStore,
  failed: FailedVerifications,
): Promise<BackupCopy[]> {
  const files: ListedFile[] = [];
  for await (const file of store.list(seriesPrefix(app))) files.push(file);
  const keys = files.flatMap(({ key }) => {
    const parsed = parseBackupFile(key);
    return parsed?.role === 'manifest' && !parsed.partial && parsed.id.app === app ? [key] : [];
  });
  return catalogStore(app, { store: store.kind, files, manifests: await readManifests(store, keys) }, failed);
}

async function readManifests(
  store: ObjectStore,
  keys: readonly string[],
): Promise<Map<string, Manifest | Error>> {
  const manifests = new Map<string, Manifest | Error>();
  const waiting = [...keys];
  const work = async (): Promise<void> => {
    for (let key = waiting.pop(); key !== undefined; key = waiting.pop()) {
      manifests.set(key, await readManifest(store, key).catch(keepUnreadable));
    }
  };
  await Promise.all(Array.from({ length: MANIFESTS_AT_ONCE }, work));
  return manifests;
}

/**
 * One manifest that says nothing must not hide the other backups; the catalog shows it as unreadable. A store that does
 * not hand its manifests out is another matter: nobody can tell then whose backups those are.
 */
function keepUnreadable(error: unknown): Error {
  const kept = ['CORRUPT', 'MANIFEST_NEWER', 'BACKUP_NOT_FOUND', 'DISK_FAILED'];
  if (error instanceof LifeboatError && kept.includes(error.code)) return error;
  throw error;
}

async function readManifest(store: ObjectStore, key: string): Promise<Manifest> {
  return parseManifest((await store.read(key)).toString('utf8'), store.urlOf(key));
}
