import type { Client } from 'pg';

/** The settings of restoring sessions: those of psql and pg_restore, and those that take in rows. */

/**
 * For the restoring sessions alone. Their commits need not wait for the disk: the witness (crash-witness.ts) flushes them
 * all before the database takes its place, and tells of a crash in between. The time limits and the read-only default
 * that a role may have are meant for applications.
 */
const SETTINGS = {
  statement_timeout: '0',
  lock_timeout: '0',
  idle_in_transaction_session_timeout: '0',
  default_transaction_read_only: 'off',
  // Compiling the one large query of a foreign key’s check costs more than it saves.
  jit: 'off',
};
const UNDURABLE = { synchronous_commit: 'off' };

/**
 * As PGOPTIONS takes them.
 *
 * @param durable leaves commits as the server has them
 */
export function sessionOptions(maintenanceMemoryMb: number, durable: boolean): string {
  const settings = {
    ...(durable ? {} : UNDURABLE),
    maintenance_work_mem: `${maintenanceMemoryMb}MB`,
    ...SETTINGS,
  };
  return Object.entries(settings)
    .map(([name, value]) => `-c ${name}=${value}`)
    .join(' ');
}

/** What the head of a dump sets for the statements that follow, as far as COPY heeds it. */
const OF_DUMPS = {
  search_path: '',
  row_security: 'off',
  xmloption: 'content',
  client_min_messages: 'warning',
  // Servers before 17 have none.
  transaction_timeout: '0',
};

/**
 * Makes of a connection one like psql's at the end of a dump's head.
 *
 * @param encoding as the dump names it; `undefined` leaves UTF-8
 */
export async function enterDumpSession(client: Client, encoding: string | undefined): Promise<void> {
  const settings = { ...SETTINGS, ...UNDURABLE, ...OF_DUMPS };
  // Last, with no statement but COPY after it: pg writes its statements in UTF-8.
  const all = encoding === undefined ? settings : { ...settings, client_encoding: encoding };
  const names = Object.keys(all);
  await client.query(
    `SELECT set_config(name, value, false) FROM unnest($1::text[], $2::text[]) AS wanted (name, value)
      WHERE name IN (SELECT s.name FROM pg_catalog.pg_settings s)`,
    [names, Object.values(all)],
  );
}
