import type { Answer } from '../answer.ts';
import { planBackup } from '../commands/backup.ts';
import type { BackupRequest } from '../commands/backup-request.ts';
import { backupAndTell } from '../commands/backup-and-tell.ts';
import { openContext, type Context } from '../context.ts';
import { digestReader } from '../data-path/digest.ts';
import { dumpWriter } from '../data-path/dump-writer.ts';
import type { BackupPorts } from '../ports/backup.ts';
import { openBackupSource } from '../postgres/backup-source.ts';
import { backupAsJson, renderPlan } from '../render/backup.ts';
import { requireDatabaseName } from '../settings.ts';
import { LIFEBOAT_VERSION } from '../version.ts';

export async function runBackup(options: Readonly<Record<string, unknown>>): Promise<Answer> {
  const context = openContext({ json: options['json'] === true });
  const database = requireDatabaseName(context.settings);
  const ports = openBackupPorts(context, database);
  const request = describeRequest(context, database, options);
  if (request.dryRun) {
    const plan = await planBackup(ports, request);
    return { lines: renderPlan(plan), json: plan };
  }
  const told = await backupAndTell(ports, request);
  if (told.failure && options['json'] !== true) throw told.failure;
  return { lines: [], json: backupAsJson(request, told), failure: told.failure };
}

function openBackupPorts(context: Context, database: string): BackupPorts {
  const { settings } = context;
  return {
    ...context,
    source: openBackupSource(settings.database, settings.environment, database),
    writer: dumpWriter,
    digests: digestReader,
  };
}

function describeRequest(
  { settings, host }: Context,
  database: string,
  options: Readonly<Record<string, unknown>>,
): BackupRequest {
  return {
    app: settings.app,
    database,
    user: settings.database.user,
    encoding: { format: settings.format, compression: settings.compression },
    level: settings.compressionLevel,
    localRetentionDays: settings.localRetentionDays,
    runId: settings.runId ?? host.newRunId(),
    lifeboatVersion: LIFEBOAT_VERSION,
    allowStandby: options['allowStandby'] === true,
    adoptSeries: options['adoptSeries'] === true,
    dryRun: options['dryRun'] === true,
  };
}
