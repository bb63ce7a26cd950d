import { backupKindOf, type DeploymentConfig } from '../deployment/config.ts';
import { LifeboatError } from '../errors.ts';
import type { BackupKind } from '../run/backup-kind.ts';
import {
  encodeRequest,
  LONGEST_ENCODED_REQUEST,
  REQUEST_SCHEMA_VERSION,
  runRequestSchema,
  type RunOperation,
  type RunRequest,
} from '../run/request.ts';
import { DOWNLOAD_SECONDS, DOWNLOADS, FIND_AGENT_SECONDS } from '../run/document-times.ts';
import { backupPrefix, type Target } from './places.ts';

const MINUTE_MS = 60 * 1000;
/** For the host's last words and SSM's own. */
const GRACE_MINUTES = 10;
/** Before the run's own time begins. */
const INSTALLING_MINUTES = (FIND_AGENT_SECONDS + DOWNLOADS * DOWNLOAD_SECONDS) / 60;

export interface RequestInput {
  readonly config: DeploymentConfig;
  readonly target: Target;
  readonly runId: string;
  readonly operation: RunOperation;
  readonly trigger: RunRequest['trigger'];
  readonly now: Date;
  readonly bucket: string;
  readonly stateBucket: string;
  readonly region: string;
  /** 32 random hex digits. */
  readonly nonce: string;
  readonly kind?: BackupKind | undefined;
  readonly backupId?: string | undefined;
  readonly restore?: RunRequest['restore'];
}

/** What one host is asked to do. Pure: names, numbers and ids only, never a secret. */
export function makeRequest(input: RequestInput): RunRequest {
  const { config, target, runId, operation, trigger, now, kind, backupId, restore } = input;
  const { limits } = config;
  const minutes = limits.deliveryMinutes + INSTALLING_MINUTES + limits.runMinutes + GRACE_MINUTES;
  return {
    schemaVersion: REQUEST_SCHEMA_VERSION,
    runId,
    operation,
    trigger,
    instanceId: target.instanceId,
    nonce: input.nonce,
    requestedAt: now.toISOString(),
    deadline: new Date(now.getTime() + minutes * MINUTE_MS).toISOString(),
    series: seriesOf(target.series),
    storage: storageOf(input),
    ...(operation === 'backup' ? { kind: kind ?? backupKindOf(target.series) } : {}),
    ...(backupId === undefined ? {} : { backupId }),
    ...(restore === undefined ? {} : { restore }),
  };
}

function seriesOf(series: Target['series']): RunRequest['series'] {
  const { app, database, dbHost, port, user, osUser, format, compression, localRetentionDays } = series;
  const { passwordSecretArn, pgBinDir, compressionLevel, backupDir } = series;
  const { pointInTimeRecovery, incrementalBaseBackups } = series;
  return {
    app,
    database,
    dbHost,
    port,
    user,
    osUser,
    format,
    compression,
    localRetentionDays,
    ...(passwordSecretArn === undefined ? {} : { passwordSecretArn }),
    ...(pgBinDir === undefined ? {} : { pgBinDir }),
    ...(compressionLevel === undefined ? {} : { compressionLevel }),
    ...(backupDir === undefined ? {} : { backupDir }),
    ...(pointInTimeRecovery ? { pointInTimeRecovery } : {}),
    ...(incrementalBaseBackups ? { incrementalBaseBackups } : {}),
  };
}

function storageOf({ config, target, bucket, stateBucket, region }: RequestInput): RunRequest['storage'] {
  const { storage } = config;
  return {
    bucket,
    prefix: backupPrefix(config, target),
    stateBucket,
    statePrefix: storage.prefix,
    region,
    ...(storage.kmsKeyArn === undefined ? {} : { kmsKeyArn: storage.kmsKeyArn }),
    retentionDays: storage.retentionDays,
  };
}

/**
 * Before a request is written or sent: what the host refuses it refuses every time, and who reads the request later could
 * not tell of it.
 * @throws LifeboatError SETTINGS_INVALID
 */
export function requireAcceptable(request: RunRequest): void {
  const hint = 'Correct the series in lifeboat.config.json, and deploy it: npx cdk deploy --all';
  const { error } = runRequestSchema.safeParse(request);
  if (error) {
    const problems = error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; ');
    throw new LifeboatError(
      'SETTINGS_INVALID',
      `The host would refuse the request for ${request.series.app}: ${problems.slice(0, 1000)}`,
      { hint },
    );
  }
  const { length } = encodeRequest(request);
  if (length <= LONGEST_ENCODED_REQUEST) return;
  throw new LifeboatError(
    'SETTINGS_INVALID',
    `The request for ${request.series.app} has ${length} characters, and the host takes ${LONGEST_ENCODED_REQUEST}`,
    { hint },
  );
}
