import type { DumpFormat } from '../../../lib/domain/backup/keys.ts';
import type { CountedTable } from '../../../lib/domain/backup/manifest.ts';
import type {
  RestoreNeeds,
  RestoreTools,
  ServerFacts,
  TargetFacts,
} from '../../../lib/domain/restore/preflight-facts.ts';
import type { FoundRows } from '../../../lib/domain/restore/row-counts.ts';
import type { PresentTable } from '../../../lib/domain/restore/table-plan.ts';
import type { ArchivePiece, PlainPiece } from './dump-files.ts';

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
  /** All or none. @param database where; a maintenance database when left out */
  executeTogether(statements: readonly string[], database?: string): Promise<void>;
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
