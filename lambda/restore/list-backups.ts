import type { BackupCopy } from '../../lib/domain/backup/catalog.ts';
import { reportBase } from '../../lib/domain/base/base-report.ts';
import type { DeploymentConfig } from '../../lib/domain/deployment/config.ts';
import { asLifeboatError } from '../../lib/domain/errors.ts';
import { formatBytes } from '../../lib/domain/quantities.ts';
import { backupPrefix, type Target } from '../../lib/domain/start/places.ts';
import { describeWindow, windowJson, type WindowJson } from '../../lib/domain/wal/window-report.ts';
import { readBaseCatalog, type BaseCatalog } from '../base-catalog.ts';
import type { Bucket } from '../bucket.ts';
import type { Clock } from '../clock.ts';
import { readSeries } from './find-backup.ts';
import { readClusters, type PitrPlace } from './read-clusters.ts';

interface ListingEdges {
  readonly config: DeploymentConfig;
  readonly backups: Bucket;
  readonly state: Bucket;
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

interface ListedBase {
  readonly label: string;
  readonly state: string;
  /** When it was finished; of one without a manifest, when it began. */
  readonly time: string;
  readonly size: string;
  readonly bytes: number;
  readonly type: 'full' | 'incremental' | null;
  /** What it is combined with, the full one first. */
  readonly chain: readonly string[];
  readonly systemIdentifier: string;
  readonly url: string;
  readonly detail?: string;
}

export interface ListedBackups extends ListedRecovery {
  readonly app: string;
  readonly instanceId: string;
  readonly backups: readonly ListedBackup[];
  readonly older: number;
}

interface ListedRecovery {
  readonly bases: readonly ListedBase[];
  readonly olderBases: number;
  /** Lines of what can be recovered to a point in time; none where there is no base backup. */
  readonly window: readonly string[];
  /** The same for programs, a cluster each; null when it could not be measured. */
  readonly recovery: readonly WindowJson[] | null;
}

const LISTED = 50;

/** The newest backups of a series, its base backups, and the instants that they and the WAL lead to. */
export async function listBackups(
  { config, backups, state, clock }: ListingEdges,
  target: Target,
  remainingMs: () => number,
): Promise<ListedBackups> {
  const { app } = target.series;
  const prefix = backupPrefix(config, target);
  const copies = await readSeries({ backups, prefix, app, now: clock.now() }, LISTED);
  const shown = copies.filter((copy) => copy.state !== 'unfinished').slice(0, LISTED);
  return {
    app,
    instanceId: target.instanceId,
    backups: shown.map((copy) => describeCopy(copy, `s3://${backups.name}/${prefix}/`)),
    older: copies.length - shown.length,
    ...(await listRecovery({ backups, state, prefix, app, remainingMs })),
  };
}

async function listRecovery(place: PitrPlace): Promise<ListedRecovery> {
  const { backups, state, prefix } = place;
  const { bases } = await readBaseCatalog(backups, new Map(), place, state);
  const shown = bases.slice(0, LISTED);
  return {
    bases: shown.map((base) => describeBase(base, `s3://${backups.name}/${prefix}/`)),
    olderBases: bases.length - shown.length,
    ...(await measure(place, bases)),
  };
}

/** What cannot be measured must not hide the backups. */
async function measure(
  place: PitrPlace,
  bases: BaseCatalog['bases'],
): Promise<Pick<ListedRecovery, 'window' | 'recovery'>> {
  try {
    const windows = (await readClusters(place, bases)).map(({ window }) => window);
    return { window: windows.flatMap(describeWindow), recovery: windows.map(windowJson) };
  } catch (error) {
    const { message, hint } = asLifeboatError(error);
    return { window: [`not known: ${message}`, ...(hint === undefined ? [] : [hint])], recovery: null };
  }
}

function describeBase(base: BaseCatalog['bases'][number], folder: string): ListedBase {
  const { time, type, detail, ...reported } = reportBase(base, (key) => folder + key);
  return {
    ...reported,
    time: time.toISOString(),
    size: formatBytes(reported.bytes),
    type: type ?? null,
    ...(detail === undefined ? {} : { detail }),
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
