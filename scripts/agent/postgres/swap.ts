import { LifeboatError } from '../../../lib/domain/errors.ts';
import type { Connection } from './connection.ts';

/**
 * Renames databases while clients use them. ALTER DATABASE … RENAME takes a lock that makes new connections wait, and
 * waits up to five seconds for the sessions that are there to leave (CountOtherDBBackends in PostgreSQL's procarray.c);
 * a second connection ends those meanwhile. All renames are one transaction: whenever we, the network or the server die,
 * the target's name belongs to the old database or to the new one, and nothing forbids connections that a crash could
 * leave forbidden.
 */
export interface SwapRequest {
  /** Run in one transaction. */
  readonly statements: readonly string[];
  /** Databases whose sessions are ended. */
  readonly vacated: readonly string[];
  readonly target: string;
  /** The database that is to become the target; that it has, tells what happened when COMMIT's answer is lost. */
  readonly restored: string;
}

const ATTEMPTS = 5;
/** Seconds in which a server that crashed is usually back. */
const ANSWER_ATTEMPTS = 30;
const BETWEEN_TERMINATIONS_MS = 50;
/** Somebody who holds the database’s lock in an open transaction must not make the restore hang. */
const LOCK_TIMEOUT = '20s';

/**
 * @throws LifeboatError RESTORE_FAILED when the names are as they were (the restored database is left in place: it is
 *   whole and checked, and a rename is all that it lacks), or when the server does not come back to tell
 */
export async function swapDatabases(open: () => Promise<Connection>, request: SwapRequest): Promise<void> {
  const restored = await oidOf(open, request.restored);
  if (restored === null)
    throw new LifeboatError('RESTORE_FAILED', `Somebody removed the restored copy ${request.restored}`, {
      hint: 'Nothing was replaced; run the restore again.',
    });
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await tryToSwap(open, request);
    } catch (error) {
      if (await isSwapped(open, request, restored)) return;
      if (attempt === ATTEMPTS || !isWaitedOut(error))
        throw failed(error, request, await describeHolders(open, request));
    }
  }
}

/** The commit may have happened although its answer never came; a server that restarts is waited for. */
async function isSwapped(
  open: () => Promise<Connection>,
  { target }: SwapRequest,
  restored: string,
): Promise<boolean> {
  for (let left = ANSWER_ATTEMPTS; ; left -= 1) {
    try {
      return (await oidOf(open, target)) === restored;
    } catch (cause) {
      if (left === 0) {
        throw new LifeboatError(
          'RESTORE_FAILED',
          `The server was lost while the databases were renamed: ${(cause as Error).message}`,
          {
            hint: `All of it happened or none: when PostgreSQL is back, look with psql -l which database bears the name ${target}.`,
            cause,
          },
        );
      }
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }
}

async function tryToSwap(open: () => Promise<Connection>, request: SwapRequest): Promise<void> {
  const renaming = await open();
  try {
    await renaming.rows(`SET lock_timeout = '${LOCK_TIMEOUT}'`);
    // This commit is what makes the restored data durable, whatever the server’s default is.
    await renaming.rows(
      "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'",
    );
    const ending = await startEndingSessions(open, request.vacated);
    try {
      await inTransaction(renaming, request.statements);
    } finally {
      await ending.stop();
    }
  } finally {
    await renaming.close();
  }
}

export async function inTransaction(connection: Connection, statements: readonly string[]): Promise<void> {
  await connection.rows('BEGIN');
  try {
    for (const statement of statements) await connection.rows(statement);
  } catch (error) {
    // A connection that is broken cannot roll back, and needs not to.
    await connection.rows('ROLLBACK').catch(() => undefined);
    throw error;
  }
  await connection.rows('COMMIT');
}

/** Ours to end: all for a superuser; for others, those of roles that we are a member of, never a superuser's. */
const END_SESSIONS = `
  SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity a
   WHERE a.datid = ANY ($1::oid[]) AND a.pid <> pg_backend_pid() AND a.backend_type = 'client backend'
     AND (SELECT me.rolsuper OR (NOT other.rolsuper AND
                   (pg_has_role(me.oid, other.oid, 'MEMBER') OR pg_has_role(me.oid, 'pg_signal_backend', 'MEMBER')))
            FROM pg_roles me, pg_roles other WHERE me.rolname = current_user AND other.oid = a.usesysid)`;

/** By oid: after the commit the names mean other databases, whose clients must be left in peace. */
async function startEndingSessions(
  open: () => Promise<Connection>,
  names: readonly string[],
): Promise<{ stop(): Promise<void> }> {
  const connection = await open();
  const rows = await connection.rows<{ oid: string }>(
    'SELECT oid::text AS oid FROM pg_database WHERE datname = ANY ($1::text[])',
    [names],
  );
  const oids = rows.map(({ oid }) => oid);
  const stopped = new AbortController();
  const loop = (async () => {
    while (!stopped.signal.aborted) {
      await connection.rows(END_SESSIONS, [oids]);
      await new Promise((resolve) => setTimeout(resolve, BETWEEN_TERMINATIONS_MS));
    }
  })();
  // The rename itself fails when nobody ends the sessions, and says what is in its way.
  loop.catch(() => undefined);
  return {
    stop: async () => {
      stopped.abort();
      await loop.catch(() => undefined);
      await connection.close();
    },
  };
}

/** `null` when there is no such database. */
async function oidOf(open: () => Promise<Connection>, name: string): Promise<string | null> {
  const connection = await open();
  try {
    const rows = await connection.rows<{ oid: string }>(
      'SELECT oid::text AS oid FROM pg_database WHERE datname = $1',
      [name],
    );
    return rows[0]?.oid ?? null;
  } finally {
    await connection.close();
  }
}

/** 55006 object_in_use: sessions did not leave in time; 55P03 lock_not_available; 40P01 deadlock_detected. */
function isWaitedOut(error: unknown): boolean {
  const cause = (error as LifeboatError).cause as { code?: string } | undefined;
  return ['55006', '55P03', '40P01'].includes(cause?.code ?? '');
}

/** Sessions in the databases that are renamed, and whoever locked one of these: a rename waits for both. */
const HOLDERS = `
  SELECT format('pid %s (user %s, application %s, database %s%s)', a.pid, coalesce(quote_ident(a.usename), 'unknown'),
                quote_literal(coalesce(a.application_name, '')), quote_ident(a.datname), ', ' || nullif(a.state, '')) AS holder
    FROM pg_stat_activity a
   WHERE a.pid <> pg_backend_pid() AND a.datname IS NOT NULL
     AND (a.datname = ANY ($1::text[])
          OR a.pid IN (SELECT l.pid FROM pg_locks l JOIN pg_database d ON d.oid = l.objid AND d.datname = ANY ($1::text[])
                        WHERE l.locktype = 'object' AND l.classid = 'pg_database'::regclass AND l.granted))
   ORDER BY a.pid LIMIT 5`;

async function describeHolders(
  open: () => Promise<Connection>,
  { target, restored }: SwapRequest,
): Promise<string[]> {
  try {
    const connection = await open();
    try {
      const rows = await connection.rows<{ holder: string }>(HOLDERS, [[target, restored]]);
      return rows.map(({ holder }) => holder);
    } finally {
      await connection.close();
    }
  } catch {
    // The rename's own error is the one to report, with or without who was in its way.
    return [];
  }
}

function failed(
  error: unknown,
  { target, restored, statements }: SwapRequest,
  holders: readonly string[],
): LifeboatError {
  const said = (error as Error).message;
  const inTheWay = holders.length > 0 ? `; connected: ${holders.join(', ')}` : '';
  return new LifeboatError(
    'RESTORE_FAILED',
    `The restored database could not take the name ${JSON.stringify(target)}: ${said}${inTheWay}`,
    {
      hint: `Nothing was replaced. The restored copy is complete and its rows were checked; it is kept as ${JSON.stringify(restored)}. When nothing is in the way any more, run in psql, connected to another database: BEGIN; ${statements.join('; ')}; COMMIT; or run the restore again, which removes that copy first.`,
      cause: error,
    },
  );
}
