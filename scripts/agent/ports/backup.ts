import type { Compression, DumpFormat } from '../../../lib/domain/backup/keys.ts';
import type { DatabaseDescription, Manifest } from '../../../lib/domain/backup/manifest.ts';
import type { LongWork } from './host.ts';
import type { Journal } from './journal.ts';
import type { Channel } from './notify.ts';
import type { ObjectStore, Upload } from './store.ts';

/** Everything that `backup` touches. */
export interface BackupPorts extends LongWork {
  readonly source: BackupSource;
  readonly writer: DumpWriter;
  readonly digests: DigestReader;
  /** BACKUP_DIR first, then the bucket where one is configured. */
  readonly stores: readonly [local: ObjectStore, s3?: ObjectStore];
  readonly journal: Journal;
  /** Empty when whoever started the run tells people of its outcome. */
  readonly channels: readonly Channel[];
}

/** Reads a stored object from end to end. */
export interface DigestReader {
  /** @throws LifeboatError what the store throws, or `interrupted` */
  digest(
    store: ObjectStore,
    key: string,
    options: { size: number; interrupted: AbortSignal; onProgress?: (bytes: number) => void },
  ): Promise<{ readonly size: number; readonly sha256: string }>;
  /** Base64, as S3 has it: a third of the time, for what the disk may have done to our own files. @throws as `digest` */
  checksum(
    store: ObjectStore,
    key: string,
    options: { size: number; interrupted: AbortSignal },
  ): Promise<{ readonly size: number; readonly crc32: string }>;
}

/** The database side of a backup. */
export interface BackupSource {
  /** Connects, and learns what the preflight needs to know. @throws LifeboatError DB_CONNECT */
  inspect(): Promise<SourceFacts>;
  /** Where the dump programs are. @throws LifeboatError CLIENT_MISSING */
  findDumpTools(serverMajor: number): Promise<DumpTools>;
  /** A consistent view of the database, held until `close`: what is described and what is dumped are the same instant. */
  openSnapshot(): Promise<SourceSnapshot>;
  /** Roles and tablespaces of the whole cluster. */
  dumpGlobals(tools: DumpTools, options: { rolePasswords: boolean }): Promise<DumpProcess>;
}

export interface SourceFacts {
  readonly version: string;
  readonly versionNumber: number;
  readonly systemIdentifier: string;
  readonly standby: boolean;
  readonly databaseBytes: number;
  readonly superuser: boolean;
  /** True when this role may read the roles’ passwords (pg_authid). */
  readonly mayReadPasswords: boolean;
  /** Tables, sequences and large objects that this role may not read, as `schema.name`; at most 20. */
  readonly unreadable: readonly string[];
}

export interface DumpTools {
  readonly pgDump: { readonly path: string; readonly version: string; readonly versionNumber: number };
  readonly pgDumpall: { readonly path: string; readonly version: string; readonly versionNumber: number };
}

export interface SourceSnapshot {
  describe(): Promise<SourceDescription>;
  dump(tools: DumpTools, format: DumpFormat): Promise<DumpProcess>;
  close(): Promise<void>;
}

/** What the manifest says of the database beside its rows. */
export interface SourceDescription {
  readonly database: DatabaseDescription;
  readonly extensions: Manifest['extensions'];
  readonly roles: readonly string[];
  readonly collations: Manifest['collations'];
  readonly materializedViews: Manifest['materializedViews'];
  readonly largeObjects: number;
  /** How the tables of the dump are to be told apart; tables not named are ordinary ones. */
  readonly partitions: readonly { readonly schema: string; readonly name: string }[];
  readonly extensionTables: readonly { readonly schema: string; readonly name: string }[];
  /** Unlogged or foreign tables and the like, whose rows the dump does not hold. */
  readonly warnings: readonly string[];
}

/** Returns a promise only when it needs time: most chunks are merely copied. */
export type ChunkHandler = (chunk: Buffer) => Promise<void> | undefined;

/** A running pg_dump or pg_dumpall. */
export interface DumpProcess {
  /**
   * Hands its standard output over, in order, to the end. A chunk's memory is the handler's until its promise resolves, or
   * until it returns when there is none.
   * @throws what the handler throws
   */
  read(handle: ChunkHandler): Promise<void>;
  /** Resolves once it ended well. @throws LifeboatError DUMP_FAILED with its status and what it said */
  finished(): Promise<{ warnings: string }>;
  /** Ends it; resolves when it is gone. Idempotent. */
  kill(): Promise<void>;
}

/** Compresses, hashes and counts a dump in one pass into every sink. */
export interface DumpWriter {
  /**
   * @param sinks each gets every byte; one that fails is left out from then on and its error returned, the others go on
   * @throws LifeboatError what the dump process or `interrupted` says
   */
  write(dump: DumpProcess, options: DumpWriterOptions): Promise<WrittenDump>;
  /** A small dump, gzipped in memory: the globals. */
  collect(dump: DumpProcess): Promise<CollectedDump>;
}

export interface CollectedDump {
  readonly body: Buffer;
  readonly size: number;
  readonly sha256: string;
  readonly crc32: string;
  readonly complete: boolean;
  readonly warnings: string;
}

export interface DumpWriterOptions {
  readonly format: DumpFormat;
  readonly compression: Compression;
  readonly level: number | undefined;
  readonly sinks: readonly Upload[];
  readonly interrupted: AbortSignal;
  readonly onProgress?: (rawBytes: number, table: string) => void;
}

export interface WrittenDump {
  readonly size: number;
  readonly sha256: string;
  readonly crc32: string;
  readonly level: number;
  readonly rawSize: number;
  readonly rawFrameSize: number;
  readonly frameSizes: readonly number[];
  readonly tables: readonly { readonly schema: string; readonly name: string; readonly rows: number }[];
  /** The dump's own end mark was seen. */
  readonly complete: boolean;
  readonly restricted: boolean;
  /** What pg_dump said on standard error although it ended well. */
  readonly warnings: string;
  /** The sinks' errors, by their index; empty when every sink took every byte. */
  readonly sinkErrors: ReadonlyMap<number, unknown>;
}
