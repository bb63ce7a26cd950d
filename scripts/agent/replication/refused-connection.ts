import { LifeboatError } from '../../../lib/domain/errors.ts';
import type { DatabaseSettings } from '../settings.ts';

/** What `pg` makes of the server's ErrorResponse. */
interface ConnectError {
  readonly code?: string;
  readonly message?: string;
}

/** The reasons for which a server lets a role in, but not to replicate. */
export function refusedConnection(error: LifeboatError, settings: DatabaseSettings): LifeboatError {
  const cause = (error.cause ?? {}) as ConnectError;
  switch (cause.code) {
    case '28000':
      return /pg_hba\.conf/.test(cause.message ?? '') ? noEntry(error, settings) : error;
    case '42501':
      return new LifeboatError('DB_RIGHTS', error.message, {
        hint: `Grant it: ALTER ROLE ${quoteName(settings.user)} REPLICATION;`,
        cause: error.cause,
      });
    case '53300':
      return /max_wal_senders/.test(cause.message ?? '') ? noSenderLeft(error, cause.message ?? '') : error;
    default:
      return error;
  }
}

/** The error names neither host nor address in a form to copy. */
function noEntry(error: LifeboatError, { host, user }: DatabaseSettings): LifeboatError {
  const who = /^[a-z_][a-z0-9_]*$/.test(user) ? user : quoteName(user);
  const line = host.startsWith('/')
    ? `local replication ${who} scram-sha-256`
    : `host replication ${who} ${hostOf(error.message)} scram-sha-256`;
  return new LifeboatError('DB_CONNECT', error.message, {
    hint: `Its pg_hba.conf needs a line for replication ("all" does not cover it), then SELECT pg_reload_conf(); The line: ${line}`,
    cause: error.cause,
  });
}

/** The address under which the server sees us. */
function hostOf(message: string): string {
  const address = /"([0-9a-f.:]+)"/i.exec(message.slice(message.indexOf('pg_hba')))?.[1];
  if (address === undefined) return '<address of this host>/32';
  return address.includes(':') ? `${address}/128` : `${address}/32`;
}

function noSenderLeft(error: LifeboatError, said: string): LifeboatError {
  const limit = /\d+/.exec(said)?.[0];
  return new LifeboatError('DB_CONNECT', error.message, {
    hint:
      limit === '0'
        ? 'Replication is switched off: ALTER SYSTEM SET wal_level = replica; ALTER SYSTEM SET max_wal_senders = 10; and restart PostgreSQL.'
        : 'See who uses them: SELECT * FROM pg_stat_replication; or raise max_wal_senders and restart PostgreSQL.',
    cause: error.cause,
  });
}

function quoteName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
