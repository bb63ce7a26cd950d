import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { PostgresServer } from '../set-up/postgres-server.ts';

export const PRODUCTION = 'hostmaster_prod';
export const STAGING = 'hostmaster_staging';

/** What lies outside any one database, or belongs to it without being in it: a dump alone would lose all of this. */
const AROUND_THE_DATABASE = `
CREATE ROLE hostmaster_owner;
CREATE ROLE hostmaster_app LOGIN PASSWORD 'app''s "secret"' CONNECTION LIMIT 50;
CREATE ROLE hostmaster_readonly;
GRANT hostmaster_readonly TO hostmaster_app;
CREATE DATABASE ${PRODUCTION} OWNER hostmaster_owner;
COMMENT ON DATABASE ${PRODUCTION} IS 'HostMaster''s production';
REVOKE ALL ON DATABASE ${PRODUCTION} FROM PUBLIC;
GRANT CONNECT ON DATABASE ${PRODUCTION} TO hostmaster_app, hostmaster_readonly;
ALTER DATABASE ${PRODUCTION} SET statement_timeout = '10min';
ALTER DATABASE ${PRODUCTION} SET search_path = public, billing;
ALTER ROLE hostmaster_app IN DATABASE ${PRODUCTION} SET work_mem = '16MB';
`;

/** `scale` 1 is about 320 MB on disk. Returns the size on disk in bytes. */
export async function loadProduction(server: PostgresServer, scale: number): Promise<number> {
  await server.psql('postgres', AROUND_THE_DATABASE);
  const script = await readFile(path.join(import.meta.dirname, 'hostmaster.sql'), 'utf8');
  await server.psql(PRODUCTION, `\\set scale ${scale}\n${script}`);
  return Number(await server.psql(PRODUCTION, 'SELECT pg_database_size(current_database())'));
}

/** One bad afternoon, statement by statement: what was typed, and what it did. */
export const MISHAPS = [
  { sql: 'DROP TABLE servers CASCADE', what: 'dropped the table servers' },
  { sql: 'TRUNCATE billing.invoices', what: 'emptied billing.invoices' },
  {
    sql: `DELETE FROM users WHERE id % 3 = 0`,
    what: 'deleted every third user, and their domains with them',
  },
  { sql: `UPDATE "Order Items" SET "price €" = 0`, what: 'made everything in "Order Items" free' },
  { sql: 'DROP TABLE telemetry.events_2025_06', what: 'lost the events of June' },
  { sql: 'DROP FUNCTION import_help()', what: 'dropped a function' },
] as const;

export async function wreckProduction(server: PostgresServer): Promise<void> {
  await server.psql(PRODUCTION, MISHAPS.map(({ sql }) => `${sql};`).join('\n'));
}
