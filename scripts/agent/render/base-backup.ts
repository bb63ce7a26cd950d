import { formatBytes } from '../../../lib/domain/quantities.ts';
import { rawSizeOf, sizeOf, type BaseBackupPlan } from '../commands/base-backup/base-backup.ts';
import type { BaseBackupRequest } from '../commands/base-backup/base-backup-request.ts';
import type { ToldBaseBackup } from '../commands/base-backup/base-backup-and-tell.ts';
import { renderErrorAsJson } from './error.ts';

export function renderBasePlan(plan: BaseBackupPlan): string[] {
  const room = plan.freeBytes === null ? '' : `; ${formatBytes(plan.freeBytes)} free`;
  return [
    `Base backup ${plan.label} (PostgreSQL ${plan.serverVersion}, cluster ${plan.systemIdentifier}, ${formatBytes(plan.clusterBytes)})`,
    `  kind   ${plan.parent === null ? 'full' : `incremental, on ${plan.parent}`}${plan.fullBecause === null ? '' : `: ${plan.fullBecause}`}`,
    `  needs  ${plan.parent === null ? '' : 'at most '}about ${formatBytes(plan.estimatedBytes)}${room}`,
    `  reads  ${describeRoute(plan.route)}`,
    `  writes ${plan.location}`,
    ...plan.warnings.map((warning) => `  ⚠️  ${warning}`),
    'Nothing was written (--dry-run).',
  ];
}

function describeRoute({ reader, detail }: BaseBackupPlan['route']): string {
  return reader === 'lifeboat' ? `the files in ${detail}` : `what PostgreSQL sends: ${detail}`;
}

export function basePlanAsJson(plan: BaseBackupPlan): object {
  return { operation: 'backup', kind: 'base', succeeded: true, dryRun: true, ...plan };
}

export function baseBackupAsJson(
  { app, runId }: BaseBackupRequest,
  { completed, failure, deliveries }: ToldBaseBackup,
): object {
  return {
    operation: 'backup',
    kind: 'base',
    app,
    runId,
    ...(failure ? (renderErrorAsJson(failure) as object) : { succeeded: true }),
    ...(completed ? describeCompleted(completed) : {}),
    messages: deliveries,
  };
}

function describeCompleted({
  manifest,
  location,
  durationMs,
  warnings,
}: NonNullable<ToldBaseBackup['completed']>): object {
  const { server, pageChecksums, volumes } = manifest;
  return {
    label: manifest.label,
    type: manifest.type,
    parent: manifest.parent,
    chain: manifest.chain,
    systemIdentifier: server.systemIdentifier,
    serverVersion: server.version,
    startLsn: manifest.startLsn,
    stopLsn: manifest.stopLsn,
    timeline: manifest.stopTimeline,
    bytes: sizeOf(manifest),
    rawBytes: rawSizeOf(manifest),
    volumes: volumes.length,
    tablespaces: manifest.tablespaces,
    pageChecksums,
    startedAt: manifest.startedAt,
    finishedAt: manifest.finishedAt,
    durationMs: Math.round(durationMs),
    location,
    warnings,
  };
}
