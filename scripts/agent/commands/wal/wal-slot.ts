import type { Lsn } from '../../../../lib/domain/wal/lsn.ts';
import type { Log } from '../../ports/host.ts';
import type { ReplicationServer } from '../../ports/replication.ts';
import type { SlotFacts, WalServer } from '../../ports/wal.ts';

export interface SlotPorts {
  readonly log: Log;
  readonly server: WalServer;
}

/**
 * Makes the slot where there is none, or none that is of any use.
 * @param known as it was a moment ago
 * @returns where it holds WAL from
 */
export async function openSlot(
  { log, server }: SlotPorts,
  connection: ReplicationServer,
  name: string,
  known: SlotFacts | undefined,
): Promise<Lsn | undefined> {
  if (known && known.status !== 'lost') return known.restartLsn;
  if (known) {
    log.warn(`The slot ${name} lost WAL that it was to hold; it is made anew`);
    await connection.dropSlot(name);
  }
  await connection.createSlot(name, { temporary: false });
  log.info(`Slot ${name} created`);
  return (await server.facts(name)).slot?.restartLsn;
}
