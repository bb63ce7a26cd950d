import { hashName } from '../name-hash.ts';

const LONGEST = 63;

/**
 * The replication slot that holds an app's WAL: `lifeboat_hostmaster`. PostgreSQL takes a-z, 0-9 and _ only; a name that
 * had to be changed for that also gets a number of its own, so that two apps never share a slot.
 */
export function slotNameOf(app: string): string {
  const plain = `lifeboat_${app}`;
  const safe = plain.toLowerCase().replaceAll(/[^a-z0-9_]/g, '_');
  if (safe === plain && safe.length <= LONGEST) return safe;
  const mark = `_${hashName(app).toString(16).padStart(8, '0')}`;
  return safe.slice(0, LONGEST - mark.length) + mark;
}
