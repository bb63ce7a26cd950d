import { LifeboatError } from '../errors.ts';

/** The decisions of a base backup's preflight. Each returns its problem, so that all can be told at once. */

/** One sends the backup, the other one holds the slot that keeps its WAL. */
const SENDERS_NEEDED = 2;

export interface ReplicationFacts {
  readonly walLevel: string;
  readonly maxWalSenders: number;
  readonly freeWalSenders: number;
  readonly maxReplicationSlots: number;
  readonly freeReplicationSlots: number;
}

/** All that keeps the server from giving a base backup and its WAL, at once. */
export function checkReplicationFacts(facts: ReplicationFacts): LifeboatError[] {
  const problems = [checkWalLevel(facts), checkSenders(facts), checkSlots(facts)];
  return problems.filter((problem) => problem !== undefined);
}

function checkWalLevel({ walLevel }: ReplicationFacts): LifeboatError | undefined {
  if (walLevel !== 'minimal') return undefined;
  return new LifeboatError(
    'SETTINGS_INVALID',
    'The server’s wal_level is "minimal": its WAL does not hold what a base backup needs',
    { hint: 'As a superuser: ALTER SYSTEM SET wal_level = replica; and restart PostgreSQL.' },
  );
}

function checkSenders({ maxWalSenders, freeWalSenders }: ReplicationFacts): LifeboatError | undefined {
  if (freeWalSenders >= SENDERS_NEEDED) return undefined;
  return new LifeboatError(
    'DB_CONNECT',
    `A base backup takes ${SENDERS_NEEDED} of the server’s WAL senders; ${freeWalSenders} of ${maxWalSenders} are free`,
    {
      hint: `As a superuser: ALTER SYSTEM SET max_wal_senders = ${maxWalSenders + SENDERS_NEEDED}; and restart PostgreSQL. Who uses them: SELECT * FROM pg_stat_replication;`,
    },
  );
}

function checkSlots({
  maxReplicationSlots,
  freeReplicationSlots,
}: ReplicationFacts): LifeboatError | undefined {
  if (freeReplicationSlots >= 1) return undefined;
  return new LifeboatError(
    'DB_CONNECT',
    `A base backup takes a replication slot for as long as it runs; all ${maxReplicationSlots} are in use`,
    {
      hint: `As a superuser: ALTER SYSTEM SET max_replication_slots = ${maxReplicationSlots + 1}; and restart PostgreSQL. Whose they are: SELECT * FROM pg_replication_slots;`,
    },
  );
}

/** @param allowed `--allow-standby` */
export function checkBaseStandby(standby: boolean, allowed: boolean): LifeboatError | undefined {
  if (!standby || allowed) return undefined;
  return new LifeboatError(
    'STANDBY_REFUSED',
    'The server is a standby: a base backup of it ends where replay stands, and so lags behind',
  );
}
