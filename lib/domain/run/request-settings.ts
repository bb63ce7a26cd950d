import { LifeboatError } from '../errors.ts';
import { ENV } from '../names.ts';
import { parseRestoreSource } from '../restore/source.ts';
import type { RunRequest } from './request.ts';

/** Which of the SSM documents started the agent; each may ask for its own kind of operation alone. */
export type AllowedKind = 'backup' | 'restore';

/**
 * The request as the settings that a person would type. A run id is among them, so that the agent itself sends no message
 * of the outcome. The password is not: it is read on the host.
 */
export function settingsOfRequest(request: RunRequest): Record<string, string> {
  const { series, storage, runId, kind } = request;
  const settings: Record<string, string | number | undefined> = {
    [ENV.appName]: series.app,
    [ENV.dbHost]: series.dbHost,
    [ENV.dbPort]: series.port,
    [ENV.dbName]: series.database,
    [ENV.dbUser]: series.user,
    [ENV.pgBinDir]: series.pgBinDir,
    [ENV.backupKind]: kind,
    [ENV.baseIncremental]: series.incrementalBaseBackups ? 'on' : undefined,
    [ENV.backupFormat]: series.format,
    [ENV.backupCompression]: series.compression,
    [ENV.compressionLevel]: series.compressionLevel,
    [ENV.backupDir]: series.backupDir,
    [ENV.localRetentionDays]: series.localRetentionDays,
    [ENV.s3Bucket]: storage.bucket,
    [ENV.s3Prefix]: storage.prefix,
    [ENV.s3StateBucket]: storage.stateBucket,
    [ENV.s3KmsKeyId]: storage.kmsKeyArn,
    [ENV.s3RetentionDays]: storage.retentionDays,
    [ENV.runId]: runId,
    AWS_REGION: storage.region,
  };
  const given = Object.entries(settings).filter(([, value]) => value !== undefined);
  return Object.fromEntries(given.map(([name, value]) => [name, String(value)]));
}

/** The same for the service that streams WAL, which outlives the run: its own backups are base backups, and told by its log. */
export function walSettingsOfRequest(request: RunRequest): Record<string, string> {
  const { [ENV.runId]: _run, [ENV.backupKind]: _kind, ...settings } = settingsOfRequest(request);
  return settings;
}

/**
 * @param only what the document that started the agent may ask for; `undefined`: anything
 * @throws LifeboatError RUN_REFUSED for the other kind: whoever may send the one document may not thereby restore
 */
export function requireKind({ operation }: RunRequest, only: AllowedKind | undefined): void {
  const kind = operation === 'restore' ? 'restore' : 'backup';
  if (only === undefined || only === kind) return;
  throw new LifeboatError('RUN_REFUSED', `This document may ask for a ${only}, not for ${operation}`, {
    hint:
      only === 'backup'
        ? 'A restore is started by the restore Lambda, which plans it first.'
        : 'Everything but a restore is started by the start-run Lambda.',
  });
}

/** @param instanceId as SSM's agent says it; `undefined` where none started us @throws LifeboatError RUN_REFUSED */
export function requireThisHost(request: RunRequest, instanceId: string | undefined): void {
  if (!instanceId || instanceId === request.instanceId) return;
  throw new LifeboatError(
    'RUN_REFUSED',
    `The request is for the host ${request.instanceId}, and this is ${instanceId}`,
    { hint: 'Nothing was done. Start the run with the instance that it is for.' },
  );
}

/** @throws LifeboatError USAGE for a file of the host: a request names what lies in a catalog or in S3 */
export function requireRestore({ restore }: RunRequest): NonNullable<RunRequest['restore']> {
  if (!restore)
    throw new LifeboatError('BUG', 'A restore without what to restore passed for a valid request');
  if (restore.recovery) return restore;
  if (parseRestoreSource(restore.source).kind !== 'path') return restore;
  throw new LifeboatError(
    'USAGE',
    `${JSON.stringify(restore.source)} is a file of the host; give latest, a backup’s id or s3://bucket/key`,
    { hint: 'Restore from a file on the host itself: lifeboat restore <file>' },
  );
}
