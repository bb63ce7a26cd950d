import { catalogBases, type Base } from '../../../lib/domain/base/base-catalog.ts';
import { parseBaseManifest } from '../../../lib/domain/base/base-manifest.ts';
import type { ListedFile } from '../../../lib/domain/backup/catalog.ts';
import { failedVerifications, type RunRecord } from '../../../lib/domain/run/run-record.ts';
import { basesPrefix, parsePitrKey, pitrAppPrefix } from '../../../lib/domain/wal/keys.ts';
import { readManifests } from './manifests.ts';
import type { ObjectStore } from '../ports/store.ts';

/**
 * Every base backup of an app in one store, newest first, of whatever cluster; the WAL beside them, which may be millions of
 * objects, is not listed.
 * @param runs the journal's records: one that its last verification found wrong is not a good one
 * @throws LifeboatError when the store cannot be listed; a manifest that cannot be read marks its backup instead
 */
export async function readBases(
  app: string,
  store: ObjectStore,
  runs: readonly RunRecord[] = [],
): Promise<Base[]> {
  const files: ListedFile[] = [];
  for await (const folder of store.folders(pitrAppPrefix(app))) {
    if (!/^[1-9]\d{0,19}$/.test(folder)) continue;
    for await (const file of store.list(basesPrefix({ app, systemIdentifier: folder }))) files.push(file);
  }
  const keys = files.map(({ key }) => key).filter((key) => parsePitrKey(key)?.role === 'base-manifest');
  const manifests = await readManifests(store, keys, parseBaseManifest);
  return catalogBases(app, { files, manifests }, failedVerifications(runs, store.kind));
}
