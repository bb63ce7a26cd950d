import { seriesPrefix } from '../../lib/domain/backup/keys.ts';
import type { BackupCopy } from '../../lib/domain/backup/catalog.ts';
import { LifeboatError } from '../../lib/domain/errors.ts';
import {
  chooseById,
  chooseLatest,
  backupOfFile,
  LIST_HINT,
  type RemoteSource,
} from '../../lib/domain/restore/remote-source.ts';
import type { PlannedSource } from '../../lib/domain/restore/remote-plan.ts';
import type { Bucket } from '../bucket.ts';
import { listFolder, openManifests, readCatalog } from '../catalog.ts';

export interface SeriesPlace {
  readonly backups: Bucket;
  /** The series' folder, without a slash at its end. */
  readonly prefix: string;
  readonly app: string;
  readonly now: Date;
}

/** @throws LifeboatError BACKUP_NOT_FOUND, CORRUPT, MANIFEST_NEWER */
export async function findSource(place: SeriesPlace, source: RemoteSource): Promise<PlannedSource> {
  switch (source.kind) {
    case 'latest':
      return fromCopy(place, chooseLatest(await readSeries(place, Infinity), place.app, place.now));
    case 'id': {
      requireSeries(place, source);
      return fromCopy(place, chooseById(await readOne(place, source.id), source.id));
    }
    case 's3':
      return await findByUrl(place, source);
  }
}

function requireSeries({ app }: SeriesPlace, { id, app: ofBackup }: { id: string; app: string }): void {
  if (ofBackup === app) return;
  throw new LifeboatError('USAGE', `${id} is a backup of ${ofBackup}, not of ${app}`, {
    hint: `To restore it with ${app}’s host all the same, name it by its s3:// URL.`,
  });
}

/** The series' copies, newest first. @param enough as in lambda/catalog.ts */
export async function readSeries(place: SeriesPlace, enough: number): Promise<BackupCopy[]> {
  const { backups, prefix, app, now } = place;
  const files = await listFolder(backups, prefix, seriesPrefix(app));
  return await readCatalog(openManifests(backups), { prefix, app, files, now, enough });
}

async function readOne({ backups, prefix, app, now }: SeriesPlace, id: string): Promise<BackupCopy[]> {
  const files = await listFolder(backups, prefix, `${id}.`);
  return await readCatalog(openManifests(backups), { prefix, app, files, now, enough: Infinity });
}

function fromCopy({ backups, prefix }: SeriesPlace, copy: BackupCopy): PlannedSource {
  const key = copy.manifest?.dump.key ?? copy.dump?.key ?? '';
  const size = copy.manifest?.dump.size ?? copy.dump?.size ?? 0;
  return { source: copy.id, label: copy.id, copy, url: `s3://${backups.name}/${prefix}/${key}`, size };
}

async function findByUrl(
  place: SeriesPlace,
  { url, folder, name }: Extract<RemoteSource, { kind: 's3' }>,
): Promise<PlannedSource> {
  const named = backupOfFile(name);
  if (named) {
    const there = { ...place, prefix: folder, app: named.app };
    return { ...fromCopy(there, chooseById(await readOne(there, named.id), named.id)), source: url };
  }
  const files = await listFolder(place.backups, folder, name);
  const file = files.find(({ key }) => key === name);
  if (file) return { source: url, label: name, copy: undefined, url, size: file.size };
  throw new LifeboatError('BACKUP_NOT_FOUND', `There is no object ${url}`, { hint: LIST_HINT });
}
