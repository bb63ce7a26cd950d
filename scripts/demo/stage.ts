import { chmodSync, mkdirSync, mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { serverUserName } from '../local-aws/database-host.ts';
import { startLocalS3, type LocalS3 } from '../local-aws/s3/server.ts';
import { reachableTempDir, serverUser } from '../set-up/postgres-installation.ts';
import { startPostgres, type PostgresServer } from '../set-up/postgres-server.ts';
import { startWatchdog } from '../set-up/watchdog.ts';
import { PRODUCTION } from './database.ts';
import { prepareNightStage, type NightStage } from './night-stage.ts';
import { startSlackStandIn, type SlackStandIn } from './slack-stand-in.ts';

/** All that the demo plays on: a PostgreSQL, an S3 and a Slack of its own, and a folder for their files. */
export interface Stage {
  readonly folder: string;
  readonly postgres: PostgresServer;
  readonly s3: LocalS3;
  readonly slack: SlackStandIn;
  /** Where the second half plays. */
  readonly night: NightStage;
  /** The agent's settings, as a user exports them. */
  readonly settings: Readonly<Record<string, string>>;
  close(): Promise<void>;
}

const BUCKET = 'hostmaster-backups';
const BUCKET_LOCK_DAYS = 30;

/** A load of some hundred megabytes would otherwise make a checkpoint every few seconds. */
const POSTGRES_SETTINGS = {
  shared_buffers: '256MB',
  max_wal_size: '4GB',
  max_slot_wal_keep_size: '4GB',
  autovacuum: 'off',
};

export async function setStage(): Promise<Stage> {
  const folder = mkdtempSync(path.join(reachableTempDir(serverUser()), 'lifeboat-demo-'));
  // The agent of the second half runs as PostgreSQL's user, and is installed in here.
  chmodSync(folder, 0o755);
  // Removes the folder even if we are killed before we can.
  const watchdog = startWatchdog(folder);
  const closers: (() => Promise<void> | void)[] = [() => watchdog.end()];
  const close = async (): Promise<void> => {
    for (const closer of closers.splice(0).toReversed()) await closer();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const postgres = await startPostgres({
      settings: POSTGRES_SETTINGS,
      // The host's agent comes over the socket as this user, and needs no password.
      superuser: serverUserName(),
      initdbArgs: ['--auth-local=peer'],
    });
    closers.push(() => postgres.remove());
    const s3Folder = path.join(folder, 's3');
    mkdirSync(s3Folder);
    const s3 = await startLocalS3({ folder: s3Folder, etags: 'random' });
    closers.push(() => s3.close());
    await s3.createBucket(BUCKET, { versioned: true, objectLockDays: BUCKET_LOCK_DAYS });
    const slack = await startSlackStandIn();
    closers.push(() => slack.close());
    const night = prepareNightStage({ folder, postgres, slack });
    closers.push(() => night.close());
    return { folder, postgres, s3, slack, night, settings: settingsFor(folder, postgres, s3, slack), close };
  } catch (error) {
    await close();
    throw error;
  }
}

function settingsFor(
  folder: string,
  postgres: PostgresServer,
  s3: LocalS3,
  slack: SlackStandIn,
): Record<string, string> {
  return {
    ...postgres.env,
    DB_NAME: PRODUCTION,
    BACKUP_DIR: path.join(folder, 'backups'),
    S3_BUCKET: BUCKET,
    S3_PREFIX: 'database',
    SLACK_WEBHOOK_URL: slack.webhookUrl,
    AWS_ENDPOINT_URL_S3: s3.endpoint,
    AWS_REGION: s3.region,
    AWS_ACCESS_KEY_ID: s3.credentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: s3.credentials.secretAccessKey,
  };
}
