import path from 'node:path';
import { findPostgresBinDir } from './postgres-installation.ts';
import { runProgram } from './run-program.ts';

/** The agent's own settings for a server. */
export interface ConnectionEnvironment {
  readonly DB_HOST: string;
  readonly DB_PORT: string;
  readonly DB_USER: string;
  readonly DB_PASSWORD: string;
}

let installed: string | undefined;

/**
 * Feeds `sql` to the real psql (-XAtq, ON_ERROR_STOP) and returns what it prints, without the last line feed.
 * @throws LifeboatError DB_QUERY with psql's own words, CLIENT_MISSING when there is no psql.
 */
export async function runPsql(server: ConnectionEnvironment, database: string, sql: string): Promise<string> {
  installed ??= path.join(findPostgresBinDir(['psql']), 'psql');
  const env = {
    PATH: process.env['PATH'] ?? '',
    PGHOST: server.DB_HOST,
    PGPORT: server.DB_PORT,
    PGUSER: server.DB_USER,
    PGPASSWORD: server.DB_PASSWORD,
    PGDATABASE: database,
    PGCLIENTENCODING: 'UTF8',
    // On a busy machine psql may be idle for a moment, which is none of what a test is about.
    PGOPTIONS: '-c client_min_messages=warning -c idle_session_timeout=0',
  };
  const args = ['-XAtq', '-v', 'ON_ERROR_STOP=1', '-f', '-'];
  const printed = await runProgram(installed, args, { env, input: sql });
  return printed.replace(/\n$/, '');
}
