import { createRequire } from 'node:module';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fetchDebianTree } from '../scripts/set-up/debian-tree.ts';
import { findPostgresBinDir } from '../scripts/set-up/postgres-installation.ts';
import {
  startPostgres as startDurably,
  type PostgresOptions,
  type PostgresServer,
} from '../scripts/set-up/postgres-server.ts';

export type { PostgresOptions, PostgresServer };

/** A server of one's own that does not wait for the disk: no test's machine loses power. */
export function startPostgres(options: PostgresOptions = {}): Promise<PostgresServer> {
  return startDurably({ ...options, settings: { fsync: 'off', ...options.settings } });
}

/**
 * One PostgreSQL for the whole test file: started before its first test, removed after its last.
 * Call it at the file's top level; what it returns may be called inside tests and hooks.
 */
export function usePostgres(options: PostgresOptions = {}): () => PostgresServer {
  let server: PostgresServer | undefined;
  beforeAll(async () => {
    server = await startPostgres(options);
  });
  afterAll(async () => {
    await server?.remove();
  });
  return () => {
    if (!server) throw new Error('usePostgres: the server runs only between beforeAll and afterAll');
    return server;
  };
}

/**
 * Has the server read its configuration files again, and waits until whoever connects from now on meets the new settings
 * (pg_reload_conf only sends a signal). A session that is open already may notice a moment later.
 */
export async function reloadConfiguration(server: PostgresServer): Promise<void> {
  const loaded = async () => await server.psql('postgres', 'SELECT pg_conf_load_time()');
  const before = await loaded();
  await server.psql('postgres', 'SELECT pg_reload_conf()');
  while ((await loaded()) === before) await sleep(20);
}

/** Every major that is supported; each suite that depends on the server's version runs on all of them. */
export const POSTGRES_MAJORS = [14, 15, 16, 17, 18] as const;

type PostgresMajor = (typeof POSTGRES_MAJORS)[number];

/** The machine's own, with its client programs: Debian's 15, or whatever else a developer has installed. */
const INSTALLED: PostgresMajor = 15;

/** The folder of a major's programs; those from npm have `initdb`, `pg_ctl` and `postgres` only. */
export function postgresBinDir(major: PostgresMajor): string {
  if (major === INSTALLED) return findPostgresBinDir();
  const entry = createRequire(path.join(import.meta.dirname, 'x.js')).resolve(`postgresql-${major}`);
  return path.join(path.dirname(entry), '..', 'native', 'bin');
}

/** A server newer than Debian's client tools. */
export function postgres18BinDir(): string {
  return postgresBinDir(18);
}

/**
 * All of PostgreSQL 17, with pg_combinebackup, pg_verifybackup and pgbench: Debian trixie's, fetched at the first call
 * (about 10 s; then from .cache/). For hooks: it blocks while it fetches.
 */
export function postgres17WithTools(): string {
  const tree = fetchDebianTree({
    suite: 'trixie',
    packages: ['postgresql-17', 'postgresql-client-17'],
    // For the server's compiler and for PL/Perl: 40 MB.
    without: ['libllvm19', 'libz3-4', 'libperl5.40'],
  });
  return path.join(tree, 'usr/lib/postgresql/17/bin');
}
