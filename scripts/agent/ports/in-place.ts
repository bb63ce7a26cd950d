import type { BaseManifest } from '../../../lib/domain/base/base-manifest.ts';
import type { InPlaceJournal, Move } from '../../../lib/domain/base/in-place-journal.ts';
import type { InPlaceFacts, InPlaceLayout, TablespaceFacts } from '../../../lib/domain/base/in-place-plan.ts';
import type { Service, ServiceFacts } from '../../../lib/domain/base/in-place-service.ts';
import type { RecoveryPorts, ServerPrograms } from './recovery.ts';

/** Everything that a recovery in place of the live cluster touches. */
export interface InPlacePorts extends RecoveryPorts {
  readonly site: InPlaceSite;
  readonly services: Services;
  /** @returns whether the operator says yes. @throws LifeboatError USAGE where nobody can be asked */
  readonly confirm: (question: string) => Promise<boolean>;
}

/** Bytes. */
export interface Room {
  readonly path: string;
  readonly needed: number;
  readonly free: number;
  /** Of what is free, to be left to the live cluster. */
  readonly reserve: number;
}

/** The live data directory, what lies beside it, and its tablespaces. */
export interface InPlaceSite {
  /** The name without symbolic links, also of one that is not there: what is locked, and what the journal lies beside. */
  resolve(dataDir: string): Promise<string>;
  /** Those of these names that are there. */
  present(names: readonly string[]): Promise<ReadonlySet<string>>;
  /** Reads only. @throws LifeboatError DISK_FAILED */
  survey(dataDir: string): Promise<InPlaceFacts>;
  /** Who owns it, or would: the name that `RecoveryPlace.osUser` takes; `undefined` for a user without one. */
  owner(dataDir: string): Promise<string | undefined>;
  /**
   * What is needed and what is free, of each file system once.
   * @param dataDir of the live cluster: while it runs, its disks are to keep a reserve
   */
  rooms(
    needs: readonly { readonly path: string; readonly bytes: number }[],
    dataDir: string,
  ): Promise<readonly Room[]>;
  /** Makes the tablespaces' locations where they are missing, as on a new host. */
  makeLocations(layout: InPlaceLayout): Promise<void>;
  /**
   * Makes the recovered cluster, isolated as it was, one with its own configuration: the live one's where that is the same
   * cluster (`live`), else the backup's.
   */
  configure(recovered: string, live: string | undefined): Promise<void>;
  /** Of the recovered cluster, before anything is moved. */
  tablespaces(layout: InPlaceLayout, facts: InPlaceFacts): Promise<TablespaceFacts>;
  /** One after the other, each durable before the next; those that were made already are passed over. */
  move(moves: readonly Move[]): Promise<void>;
  /** Those that are empty go. */
  tidy(folders: readonly string[]): Promise<void>;
  /** What an interrupted one left half-made. @throws LifeboatError RESTORE_REFUSED while a server runs in it */
  clear(journal: InPlaceJournal): Promise<void>;
  /**
   * The source's configuration from outside of its data directory: what is missing here is put where it was, what differs
   * beside it as `*.lifeboat`; nothing is overwritten.
   */
  restoreConfiguration(manifest: BaseManifest, write: boolean): Promise<RestoredConfiguration>;
  readJournal(dataDir: string): Promise<InPlaceJournal | undefined>;
  writeJournal(journal: InPlaceJournal): Promise<void>;
  removeJournal(dataDir: string): Promise<void>;
  /** The data directories with a journal among those that this host's services know. */
  journaled(candidates: readonly string[]): Promise<readonly string[]>;
}

export interface RestoredConfiguration {
  readonly written: readonly string[];
  readonly beside: readonly string[];
}

export interface Services {
  /** All that `decideService` wants to know. @param programs `undefined`: of no version in particular */
  survey(
    dataDir: string,
    programs: ServerPrograms | undefined,
  ): Promise<Omit<ServiceFacts, 'configFile' | 'commands'>>;
  /** Returns once the server is gone. @throws LifeboatError SERVICE_FAILED */
  stop(service: Service, dataDir: string): Promise<void>;
  /** Returns once the server accepts connections. @throws LifeboatError SERVICE_FAILED */
  start(service: Service, dataDir: string): Promise<void>;
  /** Of the server that runs on it. */
  postmaster(dataDir: string): Promise<number | undefined>;
}
