import type { DumpFormat } from '../../../lib/domain/backup/keys.ts';
import type { CountedTable, DumpFile, StoredFile } from '../../../lib/domain/backup/manifest.ts';
import type { DumpInspection } from '../../../lib/domain/restore/inspection.ts';
import type {
  RestoreNeeds,
  RestoreTools,
  ServerFacts,
  TargetFacts,
} from '../../../lib/domain/restore/preflight-facts.ts';
import type { FoundRows } from '../../../lib/domain/restore/row-counts.ts';
import type { DumpEntry } from '../../../lib/domain/restore/dump-entries.ts';
import type { PresentTable } from '../../../lib/domain/restore/table-plan.ts';
import type { MeasuredRates } from '../../../lib/domain/restore/estimate.ts';
import type { Clock, Host, Log, Progress } from './host.ts';
import type { ObjectStore } from './store.ts';

/** Everything that `restore` touches. */
export interface RestorePorts {
  /** The series whose `latest` is meant. */
  readonly app: string;
  /** BACKUP_DIR first, then the bucket where one is configured: a copy that lies here needs no download. */
  readonly stores: readonly ObjectStore[];
  /** A whole bucket, for `s3://` URLs that lead elsewhere than the configured prefix; keys are complete. */
  openBucket(bucket: string): Promise<ObjectStore>;
  readonly files: DumpFiles;
  connectServer(target: string): Promise<TargetServer>;
  readonly rates: RateBook;
  readonly host: Host;
  /** Parallel jobs of pg_restore when the request names none. */
  readonly jobs: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly progress: Progress;
  /** Its reason is the LifeboatError (INTERRUPTED, TERMINATED) to throw. */
  readonly interrupted: AbortSignal;
}

/** Dumps as files of this host, and the scratch files that a restore needs. */
export interface DumpFiles {
  /** BACKUP_DIR: where scratch files lie. */
  readonly folder: string;
  /**
   * The file at `path` (relative to the working directory; a bare name also to BACKUP_DIR); `undefined` when there is none.
   * @throws LifeboatError CORRUPT for what is no regular file
   */
  find(path: string): Promise<FoundFile | undefined>;
  /** A small file. @throws LifeboatError DISK_FAILED, CORRUPT when it is larger than a manifest may be */
  readSmall(path: string): Promise<Buffer>;
  open(path: string): Promise<OpenDump>;
  /** A roles file's text. @throws LifeboatError CORRUPT when it is not the file that the manifest recorded */
  unzipGlobals(file: Buffer, expected: StoredFile, where: string): Promise<string>;
  /**
   * Copies an object into a scratch file by parallel ranged reads, hashing as it goes.
   * @throws LifeboatError CORRUPT when its size is not `size`; what the store throws
   */
  download(request: DownloadRequest): Promise<OpenDump & { readonly digest: Digest }>;
  /** Removes what this run, or an earlier one of the same target that was killed, left behind. */
  removeScratch(target: string): Promise<void>;
}

export interface FoundFile {
  /** Absolute. */
  readonly path: string;
  readonly size: number;
}

export interface DownloadRequest {
  readonly store: ObjectStore;
  readonly key: string;
  readonly size: number;
  /** Names the scratch file. */
  readonly target: string;
  readonly interrupted: AbortSignal;
  readonly onProgress: (bytes: number) => void;
}

export interface Digest {
  readonly sha256: string;
  /** base64, as manifests and S3 write it. */
  readonly crc32: string;
}

/** A dump's file held open: what was checked is what is read, even if the name is given to another file meanwhile. */
export interface OpenDump {
  readonly path: string;
  readonly size: number;
  hash(interrupted: AbortSignal): Promise<Digest>;
  /**
   * Reads all of it and learns what can be known without a manifest.
   * @throws LifeboatError CORRUPT for a file that is damaged, incomplete, or no dump
   */
  inspect(interrupted: AbortSignal, onProgress: (bytes: number) => void): Promise<DumpInspection>;
  /**
   * The dump itself, decompressed, in order. With `layout` frames are decompressed in parallel and each length is checked.
   * @throws LifeboatError CORRUPT
   */
  content(layout: DumpFile | undefined): AsyncIterable<Buffer>;
  /** A plain dump, taken apart: what is SQL and what are rows. @throws LifeboatError CORRUPT */
  plainPieces(layout: DumpFile): AsyncIterable<PlainPiece>;
  /**
   * A custom-format dump, taken apart. All but the rows of tables goes into a scratch file, in which pg_restore can seek:
   * the table of contents before the first piece, the rest before the end of the last one.
   * @throws LifeboatError CORRUPT, DISK_FULL
   */
  archivePieces(request: UnpackRequest & { readonly layout: DumpFile }): AsyncIterable<ArchivePiece>;
  /** The dump's table of contents. */
  entries(request: ReadRequest & { readonly format: DumpFormat }): Promise<DumpEntry[]>;
  /** Of a plain dump its head and the entries whose ids are `selected`; `entries` are all that it has. */
  selected(
    request: ReadRequest & { readonly entries: readonly DumpEntry[]; readonly selected: readonly number[] },
  ): AsyncIterable<Buffer>;
  /**
   * Decompresses a custom-format dump into a scratch file in which pg_restore can seek; removed by `removeScratch`.
   * @returns its path
   */
  unpack(request: UnpackRequest): Promise<string>;
  close(): Promise<void>;
}

/**
 * The rows of a table on their way into a database: `copy`, then any stretches of its data, then `end of rows`. Bytes are
 * valid until the piece after the next is asked for.
 */
export type RowPiece =
  | { readonly kind: 'copy'; readonly statement: Buffer }
  | { readonly kind: 'rows'; readonly bytes: Buffer }
  | { readonly kind: 'end of rows' };

/** In the dump's order. Stretches of `sql` may end anywhere; what follows is in the `encoding`. */
export type PlainPiece =
  | RowPiece
  | { readonly kind: 'encoding'; readonly name: string }
  | { readonly kind: 'sql'; readonly bytes: Buffer };

/** The first one tells of the archive, all others of rows. */
export type ArchivePiece = RowPiece | ({ readonly kind: 'archive' } & ArchiveOutline);

export interface ArchiveOutline {
  /** Of the scratch file; removed by `removeScratch`. */
  readonly path: string;
  readonly encoding: string | undefined;
  /** dumpIds, in the archive's order, of what comes before the rows, beside them, and when all of them are in. */
  readonly before: readonly number[];
  readonly beside: readonly number[];
  readonly after: readonly number[];
}

export interface ReadRequest {
  readonly layout: DumpFile | undefined;
  readonly interrupted: AbortSignal;
  readonly onProgress: (rawBytes: number) => void;
}

export interface UnpackRequest extends ReadRequest {
  readonly target: string;
}

/**
 * The server that holds the target, seen from a maintenance database, never from the target itself.
 * @throws LifeboatError DB_CONNECT, DB_QUERY from every method
 */
export interface TargetServer {
  facts(needs: RestoreNeeds): Promise<ServerFacts>;
  /** `undefined` when the database does not exist. */
  describeTarget(): Promise<TargetFacts | undefined>;
  /** @throws LifeboatError CLIENT_MISSING */
  tools(format: DumpFormat): Promise<RestoreTools>;
  /**
   * Holds the target for this restore against restores from any host, until `close`.
   * @throws LifeboatError BUSY
   */
  claim(): Promise<void>;
  /** Databases that killed restores of this target left; without the claim, those in use are not among them. */
  leftovers(): Promise<string[]>;
  /** Each statement on its own (CREATE DATABASE cannot be in a transaction). */
  execute(statements: readonly string[]): Promise<void>;
  /** All or none. */
  executeTogether(statements: readonly string[]): Promise<void>;
  /**
   * Tries out whether all would succeed, and changes nothing.
   * @throws LifeboatError DB_RIGHTS, RESTORE_REFUSED naming the statement without a setting's value
   */
  rehearse(statements: readonly string[]): Promise<void>;
  /** Ends its sessions first. Idempotent. */
  dropDatabase(name: string): Promise<void>;
  /** Runs a plain dump through psql. @throws LifeboatError RESTORE_FAILED with psql's first error */
  loadPlain(request: LoadRequest & { readonly content: AsyncIterable<Buffer> }): Promise<void>;
  /**
   * The same, with the rows of each table coming in over several connections at once; psql runs all else.
   * @throws LifeboatError RESTORE_FAILED
   */
  loadPlainPieces(
    request: ParallelLoadRequest & { readonly pieces: AsyncIterable<PlainPiece> },
  ): Promise<void>;
  /** An archive in the same way; pg_restore restores all else. @throws LifeboatError RESTORE_FAILED */
  loadArchivePieces(
    request: ParallelLoadRequest & { readonly pieces: AsyncIterable<ArchivePiece> },
  ): Promise<void>;
  /** The same, all or nothing, and durable when it returns. */
  loadTogether(request: LoadRequest & { readonly content: AsyncIterable<Buffer> }): Promise<void>;
  /** Some entries of an archive file as SQL. @throws LifeboatError RESTORE_FAILED with what pg_restore said */
  archiveAsSql(request: ArchiveRequest): AsyncIterable<Buffer>;
  /** The tables of a database. */
  presentTables(database: string): Promise<PresentTable[]>;
  /** Runs pg_restore on an archive file. @throws LifeboatError RESTORE_FAILED with pg_restore's first error */
  loadCustom(request: LoadRequest & { readonly path: string; readonly jobs: number }): Promise<void>;
  /** Opened before a load, whose commits do not wait for the disk. */
  witness(database: string): Promise<CrashWitness>;
  /** Exact, as `SELECT count(*)` says. Tables are counted at once, all else when `loaded` is kept. */
  countRows(request: CountRequest): Promise<FoundRows>;
  /** Whether the database holds anything of a user's; text such as `3 tables, 1 function`. */
  contentsOf(database: string): Promise<string | undefined>;
  /**
   * All statements in one transaction, while every session of the databases in `vacated` is ended again and again, so
   * that clients which reconnect at once cannot keep a rename waiting. They meet the new database.
   * @throws LifeboatError RESTORE_FAILED: `restored` is left in place, and the hint says how to use it
   */
  swap(request: SwapIn): Promise<void>;
  close(): Promise<void>;
}

export interface CrashWitness {
  /**
   * All that was committed since it was opened is on the disk.
   * @throws LifeboatError RESTORE_FAILED when the server may have crashed meanwhile, and forgotten some of it
   */
  settle(): Promise<void>;
  close(): Promise<void>;
}

export interface LoadRequest {
  readonly database: string;
  readonly tools: RestoreTools;
  readonly interrupted: AbortSignal;
  readonly onProgress: (rawBytes: number) => void;
}

export interface ParallelLoadRequest extends LoadRequest {
  /** Connections that take rows, and jobs of pg_restore. */
  readonly jobs: number;
  /** All rows are in and committed; indexes, keys and all else that comes after them are not. */
  readonly onRowsLoaded: () => void;
}

/** A file beside an unpacked archive, of the entries that are to be taken from it. */
export const LIST_SUFFIX = '.list';

export interface ArchiveRequest {
  readonly tools: RestoreTools;
  readonly path: string;
  /** dumpIds, in the order in which they are to come; `undefined` for all. */
  readonly selected: readonly number[] | undefined;
  readonly interrupted: AbortSignal;
}

export interface SwapIn {
  readonly statements: readonly string[];
  readonly vacated: readonly string[];
  /** The database that becomes the target. */
  readonly restored: string;
}

export interface CountRequest {
  readonly database: string;
  readonly tables: readonly CountedTable[];
  /** The whole database; a count ends when it is broken. */
  readonly loaded: Promise<unknown>;
  readonly interrupted: AbortSignal;
}

/** How fast earlier restores on this host were; missing or unreadable is no error, the plan then uses set rates. */
export interface RateBook {
  read(): Promise<MeasuredRates | undefined>;
  record(rates: MeasuredRates): Promise<void>;
}
