import { catalogBases, type Base } from '../../lib/domain/base/base-catalog.ts';
import { parseBaseManifest, type BaseManifest } from '../../lib/domain/base/base-manifest.ts';
import type { ListedFile } from '../../lib/domain/backup/catalog.ts';
import { LifeboatError } from '../../lib/domain/errors.ts';
import { basesPrefix, parsePitrKey, pitrAppPrefix } from '../../lib/domain/wal/keys.ts';
import type { ObjectStore } from './ports/store.ts';

const MANIFESTS_AT_ONCE = 8;

/**
 * Every base backup of an app in one store, newest first, of whatever cluster; the WAL beside them, which may be millions of
 * objects, is not listed.
 * @throws LifeboatError when the store cannot be listed; a manifest that cannot be read marks its backup instead
 */
export async function readBases(app: string, store: ObjectStore): Promise<Base[]> {
  const files: ListedFile[] = [];
  for await (const folder of store.folders(pitrAppPrefix(app))) {
    if (!/^[1-9]\d{0,19}$/.test(folder)) continue;
    for await (const file of store.list(basesPrefix({ app, systemIdentifier: folder }))) files.push(file);
  }
  const keys = files.map(({ key }) => key).filter((key) => parsePitrKey(key)?.role === 'base-manifest');
  return catalogBases(app, { files, manifests: await readManifests(store, keys) });
}

async function readManifests(
  store: ObjectStore,
  keys: readonly string[],
): Promise<Map<string, BaseManifest | Error>> {
  const manifests = new Map<string, BaseManifest | Error>();
  const waiting = [...keys];
  const work = async (): Promise<void> => {
    for (let key = waiting.pop(); key !== undefined; key = waiting.pop()) {
      manifests.set(key, await readManifest(store, key).catch(keepUnreadable));
    }
  };
  await Promise.all(Array.from({ length: MANIFESTS_AT_ONCE }, work));
  return manifests;
}

async function readManifest(store: ObjectStore, key: string): Promise<BaseManifest> {
  return parseBaseManifest((await store.read(key)).toString('utf8'), store.urlOf(key));
}

/** One manifest that says nothing must not hide the other backups; a store that hands none out is another matter. */
function keepUnreadable(error: unknown): Error {
  const kept = ['CORRUPT', 'MANIFEST_NEWER', 'BACKUP_NOT_FOUND', 'DISK_FAILED'];
  if (error instanceof LifeboatError && kept.includes(error.code)) return error;
  throw error;
}
