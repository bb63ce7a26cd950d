import { isFromFuture } from '../lib/domain/backup/catalog.ts';
import { seriesPrefix } from '../lib/domain/backup/keys.ts';
import { isUsable } from '../lib/domain/base/base-catalog.ts';
import { holdsDamage } from '../lib/domain/base/increment.ts';
import type { LastGoodBackup } from '../lib/domain/run/outcome.ts';
import { readBaseCatalog } from './base-catalog.ts';
import type { Bucket } from './bucket.ts';
import { listFolder, openManifests, readCatalog } from './catalog.ts';

/** Where a series' backups lie. */
interface Place {
  readonly backups: Bucket;
  readonly state: Bucket;
  readonly prefix: string;
  readonly app: string;
  readonly now: Date;
}

/** The newest dump with a manifest. */
export async function lastGoodDump({
  backups,
  prefix,
  app,
  now,
}: Place): Promise<LastGoodBackup | undefined> {
  const files = await listFolder(backups, prefix, seriesPrefix(app));
  const copies = await readCatalog(openManifests(backups), { prefix, app, files, now, enough: 1 });
  const good = copies.filter(({ state }) => state === 'complete');
  const newest = good.find(({ time }) => !isFromFuture(time, now)) ?? good[0];
  return newest && { id: newest.id, finishedAt: new Date(newest.manifest!.finishedAt) };
}

/**
 * The newest base backup that is whole and without damaged pages, and that no verification found damaged, of whatever cluster.
 * What cannot be read hides no other.
 */
export async function lastGoodBase({
  backups,
  state,
  prefix,
  app,
  now,
}: Place): Promise<LastGoodBackup | undefined> {
  const { bases } = await readBaseCatalog(backups, new Map(), { prefix, app }, state);
  const good = bases.find((base) => isUsable(base) && !holdsDamage(base) && !isFromFuture(base.time, now));
  return good && { id: good.label, finishedAt: good.time };
}
