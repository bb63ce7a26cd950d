import type { PresentTable } from '../../../lib/domain/restore/table-plan.ts';
import type { QualifiedName } from '../../../lib/domain/restore/table-names.ts';
import type { BackupPorts } from './backup.ts';
import type { RecoveryPlace, ReplayEnd, ServerPrograms } from './recovery.ts';

export interface SideClusters {
  /** @throws LifeboatError DB_CONNECT where neither DB_USER nor postgres is a role of it */
  open(place: RecoveryPlace, end: ReplayEnd): Promise<SideCluster>;
  /** For people, when a cluster is kept. */
  handling(place: RecoveryPlace, programs: ServerPrograms): SideHandling;
}

/** Commands of a shell. */
export interface SideHandling {
  readonly start: string;
  readonly look: string;
  readonly stop: string;
  readonly remove: string;
}

/** A recovered cluster, isolated and only ours, to take things out of. */
export interface SideCluster {
  /** A superuser of it. */
  readonly user: string;
  /** Of the dumps: below the data directory, and gone with it. */
  readonly folder: string;
  databases(): Promise<string[]>;
  tables(database: string): Promise<PresentTable[]>;
  /** To dump a database, or some tables of it, into `folder`. */
  backupPorts(database: string, tables: readonly QualifiedName[] | undefined): BackupPorts;
  /** Removes the dumps; idempotent. */
  close(): Promise<void>;
}
