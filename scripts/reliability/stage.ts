import { mkdirSync, mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { startLocalS3Process, type LocalS3Process } from '../bench/local-s3-process.ts';
import type { FaultRule } from '../local-aws/s3/faults.ts';
import { findPostgresBinDir } from '../set-up/postgres-installation.ts';
import { startPostgres, type PostgresOptions, type PostgresServer } from '../set-up/postgres-server.ts';
import { startWatchdog } from '../set-up/watchdog.ts';

/** A database host, and an S3 that outlives it. */
export interface Stage {
  readonly folder: string;
  readonly postgres: PostgresServer;
  readonly s3: LocalS3Process;
  readonly client: S3Client;
  /** Backups, and the state bucket. */
  readonly buckets: readonly [string, string];
  readonly prefix: string;
  /** For whoever is to reach the buckets, and nothing else. */
  readonly s3Env: Readonly<Record<string, string>>;
  /** For the agent on the database host. */
  readonly agentEnv: NodeJS.ProcessEnv;
  /** The folder of PostgreSQL's programs, pgbench among them. */
  readonly binDir: string;
  /** S3 fails every request this way until `endFaults`. */
  addFault(rule: FaultRule): Promise<void>;
  endFaults(): Promise<void>;
  close(): Promise<void>;
}

const BUCKETS = ['hostmaster-backups', 'hostmaster-state'] as const;
const PREFIX = 'database';
const PROGRAMS = ['initdb', 'postgres', 'psql', 'pgbench'];

/** What is killed must come back from what is on disk: nothing here is PostgreSQL's own way less safe. */
const SETTINGS = {
  shared_buffers: '128MB',
  max_wal_size: '2GB',
  max_slot_wal_keep_size: '20GB',
  track_commit_timestamp: 'on',
} as const;

/** @throws LifeboatError CLIENT_MISSING, DB_CONNECT, S3_UNAVAILABLE */
export async function setStage(options: PostgresOptions = {}): Promise<Stage> {
  const binDir = findPostgresBinDir(PROGRAMS);
  const folder = mkdtempSync(path.join(tmpdir(), 'lifeboat-reliability-'));
  const watchdog = startWatchdog(folder);
  const closers: (() => Promise<void> | void)[] = [() => watchdog.end()];
  const close = async (): Promise<void> => {
    for (const closer of closers.splice(0).toReversed()) await closer();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const s3Folder = path.join(folder, 's3');
    mkdirSync(s3Folder);
    const s3 = await startLocalS3Process(s3Folder, BUCKETS[0]);
    watchdog.watch(s3.pid);
    closers.push(async () => {
      // Stopped by a trial that was interrupted, it would never hear of its end.
      continueProcess(s3.pid);
      await s3.stop();
    });
    const client = clientOf(s3);
    closers.push(() => client.destroy());
    await client.send(new CreateBucketCommand({ Bucket: BUCKETS[1] }));
    const settings = { ...SETTINGS, ...options.settings };
    const postgres = await startPostgres({ ...options, binDir, settings });
    closers.push(() => postgres.remove());
    const s3Env = { ...s3.env, S3_BUCKET: BUCKETS[0], S3_STATE_BUCKET: BUCKETS[1], S3_PREFIX: PREFIX };
    const environment = { folder, postgres, s3Env, agentEnv: agentEnvironment(folder, postgres, s3Env) };
    return { ...environment, s3, client, buckets: BUCKETS, prefix: PREFIX, binDir, ...faultsOf(s3), close };
  } catch (error) {
    await close();
    throw error;
  }
}

function continueProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGCONT');
  } catch {
    // It ended by itself.
  }
}

function agentEnvironment(
  folder: string,
  postgres: PostgresServer,
  s3Env: Readonly<Record<string, string>>,
): NodeJS.ProcessEnv {
  return {
    PATH: `${postgres.binDir}:${process.env['PATH'] ?? ''}`,
    HOME: folder,
    LC_ALL: 'C.UTF-8',
    ...postgres.env,
    DB_NAME: 'postgres',
    BACKUP_DIR: path.join(folder, 'backups'),
    ...s3Env,
  };
}

function clientOf({ env }: LocalS3Process): S3Client {
  return new S3Client({
    endpoint: env['AWS_ENDPOINT_URL_S3'] ?? '',
    region: env['AWS_REGION'] ?? '',
    forcePathStyle: true,
    credentials: {
      accessKeyId: env['AWS_ACCESS_KEY_ID'] ?? '',
      secretAccessKey: env['AWS_SECRET_ACCESS_KEY'] ?? '',
    },
  });
}

function faultsOf({ env }: LocalS3Process): Pick<Stage, 'addFault' | 'endFaults'> {
  const url = `${env['AWS_ENDPOINT_URL_S3'] ?? ''}/_local/faults`;
  return {
    addFault: async (rule) => void (await fetch(url, { method: 'POST', body: JSON.stringify(rule) })),
    endFaults: async () => void (await fetch(url, { method: 'DELETE' })),
  };
}
