import type { BaseManifest } from '../../../lib/domain/base/base-manifest.ts';
import type { RecoveryPlan } from '../../../lib/domain/base/recovery-plan.ts';
import type { LocatedTarget } from '../../../lib/domain/base/recovery-choice.ts';
import type { RecoveryTarget } from '../../../lib/domain/base/recovery-target.ts';
import type { WalFile } from '../../../lib/domain/wal/archive.ts';
import type { Lsn } from '../../../lib/domain/wal/lsn.ts';
import type { TimelineStretch } from '../../../lib/domain/wal/timeline.ts';
import type { LongWork } from './host.ts';
import type { ObjectStore } from './store.ts';

/** Everything that a recovery to a point in time touches. */
export interface RecoveryPorts extends LongWork {
  readonly app: string;
  /** One and the same where there is no state bucket. */
  readonly stores: { readonly backups: ObjectStore; readonly state: ObjectStore };
  readonly search: WalSearch;
  readonly servers: RecoveryServers;
}

export interface WalSearch {
  /**
   * Reads WAL, record after record, for the end of a transaction or for a restore point.
   * @returns in WAL order
   * @throws LifeboatError CORRUPT, S3_…
   */
  find(request: WalSearchRequest): Promise<readonly LocatedTarget[]>;
}

export interface WalSearchRequest {
  readonly target: Extract<RecoveryTarget, { kind: 'xid' | 'name' }>;
  /** Consecutive. */
  readonly files: readonly WalFile[];
  readonly path: readonly TimelineStretch[];
  readonly segmentSize: number;
  /** Without reading on behind the first one, which is what counts for PostgreSQL. */
  readonly firstOnly: boolean;
}

export interface RecoveryServers {
  /** The server's programs of that major version, or others where only such are installed. */
  find(major: number): Promise<ServerPrograms | undefined>;
  /** @throws LifeboatError USAGE for a path that no server can be started in, RESTORE_REFUSED for one that is taken */
  open(place: RecoveryPlace): Promise<RecoveryWorkplace>;
}

export interface ServerPrograms {
  readonly folder: string;
  /** As in `server_version_num`. */
  readonly versionNumber: number;
  /** Whether pg_combinebackup of the same major lies beside it: without it only full base backups can be restored. */
  readonly canCombine: boolean;
}

/** Where the recovered cluster is to lie. */
export interface RecoveryPlace {
  /** Absent or empty. */
  readonly dataDir: string;
  /** Each tablespace gets a folder in it, named by its OID. */
  readonly tablespaceDir: string;
  /** Folders of their own, by OID: absent or empty. */
  readonly tablespaceDirs?: ReadonlyMap<number, string>;
  /** Whom the server runs as, where root recovers; `undefined`: the owner of the folder above, or else postgres. */
  readonly osUser: string | undefined;
  /** `undefined`: a Unix socket alone. */
  readonly port: number | undefined;
  /** Data directory of the cluster beside which it is made; `undefined`: the source's own, where this host has it. */
  readonly live?: string;
  /** It is to be the live cluster: what it writes must get to the archive and the WAL stream later on. */
  readonly takesOver?: boolean;
}

/** A data directory in the making. Whatever it throws, `remove` takes away all that was made. */
export interface RecoveryWorkplace {
  /** A recovery that was killed left it half-made; `prepare` clears it away. */
  readonly abandoned: boolean;
  /** Bytes that are to stay free on the disk of the data directory: a cluster that runs lies there too. */
  reserve(plan: RecoveryPlan): Promise<number>;
  /** From here on to the end of `replay` any step ends with DISK_FULL before a running cluster's disk is full. */
  prepare(plan: RecoveryPlan): Promise<void>;
  /**
   * Fetches, checks and unpacks all volumes of the chain, several at a time, has a chain combined, and brings all to the disk.
   * @throws LifeboatError CORRUPT, S3_…, DISK_FULL, DISK_FAILED; RESTORE_FAILED with pg_combinebackup's words
   */
  unpack(plan: RecoveryPlan, programs: ServerPrograms, onProgress: (rawBytes: number) => void): Promise<void>;
  /** Compares every file with PostgreSQL's own manifest. @returns how many. @throws LifeboatError CORRUPT */
  verify(manifest: BaseManifest, onProgress: (bytes: number) => void): Promise<number>;
  /** Starts the server and hands it WAL until it is where it should be. @throws LifeboatError RECOVERY_FAILED, CORRUPT, … */
  replay(
    plan: RecoveryPlan,
    programs: ServerPrograms,
    action: RecoveryAction,
    onProgress: (segments: number) => void,
  ): Promise<ReplayEnd>;
  /** Stops the server; the data stays. */
  halt(): Promise<void>;
  /** The recovered cluster is now nobody's half-made one; its server goes on without us. */
  finish(): Promise<void>;
  /** Ends the server and removes what was made; idempotent. */
  remove(): Promise<void>;
}

/**
 * - `promote`: a cluster of its own, on a new timeline, open for writing
 * - `pause`: stopped before that, for reading
 * - `shutdown`: promoted, and stopped again
 */
export type RecoveryAction = 'promote' | 'pause' | 'shutdown';

export interface ReplayEnd {
  /** The first byte that was not replayed; `undefined`: the paused server did not answer. */
  readonly lsn: Lsn | undefined;
  /** ISO 8601, UTC, microseconds; `undefined`: nothing was committed behind the base backup's start. */
  readonly lastCommit: string | undefined;
  /** The new one, once promoted. */
  readonly timeline: number | undefined;
  /** The WAL ended before there was anything behind the target. */
  readonly endOfWal: boolean;
  readonly segments: number;
  /** Of the socket, for psql -h; `undefined` when it was shut down. */
  readonly socketDir: string;
  readonly port: number;
}
