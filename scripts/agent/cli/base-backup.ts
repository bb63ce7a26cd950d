import { planBaseBackup } from '../commands/base-backup/base-backup.ts';
import { baseBackupAndTell } from '../commands/base-backup/base-backup-and-tell.ts';
import type { BaseBackupRequest } from '../commands/base-backup/base-backup-request.ts';
import { openClusterFiles } from '../cluster-files/cluster-files.ts';
import type { Context } from '../context.ts';
import { digestReader } from '../data-path/digest.ts';
import { openBaseWriter } from '../data-path/volumes/base-writer.ts';
import { configurationReader } from '../host/configuration-files.ts';
import type { BaseBackupPorts } from '../ports/base-backup.ts';
import { openBaseBackupServer } from '../postgres/base-backup-server.ts';
import { baseBackupAsJson, basePlanAsJson, renderBasePlan } from '../render/base-backup.ts';
import { LIFEBOAT_VERSION } from '../version.ts';
import { openWalStores } from '../wal-stores.ts';
import type { PartAnswer } from './backup-both.ts';

type Options = Readonly<Record<string, unknown>>;

/** A failure of the run stands in the answer. @throws LifeboatError of a --dry-run */
export async function runBaseBackup(context: Context, options: Options): Promise<PartAnswer> {
  const ports = openBaseBackupPorts(context);
  const request = describeBaseRequest(context, options);
  if (request.dryRun) {
    const plan = await planBaseBackup(ports, request);
    return { lines: renderBasePlan(plan), json: basePlanAsJson(plan) };
  }
  const told = await baseBackupAndTell(ports, request);
  const { completed, failure } = told;
  return { lines: [], json: baseBackupAsJson(request, told), made: completed?.manifest.label, failure };
}

export function openBaseBackupPorts(context: Context): BaseBackupPorts {
  const { settings, interrupted } = context;
  return {
    ...context,
    state: openWalStores(context)?.state,
    server: openBaseBackupServer(settings.database, settings.environment, interrupted),
    files: openClusterFiles(settings.database, settings.environment, {
      use: settings.baseBackupFiles,
      interrupted,
    }),
    configuration: configurationReader,
    writer: openBaseWriter(),
    digests: digestReader,
  };
}

export function describeBaseRequest({ settings, host }: Context, options: Options): BaseBackupRequest {
  return {
    app: settings.app,
    level: settings.compressionLevel,
    incremental: settings.baseIncremental,
    localRetentionDays: settings.localRetentionDays,
    runId: settings.runId ?? host.newRunId(),
    lifeboatVersion: LIFEBOAT_VERSION,
    allowStandby: options['allowStandby'] === true,
    dryRun: options['dryRun'] === true,
  };
}
