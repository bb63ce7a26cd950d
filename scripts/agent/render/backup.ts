import { totalRows } from '../../../lib/domain/backup/compose-manifest.ts';
import { formatBytes } from '../../../lib/domain/quantities.ts';
import type { BackupPlan } from '../commands/backup/backup.ts';
import type { BackupRequest } from '../commands/backup/backup-request.ts';
import type { ToldBackup } from '../commands/backup/backup-and-tell.ts';
import { renderErrorAsJson } from './error.ts';

export function renderPlan(plan: BackupPlan): string[] {
  return [
    `Backup ${plan.id} of ${JSON.stringify(plan.database)} (PostgreSQL ${plan.serverVersion}, ${formatBytes(plan.databaseBytes)})`,
    `  with   ${plan.pgDump}`,
    `  needs  about ${formatBytes(plan.estimatedBytes)}; ${formatBytes(plan.freeBytes)} free`,
    ...plan.files.map((file) => `  writes ${file}`),
    ...plan.warnings.map((warning) => `  ⚠️  ${warning}`),
    'Nothing was written (--dry-run).',
  ];
}

export function planAsJson(plan: BackupPlan): unknown {
  return { operation: 'backup', succeeded: true, dryRun: true, ...plan };
}

export function backupAsJson(
  request: BackupRequest,
  { completed, failure, deliveries }: ToldBackup,
): unknown {
  const common = { operation: 'backup', app: request.app, database: request.database, runId: request.runId };
  if (!completed) return { ...common, ...(renderErrorAsJson(failure!) as object), messages: deliveries };
  const { manifest, locations, durationMs, expired, warnings } = completed;
  const { dump } = manifest;
  return {
    ...common,
    succeeded: true,
    id: manifest.id,
    file: dump.key,
    format: dump.format,
    compression: dump.compression,
    bytes: dump.size,
    rawBytes: dump.rawSize,
    sha256: dump.sha256,
    startedAt: manifest.startedAt,
    finishedAt: manifest.finishedAt,
    durationMs: Math.round(durationMs),
    locations,
    tables: manifest.tables.length,
    rows: totalRows(manifest),
    expired,
    warnings,
    messages: deliveries,
  };
}
