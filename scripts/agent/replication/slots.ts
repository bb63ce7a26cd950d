import { LifeboatError } from '../../../lib/domain/errors.ts';
import { parseLsn } from '../../../lib/domain/wal/lsn.ts';
import type { SlotPosition } from '../ports/replication.ts';
import type { Session } from './session.ts';

/** https://www.postgresql.org/docs/current/warm-standby.html#STREAMING-REPLICATION-SLOTS-MANIPULATION */
const SLOT_NAME = /^[a-z0-9_]{1,63}$/;
const READABLE_SINCE = 15_00_00;

/** @throws LifeboatError SETTINGS_INVALID */
function checkSlotName(name: string): string {
  if (SLOT_NAME.test(name)) return name;
  throw new LifeboatError(
    'SETTINGS_INVALID',
    `${JSON.stringify(name)} is no name for a replication slot: at most 63 of a-z, 0-9 and _`,
  );
}

/** Of START_REPLICATION. @throws LifeboatError SETTINGS_INVALID */
export function slotClause(name: string): string {
  return `SLOT ${checkSlotName(name)} `;
}

/** RESERVE_WAL in the grammar of before 15, which the newer ones still take. */
export async function createSlot(
  session: Session,
  name: string,
  { temporary }: { readonly temporary: boolean },
): Promise<void> {
  const kind = temporary ? 'TEMPORARY PHYSICAL' : 'PHYSICAL';
  await session.rows(`CREATE_REPLICATION_SLOT ${checkSlotName(name)} ${kind} RESERVE_WAL`);
}

export async function readSlot(
  session: Session,
  versionNumber: number,
  name: string,
): Promise<SlotPosition | undefined> {
  if (versionNumber < READABLE_SINCE) {
    throw new LifeboatError(
      'DB_QUERY',
      'PostgreSQL 14 reads no slot over a replication connection; pg_replication_slots has it',
    );
  }
  const [row] = await session.rows(`READ_REPLICATION_SLOT ${checkSlotName(name)}`);
  const [type, restartLsn, timeline] = row ?? [];
  if (!type) return undefined;
  return {
    restartLsn: restartLsn ? parseLsn(restartLsn.toString()) : undefined,
    timeline: timeline ? Number(timeline.toString()) : undefined,
  };
}

export async function dropSlot(session: Session, name: string): Promise<void> {
  await session.rows(`DROP_REPLICATION_SLOT ${checkSlotName(name)}`);
}
