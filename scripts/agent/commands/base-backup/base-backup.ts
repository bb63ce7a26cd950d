import { formatBaseLabel } from '../../../../lib/domain/base/base-label.ts';
import type { Base } from '../../../../lib/domain/base/base-catalog.ts';
import type { BaseManifest } from '../../../../lib/domain/base/base-manifest.ts';
import { LifeboatError } from '../../../../lib/domain/errors.ts';
import { basePrefix, parsePitrKey, pitrAppPrefix } from '../../../../lib/domain/wal/keys.ts';
import { formatBytes, formatCount } from '../../../../lib/domain/quantities.ts';
import type { BaseBackupPorts } from '../../ports/base-backup.ts';
import { makeBase, seriesOf, type BaseRun } from './base-backup-making.ts';
import { preflightBase, type BasePreflight } from './base-backup-preflight.ts';
import type { BaseBackupRequest } from './base-backup-request.ts';
import { findRoute, type BackupRoute } from './base-backup-route.ts';
import { removeExpiredBases } from './base-backup-retention.ts';

/** What a real run would do. */
export interface BaseBackupPlan {
  readonly label: string;
  readonly app: string;
  readonly type: 'full' | 'incremental';
  /** Of an incremental one. */
  readonly parent: string | null;
  /** Why it is a full one though an incremental one was asked for. */
  readonly fullBecause: string | null;
  readonly serverVersion: string;
  readonly systemIdentifier: string;
  readonly clusterBytes: number;
  readonly estimatedBytes: number;
  /** Of BACKUP_DIR; `null` where the backup goes to S3. */
  readonly freeBytes: number | null;
  readonly location: string;
  readonly route: BackupRoute;
  readonly warnings: readonly string[];
}

export interface CompletedBaseBackup {
  readonly manifest: BaseManifest;
  /** The folder of its files, a path or an `s3://` URL. */
  readonly location: string;
  readonly durationMs: number;
  /** PAGES_DAMAGED: it was stored, and yet the run has failed. */
  readonly damage: LifeboatError | undefined;
  readonly warnings: readonly string[];
}

/** `lifeboat backup --kind base --dry-run`: the preflight, and what would follow it. @throws as `baseBackup` does */
export async function planBaseBackup(
  ports: BaseBackupPorts,
  request: BaseBackupRequest,
): Promise<BaseBackupPlan> {
  // Without the lock: it lies in BACKUP_DIR, and nothing is written there.
  const ready = await preflightBase(ports, request);
  const { facts, increment } = ready;
  const { label } = chooseLabel(request.app, ports.clock.now(), ready.bases);
  return {
    label,
    app: request.app,
    type: increment.type,
    parent: increment.type === 'incremental' ? increment.parent.label : null,
    fullBecause: increment.type === 'full' ? (increment.reason ?? null) : null,
    serverVersion: facts.version,
    systemIdentifier: facts.systemIdentifier,
    clusterBytes: facts.clusterBytes,
    estimatedBytes: ready.estimatedBytes,
    freeBytes: ready.freeBytes ?? null,
    location: locationOf(request, ready, label),
    route: await findRoute(ports, ready),
    warnings: ready.warnings,
  };
}

/**
 * One base backup from preflight to manifest, which is the last thing written: before it there is none. Neither a dump nor
 * the WAL stream is kept from running beside it.
 * @throws LifeboatError on any failure; in S3, where the host may not delete, complete volumes then stay behind
 */
export async function baseBackup(
  ports: BaseBackupPorts,
  request: BaseBackupRequest,
): Promise<CompletedBaseBackup> {
  const started = ports.clock.monotonic();
  const lock = await ports.host.lock(`${request.app}:base`, `base backup, run ${request.runId}`);
  try {
    ports.log.info('Checking prerequisites...');
    const ready = await preflightBase(ports, request);
    for (const warning of ready.warnings) ports.log.warn(warning);
    ports.log.info('✅ Prerequisites OK');
    await removeUnfinished(ports, request, ready);

    const { label, startedAt } = chooseLabel(request.app, ports.clock.now(), ready.bases);
    announce(ports, ready);
    const run = { ready, label, startedAt, started };
    const manifest = await makeBase(ports, request, run).catch(async (error: unknown) => {
      await dropLocally(request, run);
      throw error;
    });
    const retentionWarning = await keepRetention(ports, request, manifest);
    return report(ports, request, run, manifest, retentionWarning);
  } finally {
    await lock.release();
  }
}

function announce({ log }: BaseBackupPorts, { increment, store }: BasePreflight): void {
  if (store.kind === 'local')
    log.info('No S3_BUCKET is set: the base backup goes to BACKUP_DIR on this host');
  if (increment.type === 'incremental') {
    log.info(`Starting base backup, incremental on ${increment.parent.label}...`);
    return;
  }
  log.info('Starting base backup...');
  if (increment.reason) log.info(`A full one: ${increment.reason}`);
}

/** What a killed run left is no backup and never will be. Under the lock no other run can be at work on it. */
async function removeUnfinished(
  ports: BaseBackupPorts,
  { app }: BaseBackupRequest,
  { store, bases }: BasePreflight,
): Promise<void> {
  try {
    // The WAL stream's own uploads lie below the same prefix.
    await store.removeUnfinished(pitrAppPrefix(app), isBaseFile);
    for (const base of bases) if (base.state === 'unfinished') await clearUnfinished(ports, store.kind, base);
  } catch (error) {
    // It only costs storage; the backup matters more.
    ports.interrupted.throwIfAborted();
    ports.log.warn(`What unfinished runs left could not be removed: ${(error as Error).message}`);
  }
}

function isBaseFile(key: string): boolean {
  const parsed = parsePitrKey(key);
  return parsed !== undefined && 'label' in parsed;
}

async function clearUnfinished(
  { stores, log }: BaseBackupPorts,
  where: 'local' | 's3',
  { label, files }: Base,
): Promise<void> {
  if (where === 'local') {
    for (const { key } of files) await stores[0].remove(key);
    log.warn(`Removed what an unfinished run left behind: ${label}`);
    return;
  }
  const bytes = files.reduce((sum, { size }) => sum + size, 0);
  log.info(
    `An unfinished run left ${formatCount(files.length, 'file')} of ${label} in S3 (${formatBytes(bytes)}): no backup. Hosts may not delete there; retention removes them`,
  );
}

/** In S3 what was completed stays, without a manifest: known as unfinished. */
async function dropLocally(request: BaseBackupRequest, run: BaseRun): Promise<void> {
  const { store } = run.ready;
  if (store.kind !== 'local') return;
  const prefix = basePrefix(seriesOf(request, run.ready), run.label);
  // Best effort: the error that led here is the one to report, and the next run removes what is left.
  try {
    const keys: string[] = [];
    for await (const { key } of store.list(prefix)) keys.push(key);
    for (const key of keys) await store.remove(key);
  } catch {
    return;
  }
}

/** The run's label: its start, moved on by a second while something already lies under that name. */
function chooseLabel(
  app: string,
  now: Date,
  taken: readonly Base[],
): { readonly label: string; readonly startedAt: Date } {
  const labels = new Set(taken.map(({ label }) => label));
  const time = new Date(Math.floor(now.getTime() / 1000) * 1000);
  while (labels.has(formatBaseLabel({ app, time }))) time.setTime(time.getTime() + 1000);
  return { label: formatBaseLabel({ app, time }), startedAt: time };
}

/** In BACKUP_DIR alone, and only behind a good backup; what could not be removed costs space, and is told of. */
async function keepRetention(
  ports: BaseBackupPorts,
  { app, localRetentionDays: days }: BaseBackupRequest,
  { label, pageChecksums }: BaseManifest,
): Promise<string | undefined> {
  if (pageChecksums.failures > 0) return undefined;
  try {
    await removeExpiredBases(ports, { app, days, justMade: label });
    return undefined;
  } catch (error) {
    const warning = `Old base backups could not be removed: ${(error as Error).message}`;
    ports.log.warn(warning);
    return warning;
  }
}

function locationOf(request: BaseBackupRequest, ready: BasePreflight, label: string): string {
  return ready.store.urlOf(basePrefix(seriesOf(request, ready), label));
}

function report(
  ports: BaseBackupPorts,
  request: BaseBackupRequest,
  { ready, started }: BaseRun,
  manifest: BaseManifest,
  retentionWarning: string | undefined,
): CompletedBaseBackup {
  const { log } = ports;
  const location = locationOf(request, ready, manifest.label);
  for (const warning of manifest.warnings.slice(ready.warnings.length)) log.warn(warning);
  log.info(`✅ Base backup created: ${location}`);
  log.info(
    `Backup size: ${formatBytes(sizeOf(manifest))} in ${formatCount(manifest.volumes.length, 'volume')}`,
  );
  log.info(
    `WAL: ${manifest.startLsn} to ${manifest.stopLsn} on timeline ${manifest.stopTimeline}, all of it in the backup`,
  );
  const damage = describeDamage(manifest, location);
  if (!damage) log.info('✅ Base backup completed successfully');
  return {
    manifest,
    location,
    durationMs: ports.clock.monotonic() - started,
    damage,
    warnings: [...manifest.warnings, ...(retentionWarning === undefined ? [] : [retentionWarning])],
  };
}

export function sizeOf({ volumes, backupManifest }: BaseManifest): number {
  return volumes.reduce((sum, { size }) => sum + size, backupManifest?.size ?? 0);
}

export function rawSizeOf({ volumes }: BaseManifest): number {
  return volumes.reduce((sum, { rawSize }) => sum + rawSize, 0);
}

/** The backup is what there is of that cluster, so it is kept; but no other one may ever make place for it. */
function describeDamage(
  { pageChecksums, warnings }: BaseManifest,
  location: string,
): LifeboatError | undefined {
  const { failures } = pageChecksums;
  if (failures === 0) return undefined;
  const said = warnings.filter((warning) => /checksum/.test(warning));
  return new LifeboatError(
    'PAGES_DAMAGED',
    `PostgreSQL found ${formatCount(failures, 'damaged page')} in the cluster:\n${said.map((line) => `- ${line}`).join('\n')}\nThe backup was stored with them, and does not count as a good one: ${location}`,
  );
}
