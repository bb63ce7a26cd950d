import { formatBackupId, type BackupId } from '../../../lib/domain/backup/backup-id.ts';
import { composeManifest, totalRows } from '../../../lib/domain/backup/compose-manifest.ts';
import { dumpKey, globalsKey, manifestKey, seriesPrefix, type DumpEncoding } from '../../../lib/domain/backup/keys.ts';
import { formatManifest, type Manifest } from '../../../lib/domain/backup/manifest.ts';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import { formatBytes } from '../../../lib/domain/quantities.ts';
import type { BackupPorts, CollectedDump, DumpProcess, SourceDescription, WrittenDump } from '../ports/backup.ts';
import type { HeldLock } from '../ports/host.ts';
import type { ObjectStore } from '../ports/store.ts';
import { CopyInProgress } from './backup-copy.ts';
import { chooseId, preflight, type BackupPreflight } from './backup-preflight.ts';
import { removeExpiredLocally } from './retention.ts';

export interface BackupRequest {
  readonly app: string;
  readonly database: string;
  readonly user: string;
  readonly encoding: DumpEncoding;
  readonly level: number | undefined;
  readonly localRetentionDays: number;
  readonly runId: string;
  readonly lifeboatVersion: string;
  readonly allowStandby: boolean;
  readonly adoptSeries: boolean;
  readonly dryRun: boolean;
}

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
  const lock = await ports.host.lock(request.app, holderOf(request));
  try {
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
  } finally {
    await lock.release();
  }
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
      const retained = await keepRetention(ports, request);
      return report(ports, { copies, manifest, started, ...retained });
    } catch (error) {
      for (const copy of copies) copy.fail(error);
      throw error;
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
async function removeUnfinished(ports: BackupPorts, app: string, { catalog, s3Failure }: BackupPreflight): Promise<void> {
  const [local, s3] = ports.stores;
  for (const copy of catalog.copiesIn(local)) {
    if (copy.state !== 'unfinished') continue;
    for (const { key } of copy.files) await local.remove(key);
    ports.log.warn(`Removed what an unfinished run left behind: ${copy.id}`);
  }
  if (s3 && !s3Failure) await s3.removeUnfinished(seriesPrefix(app));
}

function openCopies(ports: BackupPorts, request: BackupRequest, { s3Failure }: BackupPreflight): CopyInProgress[] {
  return ports.stores.flatMap((store) => {
    if (!store) return [];
    const copy = new CopyInProgress(store, request);
    if (store.kind === 's3' && s3Failure) {
      copy.fail(s3Failure);
      ports.log.warn(`${s3Failure.message}\nThe local backup is made all the same; this run will be reported as failed.`);
    }
    return [copy];
  });
}

interface Run {
  readonly ready: BackupPreflight;
  readonly id: BackupId;
  readonly copies: readonly CopyInProgress[];
  readonly started: number;
}

async function makeCopies(ports: BackupPorts, request: BackupRequest, run: Run): Promise<Manifest> {
  const { ready, id, copies } = run;
  const snapshot = await ports.source.openSnapshot();
  try {
    const description = await snapshot.describe();
    const globals = await dumpGlobals(ports, ready);
    const written = await dumpDatabase(ports, request, run, snapshot.dump(ready.tools, request.encoding.format));
    const keys = { globals: globalsKey(id), dump: dumpKey(id, request.encoding) };
    for (const copy of copies) await copy.commitData({ key: keys.globals, dump: globals }, written);
    announceCopies(ports, copies, keys.dump, written.size);
    await rereadLocally(ports, copies, keys.dump, written);

    const manifest = describeRun(ports, request, { run, description, globals, written, keys });
    for (const copy of copies) await copy.commitManifest(manifestKey(id), formatManifest(manifest));
    return manifest;
  } finally {
    await snapshot.close();
  }
}

async function dumpGlobals(ports: BackupPorts, { tools, facts }: BackupPreflight): Promise<CollectedDump> {
  const process = ports.source.dumpGlobals(tools, { rolePasswords: facts.mayReadPasswords });
  const globals = await untilInterrupted(ports, process, () => ports.writer.collect(process));
  if (globals.complete) return globals;
  throw new LifeboatError('DUMP_FAILED', 'pg_dumpall ended well, but its output lacks the end mark');
}

async function dumpDatabase(
  ports: BackupPorts,
  request: BackupRequest,
  { id, copies, ready }: Run,
  process: DumpProcess,
): Promise<WrittenDump> {
  const key = dumpKey(id, request.encoding);
  ports.progress.start('Dumping', ready.estimatedRawSize);
  try {
    const sinks = await Promise.all(copies.map((copy) => copy.open(key)));
    const written = await untilInterrupted(ports, process, () =>
      ports.writer.write(process, {
        ...request.encoding,
        level: request.level,
        sinks,
        interrupted: ports.interrupted,
        onProgress: (bytes, table) => ports.progress.update(bytes, table),
      }),
    );
    for (const [index, error] of written.sinkErrors) copies[index]!.fail(error);
    if (written.complete) return written;
    throw new LifeboatError('DUMP_FAILED', 'pg_dump ended well, but the dump lacks its end mark: it is not whole');
  } finally {
    ports.progress.stop();
  }
}

/** Whatever ends the work early, the program is gone afterwards. */
async function untilInterrupted<Result>(
  { interrupted }: BackupPorts,
  process: DumpProcess,
  work: () => Promise<Result>,
): Promise<Result> {
  const kill = (): void => void process.kill();
  interrupted.addEventListener('abort', kill);
  try {
    interrupted.throwIfAborted();
    return await work();
  } catch (error) {
    await process.kill();
    throw interrupted.aborted ? interrupted.reason : error;
  } finally {
    interrupted.removeEventListener('abort', kill);
  }
}

function announceCopies(ports: BackupPorts, copies: readonly CopyInProgress[], key: string, size: number): void {
  const local = copies.find(({ store }) => store.kind === 'local');
  if (local?.good) {
    ports.log.info(`✅ Backup created: ${local.store.urlOf(key)}`);
    ports.log.info(`Backup size: ${formatBytes(size)}`);
  }
}

/** What was written is read again: the file on disk, not the bytes in memory, is what a restore will find. */
async function rereadLocally(
  ports: BackupPorts,
  copies: readonly CopyInProgress[],
  key: string,
  written: WrittenDump,
): Promise<void> {
  for (const copy of copies) {
    if (copy.store.kind !== 'local') continue;
    await copy.verify((store) => reread(ports, store, key, written));
    if (copy.good) ports.log.info('✅ Backup verified');
  }
  ports.interrupted.throwIfAborted();
  for (const { good, store } of copies) if (good && store.kind === 's3') ports.log.info(`✅ Uploaded to ${store.urlOf(key)}`);
}

async function reread(ports: BackupPorts, store: ObjectStore, key: string, written: WrittenDump): Promise<void> {
  const { interrupted } = ports;
  const found = await ports.digests.digest(store, key, { size: written.size, interrupted });
  if (found.sha256 === written.sha256 && found.size === written.size) return;
  throw new LifeboatError(
    'CORRUPT',
    `${store.urlOf(key)} reads back differently: SHA-256 ${found.sha256} instead of ${written.sha256}`,
    { hint: 'The disk or its memory is faulty: check the kernel’s log (dmesg), then run the backup again.' },
  );
}

interface RunFindings {
  readonly run: Run;
  readonly description: SourceDescription;
  readonly globals: CollectedDump;
  readonly written: WrittenDump;
  readonly keys: { readonly globals: string; readonly dump: string };
}

function describeRun(ports: BackupPorts, request: BackupRequest, findings: RunFindings): Manifest {
  const { run, description, globals, written, keys } = findings;
  const { facts, tools, warnings } = run.ready;
  // Start plus elapsed time, not the wall clock: that may have been set meanwhile, even to before the start.
  const elapsed = ports.clock.monotonic() - run.started;
  return composeManifest({
    ...description,
    ...written,
    id: run.id,
    runId: request.runId,
    lifeboatVersion: request.lifeboatVersion,
    finishedAt: new Date(run.id.time.getTime() + elapsed),
    host: ports.host.facts(),
    server: facts,
    pgDumpVersion: tools.pgDump.version,
    dump: {
      ...request.encoding,
      key: keys.dump,
      size: written.size,
      sha256: written.sha256,
      crc32: written.crc32,
      level: written.level,
      rawSize: written.rawSize,
      rawFrameSize: written.rawFrameSize,
      frameSizes: [...written.frameSizes],
    },
    globals: {
      key: keys.globals,
      size: globals.size,
      sha256: globals.sha256,
      crc32: globals.crc32,
      rolePasswords: facts.mayReadPasswords,
    },
    warnings: [...warnings, ...description.warnings, ...[globals.warnings, written.warnings].filter(Boolean)],
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
  { app, localRetentionDays }: BackupRequest,
): Promise<Pick<Finished, 'expired' | 'retentionWarning'>> {
  try {
    return { expired: await removeExpiredLocally(ports, app, localRetentionDays), retentionWarning: undefined };
  } catch (error) {
    const retentionWarning = `Old local backups could not be removed: ${(error as Error).message}`;
    ports.log.warn(retentionWarning);
    return { expired: [], retentionWarning };
  }
}

/** The verdict. @throws the first copy's failure: one missing copy is a failed backup, though the other one counts */
function report(ports: BackupPorts, { copies, manifest, started, expired, retentionWarning }: Finished): CompletedBackup {
  const kept = copies.filter(({ good }) => good).map(({ store }) => store.urlOf(manifest.dump.key));
  const failed = copies.find(({ good }) => !good);
  if (failed) throw describePartialFailure(failed, kept);
  if (copies.length === 1) ports.log.info('No S3_BUCKET is set: this backup lies on this host only');
  ports.log.info(`Rows: ${totalRows(manifest).toLocaleString('en-US')} in ${manifest.tables.length} tables`);
  ports.log.info('✅ Backup completed successfully');
  return {
    manifest,
    locations: kept,
    durationMs: ports.clock.monotonic() - started,
    expired,
    warnings: [...manifest.warnings, ...(retentionWarning ? [retentionWarning] : [])],
  };
}

function describePartialFailure(failed: CopyInProgress, kept: readonly string[]): unknown {
  const { failure } = failed;
  if (kept.length === 0 || !(failure instanceof LifeboatError)) return failure;
  const message = `${failure.message}\nA whole, verified copy was kept: ${kept.join(', ')}`;
  return new LifeboatError(failure.code, message, { hint: failure.hint, cause: failure });
}
