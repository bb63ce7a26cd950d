import { asLifeboatError } from '../../../lib/domain/errors.ts';
import type { Answer } from '../answer.ts';
import { planBackup } from '../commands/backup.ts';
import type { BackupRequest } from '../commands/backup-request.ts';
import { backupAndTell } from '../commands/backup-and-tell.ts';
import { openContext, type Context } from '../context.ts';
import { tellOfWrongSettings } from '../wrong-settings.ts';
import { digestReader } from '../data-path/digest.ts';
import { dumpWriter } from '../data-path/dump-writer.ts';
import type { BackupPorts } from '../ports/backup.ts';
import { openBackupSource } from '../postgres/backup-source.ts';
import { backupAsJson, planAsJson, renderPlan } from '../render/backup.ts';
import { requireDatabaseName } from '../settings.ts';
import { LIFEBOAT_VERSION } from '../version.ts';

export async function runBackup(options: Readonly<Record<string, unknown>>): Promise<Answer> {
  const { context, database } = await openOrTell(options);
  const ports = openBackupPorts(context, database);
  const request = describeRequest(context, database, options);
  if (request.dryRun) {
    const plan = await planBackup(ports, request);
    return { lines: renderPlan(plan), json: planAsJson(plan) };
  }
  const told = await backupAndTell(ports, request);
  if (told.failure && options['json'] !== true) throw told.failure;
  return { lines: [], json: backupAsJson(request, told), failure: told.failure };
}

/**
 * A night that fails because somebody mistyped a setting must be told of like any other; how to reach people is known
 * even then, because those settings are looked at only when a message is sent.
 */
async function openOrTell(
  options: Readonly<Record<string, unknown>>,
): Promise<{ context: Context; database: string }> {
  const json = options['json'] === true;
  try {
    const context = openContext({ json });
    return { context, database: requireDatabaseName(context.settings) };
  } catch (error) {
    const failure = asLifeboatError(error);
    if (failure.code === 'SETTINGS_INVALID' && options['dryRun'] !== true) await tellOfWrongSettings(failure);
    throw failure;
  }
}

export function openBackupPorts(context: Context, database: string): BackupPorts {
  const { settings } = context;
  return {
    ...context,
    source: openBackupSource(settings.database, settings.environment, database),
    writer: dumpWriter,
    digests: digestReader,
  };
}

export function describeRequest(
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
