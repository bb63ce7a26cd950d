import { isFromFuture } from '../lib/domain/backup/catalog.ts';
import { seriesPrefix } from '../lib/domain/backup/keys.ts';
import { parseBaseLabel } from '../lib/domain/base/base-label.ts';
import { parseBaseManifest } from '../lib/domain/base/base-manifest.ts';
import type { LastGoodBackup } from '../lib/domain/run/outcome.ts';
import { baseManifestKey, basesPrefix, pitrAppPrefix, type WalSeries } from '../lib/domain/wal/keys.ts';
import type { Bucket } from './bucket.ts';
import { LARGEST_MANIFEST, listFolder, openManifests, readCatalog } from './catalog.ts';

/** Where a series' backups lie. */
interface Place {
  readonly backups: Bucket;
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

/** The newest base backup with a manifest and without damaged pages, of whatever cluster. */
export async function lastGoodBase(place: Place): Promise<LastGoodBackup | undefined> {
  const { backups, prefix, app } = place;
  const found: { series: WalSeries; label: string }[] = [];
  for await (const cluster of backups.folders(`${prefix}/${pitrAppPrefix(app)}`)) {
    const series = { app, systemIdentifier: nameOf(cluster) };
    for await (const folder of backups.folders(`${prefix}/${basesPrefix(series)}`))
      if (parseBaseLabel(nameOf(folder))) found.push({ series, label: nameOf(folder) });
  }
  for (const { series, label } of found.toSorted((one, other) => (one.label < other.label ? 1 : -1))) {
    const good = await readGood(place, series, label);
    if (good) return good;
  }
  return undefined;
}

async function readGood(
  { backups, prefix, now }: Place,
  series: WalSeries,
  label: string,
): Promise<LastGoodBackup | undefined> {
  const key = `${prefix}/${baseManifestKey(series, label)}`;
  const text = await backups.read(key, LARGEST_MANIFEST);
  if (text === undefined) return undefined; // A run that has not ended, or was killed.
  const { pageChecksums, finishedAt } = parseBaseManifest(text, `s3://${backups.name}/${key}`);
  const good = pageChecksums.failures === 0 && !isFromFuture(new Date(finishedAt), now);
  return good ? { id: label, finishedAt: new Date(finishedAt) } : undefined;
}

/** `name` of `some/where/name/`. */
function nameOf(folder: string): string {
  return folder.slice(0, -1).split('/').at(-1) ?? '';
}
