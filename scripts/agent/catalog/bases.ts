import { catalogBases, type Base, type BaseListing } from '../../../lib/domain/base/base-catalog.ts';
import type { BaseViews } from '../../../lib/domain/base/base-floor.ts';
import { parseBaseManifest } from '../../../lib/domain/base/base-manifest.ts';
import type { ListedFile } from '../../../lib/domain/backup/catalog.ts';
import { failedVerifications, type RunRecord } from '../../../lib/domain/run/run-record.ts';
import { basesPrefix, parsePitrKey, pitrAppPrefix } from '../../../lib/domain/wal/keys.ts';
import { readManifests } from './manifests.ts';
import { readDamaged } from './verdicts.ts';
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
  return catalogBases(app, await listBases(app, store), failedVerifications(runs, store.kind));
}

/**
 * The same as it lies there, and as it is for who believes the verifications: this host's, and those that stand in S3.
 * @param state of the WAL, where there is S3
 */
export async function readBaseViews(
  app: string,
  store: ObjectStore,
  { runs, state }: { readonly runs: readonly RunRecord[]; readonly state?: ObjectStore | undefined },
): Promise<BaseViews> {
  const listing = await listBases(app, store);
  const failed = failedVerifications(runs, store.kind);
  for (const systemIdentifier of state ? listing.clusters : [])
    for (const [object, { why }] of await readDamaged(state!, { app, systemIdentifier }))
      failed.set(object, why);
  return { listed: catalogBases(app, listing), verified: catalogBases(app, listing, failed) };
}

async function listBases(
  app: string,
  store: ObjectStore,
): Promise<BaseListing & { readonly clusters: string[] }> {
  const files: ListedFile[] = [];
  const clusters: string[] = [];
  for await (const folder of store.folders(pitrAppPrefix(app))) {
    if (!/^[1-9]\d{0,19}$/.test(folder)) continue;
    clusters.push(folder);
    for await (const file of store.list(basesPrefix({ app, systemIdentifier: folder }))) files.push(file);
  }
  const keys = files.map(({ key }) => key).filter((key) => parsePitrKey(key)?.role === 'base-manifest');
  const manifests = await readManifests(store, keys, parseBaseManifest);
  return { files, manifests, clusters };
}
