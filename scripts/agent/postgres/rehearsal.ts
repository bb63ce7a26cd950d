import { LifeboatError } from '../../../lib/domain/errors.ts';
import type { Connection } from './connection.ts';

/**
 * Runs the statements in a transaction that is rolled back: what this role may not do, or this server does not take, is
 * found out before hours are spent, by the server's own judgement.
 *
 * @throws LifeboatError DB_RIGHTS, or RESTORE_REFUSED, naming the statement
 */
export async function rehearse(connection: Connection, statements: readonly string[]): Promise<void> {
  await connection.rows('BEGIN');
  try {
    for (const statement of statements) {
      await connection.rows(statement).catch((error: unknown) => {
        throw refused(statement, error as LifeboatError);
      });
    }
  } finally {
    // A connection that is broken cannot roll back, and needs not to.
    await connection.rows('ROLLBACK').catch(() => undefined);
  }
}

/** https://www.postgresql.org/docs/current/errcodes-appendix.html */
const INSUFFICIENT_PRIVILEGE = '42501';

function refused(statement: string, error: LifeboatError): LifeboatError {
  const denied = (error.cause as { code?: string } | undefined)?.code === INSUFFICIENT_PRIVILEGE;
  return new LifeboatError(
    denied ? 'DB_RIGHTS' : 'RESTORE_REFUSED',
    `The restored database could not be given what the backup’s had: ${withoutValue(statement)}\n${error.message}`,
    {
      hint: denied
        ? 'Nothing was changed. Restore as a superuser, or grant DB_USER the right that PostgreSQL names above.'
        : 'Nothing was changed. See the PostgreSQL message above.',
      cause: error,
    },
  );
}

/** A setting of an application's own may be a secret. */
function withoutValue(statement: string): string {
  return statement.replace(/( SET "(?:[^"]|"")+" TO )[\s\S]*$/, '$1…');
}
