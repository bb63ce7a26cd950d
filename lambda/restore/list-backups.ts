import type { BackupCopy } from '../../lib/domain/backup/catalog.ts';
import type { DeploymentConfig } from '../../lib/domain/deployment/config.ts';
import { formatBytes } from '../../lib/domain/quantities.ts';
import { backupPrefix, type Target } from '../../lib/domain/start/places.ts';
import type { Bucket } from '../bucket.ts';
import type { Clock } from '../clock.ts';
import { readSeries } from './find-backup.ts';

interface ListingEdges {
  readonly config: DeploymentConfig;
  readonly backups: Bucket;
  readonly clock: Clock;
}

interface ListedBackup {
  readonly id: string;
  readonly state: BackupCopy['state'];
  readonly startedAt: string;
  readonly size: string;
  readonly bytes: number;
  readonly database: string | null;
  readonly tables: number | null;
  readonly rows: number | null;
  readonly url: string;
  readonly detail?: string;
}

export interface ListedBackups {
  readonly app: string;
  readonly instanceId: string;
  readonly backups: readonly ListedBackup[];
  readonly older: number;
}

const LISTED = 50;

/** The newest backups of a series. */
export async function listBackups(
  { config, backups, clock }: ListingEdges,
  target: Target,
): Promise<ListedBackups> {
  const { app } = target.series;
  const prefix = backupPrefix(config, target);
  const copies = await readSeries({ backups, prefix, app, now: clock.now() }, LISTED);
  const shown = copies.filter(({ state }) => state !== 'unfinished').slice(0, LISTED);
  return {
    app,
    instanceId: target.instanceId,
    backups: shown.map((copy) => describeCopy(copy, `s3://${backups.name}/${prefix}/`)),
    older: copies.length - shown.length,
  };
}

function describeCopy({ id, state, time, manifest, dump, detail }: BackupCopy, folder: string): ListedBackup {
  const { key, size: bytes } = manifest?.dump ?? dump ?? { key: '', size: 0 };
  return {
    id,
    state,
    bytes,
    startedAt: time.toISOString(),
    size: formatBytes(bytes),
    database: manifest?.database.name ?? null,
    tables: manifest?.tables.length ?? null,
    rows: manifest?.tables.reduce((sum, table) => sum + table.rows, 0) ?? null,
    url: folder + key,
    ...(detail === undefined ? {} : { detail }),
  };
}
