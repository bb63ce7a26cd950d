import type { Lsn } from '../../../lib/domain/wal/lsn.ts';

/**
 * A connection that speaks PostgreSQL's replication protocol
 * (https://www.postgresql.org/docs/current/protocol-replication.html), of a role with REPLICATION; it opens no file.
 *
 * - One command at a time. After a command ended, well or with an error of its own, the next may follow; after DB_LOST
 *   or an interruption the connection is gone and every call throws the same again.
 * - Errors that every call may throw: DB_LOST (the connection broke, the server stopped or was restarted: connect
 *   again), DB_RIGHTS, DB_QUERY (with PostgreSQL's own words), and the reason of the AbortSignal that it was opened with.
 * - Memory is bounded, a few MiB for each connection: a consumer that is slow makes the server wait.
 */
export interface ReplicationServer {
  /** As in `server_version_num`: 150018 is 15.18. */
  readonly versionNumber: number;
  identify(): Promise<SystemIdentity>;
  /**
   * A setting as `SHOW` prints it.
   * @throws LifeboatError DB_RIGHTS for those that only pg_read_all_settings may see (data_directory, hba_file, …)
   */
  show(setting: string): Promise<string>;
  /** The history file, byte for byte. Timeline 1 has none. */
  timelineHistory(timeline: number): Promise<{ readonly name: string; readonly content: Buffer }>;
  /**
   * A physical slot that holds WAL from this moment on. A temporary one belongs to this connection and goes with it, or
   * with the first command that fails; it lasts through `baseBackup`.
   * @throws LifeboatError SLOT_EXISTS
   */
  createSlot(name: string, options: { readonly temporary: boolean }): Promise<void>;
  /**
   * `undefined`: there is none of that name. Servers before 15 have no such command.
   * What else is known of a slot (wal_status, safe_wal_size) stands in pg_replication_slots, for an ordinary connection.
   * @throws LifeboatError DB_QUERY before 15, or for a logical slot
   */
  readSlot(name: string): Promise<SlotPosition | undefined>;
  /** @throws LifeboatError SLOT_MISSING, BUSY while someone streams from it */
  dropSlot(name: string): Promise<void>;
  /**
   * BASE_BACKUP with server-side page-checksum verification, 14 and 15+ alike. Never waits for archive_command. Returns
   * once the server's checkpoint is done. What the WAL of the backup needs must be held meanwhile: by a slot.
   * @throws LifeboatError SETTINGS_INVALID for an incremental one before 17 or with summarize_wal off
   */
  baseBackup(request: BaseBackupRequest): Promise<BaseBackupStream>;
  /**
   * START_REPLICATION. That the server has no more WAL of `from`, WAL_REMOVED, comes only with the first message.
   * @throws LifeboatError WAL_DIVERGED (`from` is ahead of the server or on a timeline that isn't in its history), SLOT_MISSING,
   *   SLOT_LOST, BUSY (someone else streams from the slot), SYNC_STANDBY (synchronous_standby_names would have commits
   *   wait for us)
   */
  streamWal(request: WalRequest): Promise<WalStream>;
  /** Ends whatever runs; never throws. */
  close(): Promise<void>;
}

export interface SystemIdentity {
  readonly systemIdentifier: string;
  readonly timeline: number;
  /** How far WAL was flushed (on a standby: replayed). */
  readonly flushLsn: Lsn;
}

export interface SlotPosition {
  /** `undefined`: the slot holds nothing (yet, or any more: it was invalidated). */
  readonly restartLsn: Lsn | undefined;
  readonly timeline: number | undefined;
}

export interface BaseBackupRequest {
  readonly label: string;
  /** `spread` takes up to checkpoint_timeout × checkpoint_completion_target before the first byte. */
  readonly checkpoint: 'fast' | 'spread';
  /** The WAL from start to stop, within the main archive's pg_wal. */
  readonly wal: boolean;
  /** Wanted by an incremental backup that takes this one for its parent, and by pg_verifybackup. */
  readonly manifest: boolean;
  /** The parent's backup_manifest: makes it an incremental one (17+, summarize_wal on). */
  readonly incrementalManifest?: AsyncIterable<Buffer>;
  /** In kB per second, 32 to 1048576. */
  readonly maxRateKbps?: number;
}

export interface BaseBackupStream {
  /** Where recovery of this backup begins. */
  readonly start: { readonly lsn: Lsn; readonly timeline: number };
  /** In the order in which their archives come; the main data directory (`oid` null) is the last one. */
  readonly tablespaces: readonly BackupTablespace[];
  /**
   * An archive's beginning, then its data, for each tablespace; then the manifest's data, of which some may come between that of
   * the archives where it is large. To be consumed once, in order; a piece's bytes are valid until the next but one is asked for. Leaving early is as good as abort().
   *
   * What the majors do differently is made alike: the bytes of each archive are one whole tar (USTAR), with the two zero
   * blocks at its end (14 leaves them out) and nothing behind them; a file of a tablespace has no prefix in its archive;
   * the main archive holds backup_label and tablespace_map (with the source's paths: to be rewritten before use; empty
   * where there are no tablespaces), first of all or just before pg_control, which is the last file of the cluster; then the WAL.
   */
  pieces(): AsyncIterable<BackupPiece>;
  /**
   * After pieces() ended: where recovery may end at the earliest. Damaged pages are no error here: the backup holds them as they
   * are on the server's disk, and the caller decides.
   */
  finished(): Promise<BackupEnd>;
  /** Tells the server to stop, and gives the connection up; never throws. */
  abort(): void;
}

export interface BackupTablespace {
  /** null: the main data directory. */
  readonly oid: number | null;
  /** The absolute path on the server; of one below the data directory (allow_in_place_tablespaces) a relative one. */
  readonly location: string | null;
  /** An estimate, in whole KiB. */
  readonly sizeBytes: number;
}

export type BackupPiece =
  | { readonly kind: 'archive'; readonly oid: number | null; readonly location: string | null }
  | { readonly kind: 'data'; readonly bytes: Buffer }
  | { readonly kind: 'manifest'; readonly bytes: Buffer }
  /** Raw bytes of archives so far, to be held against the sum of `tablespaces`; may end above it. */
  | { readonly kind: 'progress'; readonly doneBytes: number };

export interface BackupEnd {
  readonly lsn: Lsn;
  readonly timeline: number;
  /** Pages whose checksum is wrong; 0 also where the cluster has no checksums. */
  readonly checksumFailures: number;
  /** PostgreSQL's own words, at most a hundred lines: which blocks of which files are damaged. */
  readonly warnings: readonly string[];
}

export interface WalRequest {
  /** A physical slot; without one the server may remove WAL before it was sent. */
  readonly slot?: string;
  readonly timeline: number;
  /** The first byte wanted, anywhere in a segment. */
  readonly from: Lsn;
}

export interface WalStream {
  /**
   * Stretches of WAL in order, each where the last one ended; keep-alives too. To be consumed once; a message's bytes are valid
   * until the next but one is asked for. Ends when the timeline ends, or on stop(); leaving early is as good as stop().
   * @throws LifeboatError WAL_REMOVED, DB_LOST also when the server was silent for a minute or has shut down, DB_QUERY
   */
  messages(): AsyncIterable<WalMessage>;
  /**
   * Tells the server, at once, that everything before `lsn` is safe: its slot lets go of it. What is below an earlier call does
   * nothing; beyond what was received is a defect.
   * The server hears of us every ten seconds, and when it asks, by itself.
   */
  confirm(lsn: Lsn): void;
  /** After messages() ended by itself: the timeline that follows; `undefined` after stop() or an error. */
  readonly ended: Promise<TimelineEnd | undefined>;
  /**
   * Sends the last confirmation and ends the stream, whatever the consumer does; the connection may be used again. A server that
   * doesn't answer within seconds loses its connection. Never throws.
   */
  stop(): Promise<void>;
}

export type WalMessage =
  | {
      readonly kind: 'wal';
      readonly start: Lsn;
      readonly serverEnd: Lsn;
      /** The server's clock: µs since 2000-01-01 UTC. */
      readonly sentAt: bigint;
      readonly bytes: Buffer;
    }
  | {
      readonly kind: 'keepalive';
      readonly serverEnd: Lsn;
      readonly sentAt: bigint;
      /**
       * The server is shutting down, and waits with that, without end, until all that it sent is confirmed. Whoever cannot
       * confirm soon, as S3 is away, must stop(): the slot keeps what is missing.
       */
      readonly serverStopping: boolean;
    };

export interface TimelineEnd {
  readonly nextTimeline: number;
  /** Where the streamed timeline ends and the next one begins. */
  readonly switchLsn: Lsn;
}
