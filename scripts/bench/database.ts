import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import type { PostgresServer } from '../set-up/postgres-server.ts';

export const DATABASE = 'hostmaster_prod';
const TABLES = ['users', 'events', 'messages', 'invoices'] as const;

const SCRIPTS = path.join(import.meta.dirname, 'database');
const CACHE = path.resolve(import.meta.dirname, '../../.cache/bench');
const GIGABYTE = 1e9;
/** Measured: database bytes, indexes included, for each number that rows.sql counts through. */
const BYTES_PER_NUMBER = 720;
const BALLAST_ROW_BYTES = 2_050;
/** While loading: a crash would cost nothing but a new start. The measurements run with PostgreSQL's own settings again. */
const LOADING = {
  fsync: 'off',
  full_page_writes: 'off',
  archive_mode: 'off',
  wal_level: 'minimal',
  max_wal_senders: '0',
};

/** The server comes back with the database in it, restarted and checkpointed. */
export async function provideDatabase(
  server: PostgresServer,
  gigabytes: number,
  { keep }: { keep: boolean },
): Promise<void> {
  const kept = path.join(CACHE, await keptName(server, gigabytes));
  if (existsSync(kept)) return replaceCluster(server, kept);
  await withLoadingSettings(server, () => loadDatabase(server, gigabytes));
  if (keep) await keepCluster(server, kept);
}

/** Makes the database `gigabytes` larger by one plain table. */
export async function addBallast(server: PostgresServer, gigabytes: number): Promise<void> {
  await withLoadingSettings(server, async () => {
    await server.psql(DATABASE, 'CREATE TABLE ballast (id bigint NOT NULL, body text NOT NULL)');
    await loadSlices(server, 'ballast.sql', Math.ceil((gigabytes * GIGABYTE) / BALLAST_ROW_BYTES));
    await server.psql(DATABASE, 'VACUUM (ANALYZE) ballast');
  });
}

export async function databaseBytes(server: PostgresServer): Promise<number> {
  return Number(await server.psql(DATABASE, 'SELECT pg_database_size(current_database())'));
}

/** `users 12,events 34,…`, to compare a restored database with. */
export async function countRows(server: Pick<PostgresServer, 'psql'>, database: string): Promise<string> {
  const counts = TABLES.map((table) => `SELECT '${table} ' || count(*) AS line FROM ${table}`);
  return server.psql(
    database,
    `SELECT string_agg(line, ',' ORDER BY line) FROM (${counts.join(' UNION ALL ')}) AS counts`,
  );
}

async function loadDatabase(server: PostgresServer, gigabytes: number): Promise<void> {
  await server.createDatabase(DATABASE);
  await server.psql(DATABASE, readScript('schema.sql'));
  await loadSlices(server, 'rows.sql', Math.ceil((gigabytes * GIGABYTE) / BYTES_PER_NUMBER / 8) * 8);
  await server.psql(DATABASE, readScript('indexes.sql'));
}

/** One session a core, each with its share of the numbers from 1 to `total`. */
async function loadSlices(server: PostgresServer, script: string, total: number): Promise<void> {
  const sessions = availableParallelism();
  const bound = (slice: number): number => Math.floor((total * slice) / sessions);
  const text = readScript(script);
  await Promise.all(
    Array.from({ length: sessions }, (_, slice) =>
      server.psql(
        DATABASE,
        `\\set total ${total}\n\\set first ${bound(slice) + 1}\n\\set last ${bound(slice + 1)}\n${text}`,
      ),
    ),
  );
}

async function withLoadingSettings(server: PostgresServer, load: () => Promise<void>): Promise<void> {
  for (const [name, value] of Object.entries(LOADING))
    await server.psql('postgres', `ALTER SYSTEM SET ${name} = '${value}'`);
  await server.restart();
  await load();
  await server.psql('postgres', 'ALTER SYSTEM RESET ALL');
  await server.restart();
  // What was written unsynced is made to stay, and is out of the way of the measurements.
  execFileSync('sync');
}

/** A kept cluster fits only the same major version and the very same rows. */
async function keptName(server: PostgresServer, gigabytes: number): Promise<string> {
  const major = await server.psql('postgres', `SELECT current_setting('server_version_num')::int / 10000`);
  const hash = createHash('sha256').update(`${gigabytes} ${BYTES_PER_NUMBER}`);
  for (const script of ['schema.sql', 'rows.sql', 'indexes.sql']) hash.update(readScript(script));
  return `postgresql-${major}-${gigabytes}-gb-${hash.digest('hex').slice(0, 12)}`;
}

async function keepCluster(server: PostgresServer, kept: string): Promise<void> {
  await server.stop();
  const unfinished = `${kept}.unfinished`;
  rmSync(unfinished, { recursive: true, force: true });
  mkdirSync(CACHE, { recursive: true });
  copyFolder(server.dataDir, unfinished);
  renameSync(unfinished, kept);
  await server.start();
}

async function replaceCluster(server: PostgresServer, kept: string): Promise<void> {
  await server.stop();
  for (const entry of readdirSync(server.dataDir))
    rmSync(path.join(server.dataDir, entry), { recursive: true, force: true });
  copyFolder(`${kept}/.`, server.dataDir);
  execFileSync('sync');
  await server.start();
}

/** Owners and modes with it: the server's user owns the files. */
function copyFolder(from: string, to: string): void {
  execFileSync('cp', ['-a', '--reflink=auto', '--', from, to]);
}

function readScript(name: string): string {
  return readFileSync(path.join(SCRIPTS, name), 'utf8');
}
