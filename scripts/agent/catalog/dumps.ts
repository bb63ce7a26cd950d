import {
  catalogStore,
  mergeCopies,
  type Backup,
  type BackupCopy,
  type FailedVerifications,
  type ListedFile,
} from '../../../lib/domain/backup/catalog.ts';
import { parseBackupFile, seriesPrefix } from '../../../lib/domain/backup/keys.ts';
import { parseManifest } from '../../../lib/domain/backup/manifest.ts';
import { failedVerifications, type RunRecord } from '../../../lib/domain/run/run-record.ts';
import { readManifests } from './manifests.ts';
import type { ObjectStore } from '../ports/store.ts';

/** What lies in every store of a series, read now. */
export interface Catalog {
  readonly backups: readonly Backup[];
  /** By store kind, newest first. */
  copiesIn(store: ObjectStore): readonly BackupCopy[];
}

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
  return catalogStore(
    app,
    { store: store.kind, files, manifests: await readManifests(store, keys, parseManifest) },
    failed,
  );
}
