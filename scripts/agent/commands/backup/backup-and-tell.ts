import { latestBackup } from '../../../../lib/domain/backup/catalog.ts';
import { totalRows } from '../../../../lib/domain/backup/compose-manifest.ts';
import { asLifeboatError, EXIT_STATUS, type LifeboatError } from '../../../../lib/domain/errors.ts';
import { describeBackup } from '../../../../lib/domain/notify/wording.ts';
import type { BackupOutcome, LastGoodBackup } from '../../../../lib/domain/run/outcome.ts';
import { readCatalog } from '../../catalog/dumps.ts';
import type { BackupPorts } from '../../ports/backup.ts';
import { deliver, type Delivery } from '../../ports/notify.ts';
import { backup, type CompletedBackup } from './backup.ts';
import type { BackupRequest } from './backup-request.ts';

export interface ToldBackup {
  readonly completed: CompletedBackup | undefined;
  readonly failure: LifeboatError | undefined;
  readonly deliveries: readonly Delivery[];
}

/** A backup, its line in the journal, and its message; the verdict is the backup's alone. */
export async function backupAndTell(ports: BackupPorts, request: BackupRequest): Promise<ToldBackup> {
  const started = ports.clock.monotonic();
  const tried = await backup(ports, request).then(
    (completed) => ({ completed, failure: undefined }),
    (error: unknown) => ({ completed: undefined, failure: describeEnd(ports, asLifeboatError(error)) }),
  );
  const durationMs = ports.clock.monotonic() - started;
  await writeJournal(ports, request, { ...tried, durationMs });
  const outcome = tried.completed
    ? describeSuccess(ports, request, tried.completed)
    : await describeFailure(ports, request, tried.failure!, durationMs);
  const deliveries = await deliver(ports.channels, describeBackup(outcome, ports.clock.now()));
  for (const { name, delivered, error } of deliveries) {
    if (!delivered) ports.log.warn(`The ${name} message was not delivered: ${error ?? 'no reason given'}`);
  }
  return { ...tried, deliveries };
}

/** Ctrl-C reaches our children too, and one of them may be the first to complain. */
function describeEnd({ interrupted }: BackupPorts, error: LifeboatError): LifeboatError {
  if (!interrupted.aborted) return error;
  const reason = asLifeboatError(interrupted.reason);
  return error.code === reason.code ? error : reason;
}

async function writeJournal(
  ports: BackupPorts,
  request: BackupRequest,
  run: { completed: CompletedBackup | undefined; failure: LifeboatError | undefined; durationMs: number },
): Promise<void> {
  // A run that another one kept from starting says nothing about the series.
  if (run.failure?.code === 'BUSY') return;
  const dump = run.completed?.manifest.dump;
  await ports.journal.append({
    at: ports.clock.now().toISOString(),
    operation: 'backup',
    runId: request.runId,
    succeeded: run.failure === undefined,
    durationMs: Math.round(run.durationMs),
    boot: ports.host.boot(),
    ...(run.completed && dump
      ? { id: run.completed.manifest.id, bytes: dump.size, rawBytes: dump.rawSize }
      : {}),
    ...(run.failure ? { code: run.failure.code, message: run.failure.message } : {}),
  });
}

function describeSuccess(
  ports: BackupPorts,
  request: BackupRequest,
  completed: CompletedBackup,
): BackupOutcome {
  const { manifest, locations, warnings, durationMs } = completed;
  return {
    succeeded: true,
    app: request.app,
    host: ports.host.facts().name,
    runId: request.runId,
    database: request.database,
    durationMs,
    warnings,
    id: manifest.id,
    file: manifest.dump.key,
    bytes: manifest.dump.size,
    locations,
    totals: { tables: manifest.tables.length, rows: totalRows(manifest) },
  };
}

async function describeFailure(
  ports: BackupPorts,
  request: BackupRequest,
  { code, message, hint, exitStatus }: LifeboatError,
  durationMs: number,
): Promise<BackupOutcome> {
  return {
    succeeded: false,
    app: request.app,
    host: ports.host.facts().name,
    runId: request.runId,
    database: request.database,
    durationMs,
    warnings: [],
    error: { code, message, hint },
    lastGood: await findLastGood(ports, request.app, exitStatus === EXIT_STATUS.disk),
  };
}

/** From the local folder alone, unless that is what failed: S3 may be, and the message must not wait for it. */
async function findLastGood(
  { stores: [local, s3], ...ports }: BackupPorts,
  app: string,
  diskFailed: boolean,
): Promise<LastGoodBackup | 'unknown' | undefined> {
  const stores = s3 && diskFailed ? [local, s3] : [local];
  try {
    const catalog = await readCatalog(app, stores, await ports.journal.records());
    const last = latestBackup(catalog.backups, ports.clock.now())?.manifest;
    return last && { id: last.id, finishedAt: new Date(last.finishedAt) };
  } catch {
    return 'unknown';
  }
}
