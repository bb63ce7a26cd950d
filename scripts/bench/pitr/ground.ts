import { execFileSync } from 'node:child_process';
import { chownSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import path from 'node:path';
import { Client } from 'pg';
import { ENV } from '../../../lib/domain/names.ts';
import { reachableTempDir, serverUser } from '../../set-up/postgres-installation.ts';
import { startWatchdog, type Watchdog } from '../../set-up/watchdog.ts';
import type { Command } from '../measured-run.ts';
import type { Stage } from '../stage.ts';
import { PgBackRest } from './pgbackrest.ts';

/** What everything about point-in-time recovery is measured on, besides the stage. */
export interface PitrGround {
  readonly stage: Stage;
  readonly signal: AbortSignal;
  /** Reached, and owned, by the server's user. */
  readonly folder: string;
  readonly inFolder: PgBackRest;
  readonly inS3: PgBackRest;
  /** A question that the server answers with yes or no; over one connection, since some are asked often. */
  readonly ask: (question: string) => Promise<boolean>;
  close(): Promise<void>;
}

export async function openGround(stage: Stage, signal: AbortSignal): Promise<PitrGround> {
  const user = serverUser();
  const folder = mkdtempSync(path.join(reachableTempDir(user), 'lifeboat-bench-pitr-'));
  const watchdog: Watchdog = startWatchdog(folder);
  if (user) chownSync(folder, user.uid, user.gid);
  const client = await connect(stage);
  return {
    stage,
    signal,
    folder,
    inFolder: new PgBackRest(stage, folder, 'folder'),
    inS3: new PgBackRest(stage, folder, 's3'),
    ask: async (question) => {
      const { rows } = await client.query<boolean[]>({ text: question, rowMode: 'array' });
      return rows[0]?.[0] === true;
    },
    close: async () => {
      await client.end();
      await watchdog.end();
    },
  };
}

async function connect({ postgres }: Stage): Promise<Client> {
  const { host, port, superuser: user, password } = postgres;
  const client = new Client({ host, port, user, password, database: 'postgres' });
  // The server ends before we do when the bench is interrupted.
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

/** Nobody else archives meanwhile. */
export async function archiveWith({ stage }: PitrGround, command: string): Promise<void> {
  const { postgres } = stage;
  await postgres.psql('postgres', `ALTER SYSTEM SET archive_command = '${command.replaceAll("'", "''")}'`);
  await postgres.psql('postgres', 'SELECT pg_reload_conf()');
}

export function agentFolder({ stage }: PitrGround, id: string): string {
  return path.join(stage.folder, id);
}

/** An empty folder, and nothing of the runs before on its way to the disk. */
export function clear(folder: string): void {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { mode: 0o700 });
  execFileSync('sync');
}

interface AgentRun {
  /** BACKUP_DIR */
  readonly folder: string;
  readonly level?: number;
  readonly s3: boolean;
}

export function agentCommand(
  { stage }: PitrGround,
  args: readonly string[],
  { folder, level = 1, s3 }: AgentRun,
): Command {
  return {
    program: stage.agent,
    args,
    env: {
      ...stage.agentEnv,
      // As pgBackRest does, which knows no other way to a local server.
      [ENV.dbHost]: stage.postgres.socketDir,
      ...(s3 ? { ...stage.s3.env, [ENV.s3Bucket]: stage.s3.bucket, [ENV.s3Prefix]: 'database' } : {}),
      [ENV.backupCompression]: 'zstd',
      [ENV.compressionLevel]: String(level),
      [ENV.backupDir]: folder,
    },
    cwd: stage.folder,
  };
}
