import { LifeboatError, type ErrorCode } from '../../../lib/domain/errors.ts';
import { isFatal, type ServerMessage } from './protocol.ts';

/** An answer with which the server refused a replication command; `cause` is its ServerMessage. */
export function serverError(said: ServerMessage, command: string): LifeboatError {
  const { code, hint } = meaningOf(said);
  const detail = said.detail ? ` (${said.detail})` : '';
  return new LifeboatError(code, `PostgreSQL refused ${command}: ${said.message}${detail}`, {
    ...(hint ? { hint } : {}),
    cause: said,
  });
}

/** The connection is gone: broken, or ended by the server. */
export function connectionLost(reason: string, cause?: unknown): LifeboatError {
  return new LifeboatError('DB_LOST', `The replication connection to PostgreSQL was lost: ${reason}`, {
    cause,
  });
}

interface Meaning {
  readonly code: ErrorCode;
  readonly hint?: string;
}

/**
 * By SQLSTATE (https://www.postgresql.org/docs/current/errcodes-appendix.html) and the C function that spoke, as messages
 * may be translated.
 */
function meaningOf(said: ServerMessage): Meaning {
  if (isFatal(said)) return { code: 'DB_LOST' };
  return BY_ROUTINE[`${said.code} ${said.routine}`] ?? BY_STATE[said.code] ?? { code: 'DB_QUERY' };
}

/** In src/backend/replication: walsender.c, slot.c, basebackup.c; src/backend/access/transam: xlog.c, timeline.c */
const BY_ROUTINE: Readonly<Record<string, Meaning>> = {
  '58P01 WalSndSegmentOpen': { code: 'WAL_REMOVED' },
  '58P01 CheckXLogRemoved': { code: 'WAL_REMOVED' },
  'XX000 perform_base_backup': { code: 'WAL_REMOVED' },
  'XX000 StartReplication': { code: 'WAL_DIVERGED' },
  'XX000 tliSwitchPoint': { code: 'WAL_DIVERGED' },
  '42704 ReplicationSlotAcquire': { code: 'SLOT_MISSING' },
  '55000 ReplicationSlotAcquire': { code: 'SLOT_LOST' },
  '53400 ReplicationSlotCreate': {
    code: 'DB_QUERY',
    hint: 'Drop a slot that nobody uses (SELECT * FROM pg_replication_slots;), or raise max_replication_slots and restart PostgreSQL.',
  },
};

const BY_STATE: Readonly<Record<string, Meaning>> = {
  '42501': { code: 'DB_RIGHTS' },
  '42710': { code: 'SLOT_EXISTS' },
  '55006': {
    code: 'BUSY',
    hint: 'Someone streams from it already: SELECT * FROM pg_stat_replication; Is another lifeboat running for this database?',
  },
};
