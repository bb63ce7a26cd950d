import { formatBackupId } from '../../../../lib/domain/backup/backup-id.ts';
import { totalRows } from '../../../../lib/domain/backup/compose-manifest.ts';
import {
  dumpKey,
  globalsKey,
  manifestKey,
  PARTIAL_SUFFIX,
  parseBackupFile,
  seriesPrefix,
} from '../../../../lib/domain/backup/keys.ts';
import type { Manifest } from '../../../../lib/domain/backup/manifest.ts';
import { asLifeboatError, LifeboatError } from '../../../../lib/domain/errors.ts';
import { formatCount } from '../../../../lib/domain/quantities.ts';
import type { BackupPorts } from '../../ports/backup.ts';
import type { HeldLock } from '../../ports/host.ts';
import { CopyInProgress } from './backup-copy.ts';
import { makeCopies } from './backup-making.ts';
import { chooseId, preflight, type BackupPreflight } from './backup-preflight.ts';
import type { BackupRequest } from './backup-request.ts';
import { removeExpiredLocally } from '../catalog/retention.ts';

/** What a real run would do. */
export interface BackupPlan {
  readonly id: string;
  readonly app: string;
  readonly database: string;
  readonly serverVersion: string;
  readonly pgDump: string;
  readonly databaseBytes: number;
  readonly estimatedBytes: number;
  readonly freeBytes: number;
  readonly files: readonly string[];
  readonly warnings: readonly string[];
}

export interface CompletedBackup {
  readonly manifest: Manifest;
  /** Where the dump lies. */
  readonly locations: readonly string[];
  readonly durationMs: number;
  /** Ids whose local files the retention removed. */
  readonly expired: readonly string[];
  readonly warnings: readonly string[];
}

/** `lifeboat backup --dry-run`: the preflight, and what would follow it. @throws as `backup` does */
export async function planBackup(ports: BackupPorts, request: BackupRequest): Promise<BackupPlan> {
  // Without the lock: it lies in BACKUP_DIR, and nothing is written there.
  const ready = await preflight(ports, request);
  const id = chooseId(request.app, ports.clock.now(), ready.catalog.backups);
  const keys = [globalsKey(id), dumpKey(id, request.encoding), manifestKey(id)];
  return {
    id: formatBackupId(id),
    app: request.app,
    database: request.database,
    serverVersion: ready.facts.version,
    pgDump: `${ready.tools.pgDump.path} (${ready.tools.pgDump.version})`,
    databaseBytes: ready.facts.databaseBytes,
    estimatedBytes: ready.estimatedSize,
    freeBytes: ready.freeBytes,
    files: ports.stores.flatMap((store) => (store ? keys.map((key) => store.urlOf(key)) : [])),
    warnings: ready.warnings,
  };
}

/**
 * One backup from preflight to retention. It counts only once its manifest is written, which is the last thing written.
 * @throws LifeboatError on any failure; a store whose copy was complete by then keeps it
 */
export async function backup(ports: BackupPorts, request: BackupRequest): Promise<CompletedBackup> {
  const started = ports.clock.monotonic();
  const lock: HeldLock = await ports.host.lock(request.app, holderOf(request));
  try {
    ports.log.info('Checking prerequisites...');
    const ready = await preflight(ports, request);
    for (const warning of ready.warnings) ports.log.warn(warning);
    ports.log.info('✅ Prerequisites OK');
    await removeUnfinished(ports, request.app, ready);

    ports.log.info('Starting database backup...');
    const id = chooseId(request.app, ports.clock.now(), ready.catalog.backups);
    const copies = openCopies(ports, request, ready);
    try {
      const manifest = await makeCopies(ports, request, { ready, id, copies, started });
      // What pg_dump and pg_dumpall said; the preflight's own warnings came first, and are out already.
      for (const warning of manifest.warnings.slice(ready.warnings.length)) ports.log.warn(warning);
      const retained = await keepRetention(ports, request, formatBackupId(id));
      return report(ports, { copies, manifest, started, ...retained });
    } catch (error) {
      for (const copy of copies) copy.fail(error);
      throw ports.interrupted.aborted ? error : describeFailure(copies, dumpKey(id, request.encoding), error);
    } finally {
      const files = [{ key: globalsKey(id) }, { key: dumpKey(id, request.encoding) }];
      for (const copy of copies) if (!copy.good) await copy.drop(files);
    }
  } finally {
    await lock.release();
  }
}

function holderOf({ runId }: BackupRequest): string {
  return `backup, run ${runId}`;
}

/** What a killed run left is no backup and never will be. Under the lock no other run can be at work on it. */
async function removeUnfinished(
  ports: BackupPorts,
  app: string,
  { catalog, storeFailures }: BackupPreflight,
): Promise<void> {
  const [local, s3] = ports.stores;
  for (const copy of catalog.copiesIn(local)) {
    // Files without the mark of a run were brought here by somebody: a dump fetched from S3 without its manifest, say.
    if (copy.state !== 'unfinished' || !copy.files.some(({ key }) => key.endsWith(PARTIAL_SUFFIX))) continue;
    for (const { key } of copy.files) await local.remove(key);
    ports.log.warn(`Removed what an unfinished run left behind: ${copy.id}`);
  }
  const ours = (key: string): boolean => parseBackupFile(key)?.id.app === app;
  await local.removeUnfinished(seriesPrefix(app), ours);
  if (!s3 || storeFailures.s3) return;
  try {
    await s3.removeUnfinished(seriesPrefix(app), ours);
  } catch (error) {
    // Parts without an object only cost storage until the bucket's lifecycle takes them; the backup matters more.
    ports.interrupted.throwIfAborted();
    ports.log.warn(`Unfinished uploads in S3 could not be removed: ${(error as Error).message}`);
  }
}

function openCopies(
  ports: BackupPorts,
  request: BackupRequest,
  { storeFailures }: BackupPreflight,
): CopyInProgress[] {
  return ports.stores.flatMap((store) => {
    if (!store) return [];
    const copy = new CopyInProgress(store, request);
    const failure = storeFailures[store.kind];
    if (failure) {
      copy.fail(failure);
      const other = store.kind === 's3' ? 'The local backup' : 'The copy in S3';
      ports.log.warn(
        `${failure.message}\n${other} is made all the same; this run will be reported as failed.`,
      );
    }
    return [copy];
  });
}

interface Finished {
  readonly copies: readonly CopyInProgress[];
  readonly manifest: Manifest;
  readonly started: number;
  readonly expired: readonly string[];
  readonly retentionWarning: string | undefined;
}

/** The backup stands by now; old ones that could not be removed cost space, and are told of. */
async function keepRetention(
  ports: BackupPorts,
  { app, localRetentionDays: days }: BackupRequest,
  justMade: string,
): Promise<Pick<Finished, 'expired' | 'retentionWarning'>> {
  try {
    return {
      expired: await removeExpiredLocally(ports, { app, days, justMade }),
      retentionWarning: undefined,
    };
  } catch (error) {
    const retentionWarning = `Old local backups could not be removed: ${(error as Error).message}`;
    ports.log.warn(retentionWarning);
    return { expired: [], retentionWarning };
  }
}

/** The verdict. @throws the first copy's failure: one missing copy is a failed backup, though the other one counts */
function report(
  ports: BackupPorts,
  { copies, manifest, started, expired, retentionWarning }: Finished,
): CompletedBackup {
  const failed = copies.find(({ good }) => !good);
  if (failed) throw failed.failure;
  if (copies.length === 1) ports.log.info('No S3_BUCKET is set: this backup lies on this host only');
  ports.log.info(
    `Rows: ${totalRows(manifest).toLocaleString('en-US')} in ${formatCount(manifest.tables.length, 'table')}`,
  );
  ports.log.info('✅ Backup completed successfully');
  return {
    manifest,
    locations: copies.map(({ store }) => store.urlOf(manifest.dump.key)),
    durationMs: ports.clock.monotonic() - started,
    expired,
    warnings: [...manifest.warnings, ...(retentionWarning ? [retentionWarning] : [])],
  };
}

/** `failure` in its own words, then why other copies failed, and where a copy stands all the same. */
function describeFailure(copies: readonly CopyInProgress[], key: string, failure: unknown): unknown {
  if (!(failure instanceof LifeboatError)) return failure;
  const others = new Set(copies.map((copy) => copy.failure).filter((other) => other && other !== failure));
  const kept = copies.filter(({ committed }) => committed).map(({ store }) => store.urlOf(key));
  if (others.size + kept.length === 0) return failure;
  const lines = [failure, ...others].map((error) => asLifeboatError(error).message);
  if (kept.length > 0) lines.push(`A whole, verified copy was kept: ${kept.join(', ')}`);
  return new LifeboatError(failure.code, lines.join('\n'), { hint: failure.hint, cause: failure });
}
