import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync } from 'node:fs';
import { rm, statfs } from 'node:fs/promises';
import { tmpdir, totalmem } from 'node:os';
import path from 'node:path';
import { LifeboatError } from '../../lib/domain/errors.ts';
import { formatBytes } from '../../lib/domain/quantities.ts';
import { findPostgresBinDir } from '../set-up/postgres-installation.ts';
import { startPostgres, type PostgresServer } from '../set-up/postgres-server.ts';
import { startWatchdog } from '../set-up/watchdog.ts';
import { DATABASE } from './database.ts';
import { startLocalS3Process, type Certificate, type LocalS3Process } from './local-s3-process.ts';

/** All that the bench runs on: a PostgreSQL and an S3 of its own, the agent as it is shipped, a folder for files. */
export interface Stage {
  readonly folder: string;
  readonly postgres: PostgresServer;
  readonly s3: LocalS3Process;
  /** The built agent's launcher. */
  readonly agent: string;
  /** PostgreSQL's programs. */
  readonly binDir: string;
  /** For them: PATH and libpq's variables. */
  readonly toolEnv: NodeJS.ProcessEnv;
  /** For the agent. */
  readonly agentEnv: NodeJS.ProcessEnv;
  close(): Promise<void>;
}

const ROOT = path.resolve(import.meta.dirname, '../..');
/** One folder with all of them: Debian's /usr/bin has a wrapper in Perl for each client, which costs its own start. */
const PROGRAMS = ['initdb', 'postgres', 'psql', 'pg_dump', 'pg_dumpall', 'pg_restore'];
const BUCKET = 'hostmaster-backups';
const GIGABYTE = 1e9;

/**
 * As a small production server is set. Autovacuum would wake in the middle of one measurement or another; nothing else
 * differs from PostgreSQL's defaults.
 */
function serverSettings(): Record<string, string> {
  const sharedBuffersMb = Math.min(1024, Math.floor(totalmem() / 4 / 1024 / 1024));
  return { shared_buffers: `${sharedBuffersMb}MB`, max_wal_size: '4GB', autovacuum: 'off' };
}

export interface StageOptions {
  /** What the bench will need at most. */
  readonly diskGigabytes: number;
  /** Of the server, besides those of every bench. */
  readonly settings?: Readonly<Record<string, string>>;
  /** The S3 speaks https. */
  readonly tls?: boolean;
}

/** @throws LifeboatError DISK_FULL, CLIENT_MISSING, DB_CONNECT */
export async function setStage({ diskGigabytes, settings = {}, tls = false }: StageOptions): Promise<Stage> {
  const binDir = findPostgresBinDir(PROGRAMS);
  await requireSpace(diskGigabytes);
  const folder = mkdtempSync(path.join(tmpdir(), 'lifeboat-bench-'));
  const watchdog = startWatchdog(folder);
  const closers: (() => Promise<void>)[] = [() => watchdog.end()];
  const close = async (): Promise<void> => {
    for (const closer of closers.splice(0).toReversed()) await closer();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const agent = buildAgent(path.join(folder, 'agent'));
    const s3Folder = path.join(folder, 's3');
    mkdirSync(s3Folder);
    const certificate = tls ? makeCertificate(folder) : undefined;
    const s3 = await startLocalS3Process(s3Folder, BUCKET, certificate);
    watchdog.watch(s3.pid);
    closers.push(() => s3.stop());
    const postgres = await startPostgres({ binDir, settings: { ...serverSettings(), ...settings } });
    closers.push(() => postgres.remove());
    return { folder, postgres, s3, agent, binDir, ...environments(folder, binDir, postgres), close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** For 127.0.0.1, and trusted by whoever is given it. */
function makeCertificate(folder: string): Certificate {
  const [key, certificate] = [path.join(folder, 'key.pem'), path.join(folder, 'certificate.pem')];
  const kind = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
  const subject = ['-subj', '/CN=local', '-addext', 'subjectAltName=IP:127.0.0.1'];
  execFileSync('openssl', ['req', ...kind, ...subject, '-keyout', key, '-out', certificate], {
    stdio: 'ignore',
  });
  return { key, certificate };
}

async function requireSpace(diskGigabytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(tmpdir());
  const free = bavail * bsize;
  const needed = diskGigabytes * GIGABYTE;
  if (free >= needed) return;
  throw new LifeboatError(
    'DISK_FULL',
    `The bench needs up to ${formatBytes(needed)} in ${tmpdir()}, which has ${formatBytes(free)} free`,
    { hint: 'Point TMPDIR at a larger disk, or run it with a smaller --gigabytes.' },
  );
}

/** What users run: the bundle with its own Node, of the sources as they are now. Returns its launcher. */
function buildAgent(out: string): string {
  const args = [path.join(ROOT, 'scripts/build.mjs'), '--out', out];
  execFileSync(process.execPath, args, { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'] });
  return path.join(out, `linux-${process.arch}`, 'bin', 'lifeboat');
}

/** The person's own settings, AWS account and .env file have no business here. */
function environments(
  folder: string,
  binDir: string,
  postgres: PostgresServer,
): Pick<Stage, 'toolEnv' | 'agentEnv'> {
  const base = { PATH: `${binDir}:${process.env['PATH'] ?? ''}`, HOME: folder, LC_ALL: 'C.UTF-8' };
  return {
    toolEnv: {
      ...base,
      PGHOST: postgres.host,
      PGPORT: String(postgres.port),
      PGUSER: postgres.superuser,
      PGPASSWORD: postgres.password,
      PGDATABASE: DATABASE,
    },
    agentEnv: { ...base, ...postgres.env, DB_NAME: DATABASE, PG_BIN_DIR: binDir },
  };
}
