import type { Lsn } from '../../../lib/domain/wal/lsn.ts';
import type { LastCommit } from '../../../lib/domain/wal/wal-metadata.ts';

/**
 * The WAL of one cluster in S3: complete segments, ended timelines' last ones and history files in the backup bucket, pieces of open
 * segments and records of holes in the state bucket.
 *
 * - Every object is written once. Meeting an object with the same WAL is success, whoever put it there; other WAL under its
 *   name throws WAL_CONFLICT: two clusters write under one prefix.
 * - What was returned from a `put…` is held by S3, with its checksum.
 * - Passing faults are tried again for a while; then it throws S3_…, and may be asked again.
 */
export interface WalArchive {
  readonly systemIdentifier: string;
  /** The URL that people are shown. */
  readonly url: string;
  /** A complete segment. @param bytes all of it; they stay as they are until the promise settles, as with the others */
  packSegment(place: SegmentPlace, bytes: Buffer, lastCommit: LastCommit | undefined): Promise<PackedSegment>;
  /** The last segment of a timeline that has ended. */
  putPartial(place: SegmentPlace, bytes: Buffer, lastCommit: LastCommit | undefined): Promise<StoredWal>;
  /** New bytes of the open segment. */
  putPiece(
    place: SegmentPlace,
    piece: { readonly from: Lsn; readonly bytes: Buffer },
    lastCommit: LastCommit | undefined,
  ): Promise<StoredWal>;
  putHistory(timeline: number, content: Buffer): Promise<StoredWal>;
  /** `archive_command` also hands over the history files of base backups (`….backup`), which only people read. */
  putBackupHistory(timeline: number, name: string, content: Buffer): Promise<StoredWal>;
  putHole(hole: LostWal): Promise<void>;

  /** Names of the complete segments of a timeline whose names begin with `beginning`. */
  segments(timeline: number, beginning?: string): Promise<Set<string>>;
  /** Names of the segments of a timeline that the journal has pieces of. */
  journalled(timeline: number): Promise<Set<string>>;
  hasPartial(place: SegmentPlace): Promise<boolean>;
  /** Pieces of one segment, in the order of their first bytes. */
  pieces(place: SegmentPlace): Promise<readonly JournalPiece[]>;
  /** Whether the piece holds these bytes, by its SHA-256. */
  pieceHolds(place: SegmentPlace, piece: JournalPiece, bytes: Buffer): Promise<boolean>;
  /** The last commit in a piece or in a complete segment; `undefined` also when there is no such object. */
  pieceCommit(place: SegmentPlace, piece: JournalPiece): Promise<LastCommit | undefined>;
  segmentCommit(place: SegmentPlace): Promise<LastCommit | undefined>;
  holes(): Promise<readonly HolePlace[]>;
}

export interface SegmentPlace {
  readonly timeline: number;
  /** 24 hexadecimal digits. */
  readonly segment: string;
}

export interface StoredWal {
  readonly key: string;
  /** Compressed. */
  readonly size: number;
}

/** Needs the segment's own bytes no more. */
export interface PackedSegment {
  /** Compressed. */
  readonly size: number;
  /** May be called again when it failed. */
  put(): Promise<StoredWal>;
}

/** A stretch of an open segment. */
export interface JournalPiece {
  readonly from: Lsn;
  readonly to: Lsn;
}

export interface HolePlace {
  readonly timeline: number;
  readonly from: Lsn;
  readonly to: Lsn;
}

export interface LostWal extends HolePlace {
  /** Time of the last commit before it, ISO 8601 in UTC. */
  readonly since: string | undefined;
  readonly recordedAt: Date;
  /** For people: what the server said. */
  readonly reason: string;
}

/** Which clusters write under this app's name. */
export interface WalClusters {
  /** System identifiers that have WAL or base backups. */
  identifiers(): Promise<readonly string[]>;
  /** When the cluster's journal got its last piece; `undefined`: it has none. */
  lastWrittenAt(systemIdentifier: string): Promise<Date | undefined>;
}

/** Tells the last commit of WAL as it passes. */
export interface CommitWatch {
  /** Consecutive bytes, from a segment's start on. Never throws: what cannot be read is told once, and not looked at further. */
  push(bytes: Buffer): void;
  /**
   * The whole next segment, of which only as much is looked at as is needed; between segments alone. A commit whose record
   * began in the segment before counts for none.
   */
  pushSegment(bytes: Buffer): void;
  /** The newest commit so far. */
  readonly last: LastCommit | undefined;
}

/** The server as an ordinary connection sees it, beside the stream. */
export interface WalServer {
  /** @throws LifeboatError DB_CONNECT, DB_QUERY */
  facts(slot: string): Promise<WalServerFacts>;
  /**
   * Commits a message that says nothing, so that an idle database's restorable window goes on.
   * @returns false on a standby, which writes no WAL
   */
  heartbeat(): Promise<boolean>;
  /** Ends the open segment. @returns false on a standby @throws LifeboatError DB_QUERY for a role without the right */
  switchWal(): Promise<boolean>;
  /** Lets go of the WAL that a slot holds which nobody streams from. Nothing happens when there is none of that name. */
  dropSlot(slot: string): Promise<void>;
  /** Lets the server go of the WAL before `lsn`, which S3 holds, while nobody streams from the slot. @throws LifeboatError DB_QUERY */
  advanceSlot(slot: string, lsn: Lsn): Promise<void>;
  /** Where it runs. @throws LifeboatError DB_CONNECT, DB_QUERY */
  home(): Promise<ServerHome>;
  close(): Promise<void>;
}

export interface ServerHome {
  /** `undefined` for a role that may not know. */
  readonly dataDirectory: string | undefined;
  /** When the server was started, in seconds since 1970. */
  readonly startedAt: number;
  /** The server's process at the other end of our connection. */
  readonly pid: number;
  /** Since that connection began, in seconds. */
  readonly age: number;
}

/** `absent`: there is no such file. `unfit`: what is there is not to be taken. */
export type LocalRead = 'taken' | 'absent' | 'unfit';

/** The folder of WAL of a server that runs on this host. */
export interface LocalWal {
  readonly folder: string;
  /**
   * Puts a segment that the server has flushed whole into memory of its size.
   * @returns if not `taken`, the server has to send it
   */
  read(place: SegmentPlace, into: Buffer): Promise<LocalRead>;
}

export interface WalServerFacts {
  readonly versionNumber: number;
  readonly systemIdentifier: string;
  readonly standby: boolean;
  /** That it writes; `undefined` on a standby. */
  readonly timeline: number | undefined;
  /** How far WAL was flushed (on a standby: replayed). */
  readonly flushLsn: Lsn;
  /** The server's clock. */
  readonly now: Date;
  readonly segmentSize: number;
  /** `undefined`: unlimited. */
  readonly slotCapBytes: number | undefined;
  /** Its archive_command calls `lifeboat wal push`, with this archive_timeout; 0: none. `undefined`: it does not, or not here. */
  readonly pushes: { readonly timeoutSeconds: number } | undefined;
  readonly slot: SlotFacts | undefined;
}

/** https://www.postgresql.org/docs/current/view-pg-replication-slots.html */
export interface SlotFacts {
  readonly active: boolean;
  /** This slot's connection is there and does not stream: it waits while a backlog is read from the server's files. */
  readonly catchingUp: boolean;
  /** `undefined`: it holds nothing, or nothing any more. */
  readonly restartLsn: Lsn | undefined;
  /** `lost`: WAL that it was to hold is gone. `undefined`: nothing was ever held. */
  readonly status: 'reserved' | 'extended' | 'unreserved' | 'lost' | undefined;
  /** Bytes that may still be written before the slot is in danger; `undefined`: no limit. */
  readonly safeBytes: number | undefined;
  /** Of the connection that streams from it. */
  readonly stream:
    | {
        readonly applicationName: string;
        readonly state: string;
        /** `async` or not: commits must never wait for us. */
        readonly syncState: string;
        readonly receivedLsn: Lsn | undefined;
        readonly flushLsn: Lsn | undefined;
      }
    | undefined;
}

/** Has a base backup made soon: without one behind it, what comes after a hole cannot be restored. */
export interface BaseBackups {
  /**
   * Returns at once, whatever becomes of it.
   * @param hole that it is to begin behind, so that one which had begun before does not count; each is asked for once
   */
  request(reason: string, hole?: Pick<HolePlace, 'timeline' | 'to'>): void;
}

export type { LastCommit };

/** Reads WAL in S3 again, every byte. */
export interface WalReader {
  /**
   * What an object holds, decompressed and compared with what its metadata says.
   * @throws LifeboatError CORRUPT, BACKUP_NOT_FOUND, S3_…
   */
  read(key: string): Promise<Buffer>;
  /** Gives back the memory of what was read, which nobody may look at any more; the garbage collector would take its time. */
  release(bytes: Buffer): void;
  /** Looks at consecutive WAL as recovery would. @param from a segment's start; the record that is continued there is passed over */
  check(from: Lsn, segmentSize: number, systemIdentifier: string): WalCheck;
}

interface WalCheck {
  /** Keeps none of the bytes. @throws LifeboatError CORRUPT with the position; nothing may be pushed after that */
  push(bytes: Buffer): void;
  readonly records: number;
}

/** PostgreSQL's own WAL folder, as `archive_command` finds it. */
export interface WalFiles {
  /** Of the cluster that the folder belongs to. @throws LifeboatError DISK_FAILED, CORRUPT */
  systemIdentifier(): Promise<string>;
  /** @param memory where it goes when it is of that very size @throws LifeboatError DISK_FAILED, also when there is no such file */
  read(name: string, memory?: Buffer): Promise<Buffer>;
  /** Which cluster and what segment size a segment says it is of. @throws LifeboatError CORRUPT */
  describeSegment(
    name: string,
    bytes: Buffer,
  ): { readonly systemIdentifier: string; readonly segmentSize: number };
  /** Complete segments after `name` that wait to be archived, oldest first. */
  waiting(name: string, most: number): Promise<readonly string[]>;
  /** History files that are there. */
  histories(): Promise<readonly string[]>;
  /** What tells this very file from any other that had or will have its name. @throws LifeboatError DISK_FAILED */
  identify(name: string): Promise<string>;
  /**
   * Marks a file as archived: the launcher answers PostgreSQL's question for it without starting an interpreter.
   * @param identity the mark counts for this one file, as it was before it was read
   */
  mark(name: string, identity: string): Promise<void>;
  /** Takes away marks that nobody will ask for any more. */
  sweepMarks(): Promise<void>;
}
