import { asLifeboatError } from '../../../lib/domain/errors.ts';
import type { BackupKind } from '../../../lib/domain/run/backup-kind.ts';
import type { Answer } from '../answer.ts';
import { planBackup } from '../commands/backup/backup.ts';
import type { BackupRequest } from '../commands/backup/backup-request.ts';
import { backupAndTell } from '../commands/backup/backup-and-tell.ts';
import { openContext, type Context } from '../context.ts';
import { tellOfWrongSettings } from '../wrong-settings.ts';
import { digestReader } from '../data-path/digest.ts';
import { dumpWriter } from '../data-path/dump-writer.ts';
import type { BackupPorts } from '../ports/backup.ts';
import { openBackupSource } from '../postgres/backup-source.ts';
import { backupAsJson, planAsJson, renderPlan } from '../render/backup.ts';
import { requireDatabaseName } from '../settings.ts';
import { LIFEBOAT_VERSION } from '../version.ts';
import { runBaseBackup } from './base-backup.ts';
import { runBoth, type PartAnswer } from './backup-both.ts';

type Options = Readonly<Record<string, unknown>>;

export async function runBackup(options: Options): Promise<Answer> {
  const { context, kind } = await openOrTell(options);
  switch (kind) {
    case 'dump':
      return throwFailure(await runDump(context, options), options);
    case 'base':
      return throwFailure(await runBaseBackup(context, options), options);
    case 'both':
      return await runBoth(context, options, { dump: runDump, base: runBaseBackup });
  }
}

/** With --json the failure stands in the answer, and beside it what else is known of the run. */
function throwFailure(answer: Answer, { json }: Options): Answer {
  if (answer.failure && json !== true) throw answer.failure;
  return answer;
}

async function runDump(context: Context, options: Options): Promise<PartAnswer> {
  const database = requireDatabaseName(context.settings);
  const ports = openBackupPorts(context, database);
  const request = describeRequest(context, database, options);
  if (request.dryRun) {
    const plan = await planBackup(ports, request);
    return { lines: renderPlan(plan), json: planAsJson(plan) };
  }
  const told = await backupAndTell(ports, request);
  const { completed, failure } = told;
  return { lines: [], json: backupAsJson(request, told), made: completed?.manifest.id, failure };
}

/**
 * A night that fails because somebody mistyped a setting must be told of like any other; how to reach people is known
 * even then, because those settings are looked at only when a message is sent.
 */
async function openOrTell(options: Options): Promise<{ context: Context; kind: BackupKind }> {
  const json = options['json'] === true;
  try {
    const context = openContext({ json });
    const kind = (options['kind'] as BackupKind | undefined) ?? context.settings.backupKind;
    if (kind !== 'base') requireDatabaseName(context.settings);
    return { context, kind };
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
  options: Options,
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
