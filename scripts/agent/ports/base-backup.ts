import type { BaseManifest, BaseVolume } from '../../../lib/domain/base/base-manifest.ts';
import type { DigestReader } from './backup.ts';
import type { LongWork } from './host.ts';
import type { Journal } from './journal.ts';
import type { Channel } from './notify.ts';
import type { BackupEnd, BaseBackupStream, ReplicationServer } from './replication.ts';
import type { ObjectStore, Upload } from './store.ts';

/** Everything that `backup --kind base` touches. */
export interface BaseBackupPorts extends LongWork {
  readonly server: BaseBackupServer;
  readonly files: ClusterFiles;
  readonly configuration: ConfigurationReader;
  readonly writer: BaseWriter;
  readonly digests: DigestReader;
  /** The bucket takes the backup where one is configured, else BACKUP_DIR. */
  readonly stores: readonly [local: ObjectStore, s3?: ObjectStore];
  /** Where verifications leave what they found, beside S3. */
  readonly state: ObjectStore | undefined;
  readonly journal: Journal;
  /** Empty when whoever started the run tells people of its outcome. */
  readonly channels: readonly Channel[];
}

/** Who makes a base backup: a replication connection, or what reads the files itself. */
export type BackupSender = Pick<ReplicationServer, 'identify' | 'baseBackup' | 'close'>;

/** The cluster's files, where the server runs on this host. */
export interface ClusterFiles {
  /**
   * Looks whether the files of that very server lie here and may be read, over a connection of its own, which the sender keeps.
   * A full backup of a primary only.
   * @throws LifeboatError DB_CONNECT, DB_LOST, DB_QUERY
   */
  open(facts: BaseServerFacts): Promise<OpenedFiles>;
}

export type OpenedFiles =
  | {
      /** To be closed. Its backups are as those of a replication connection, with `backup_label` and `tablespace_map` behind `pg_control`. */
      readonly sender: BackupSender;
      /** The data directory. */
      readonly folder: string;
    }
  | {
      /** Why PostgreSQL must send them. */
      readonly reason: string;
      /** Whether somebody could change that, and would gain by it. */
      readonly mendable: boolean;
    };

/** The cluster. What only SQL tells comes over an ordinary connection; no file of it is opened. */
export interface BaseBackupServer {
  /** @throws LifeboatError DB_CONNECT, DB_QUERY */
  inspect(): Promise<BaseServerFacts>;
  /** Each call is a connection of its own. @throws LifeboatError DB_CONNECT, DB_RIGHTS */
  replicate(): Promise<ReplicationServer>;
  /** What the manifest says of the cluster, asked when the backup is over. */
  describe(): Promise<BaseServerDescription>;
}

export interface BaseServerFacts {
  readonly version: string;
  readonly versionNumber: number;
  readonly systemIdentifier: string;
  readonly standby: boolean;
  readonly dataChecksums: boolean;
  /** `minimal`, `replica` or `logical`. */
  readonly walLevel: string;
  readonly walSegmentSize: number;
  readonly blockSize: number;
  readonly maxWalSenders: number;
  readonly freeWalSenders: number;
  readonly maxReplicationSlots: number;
  readonly freeReplicationSlots: number;
  /** From 17 on: whether the server keeps account of changed blocks, without which there is no incremental backup. */
  readonly summarizesWal: boolean;
  /** Of all databases that this role may ask about. */
  readonly clusterBytes: number;
  readonly configuration: ServerConfiguration;
}

export interface ServerConfiguration {
  readonly systemIdentifier: string;
  /** The server's own address on this connection; `undefined` on a Unix socket. */
  readonly serverAddress: string | undefined;
  /** `undefined`, and no files: this role may not see them (it needs pg_read_all_settings). */
  readonly dataDirectory: string | undefined;
  readonly configFile: string | undefined;
  /** Absolute paths of what the server read its configuration from, `configFile` among them. */
  readonly files: readonly string[];
}

export interface BaseServerDescription {
  readonly settings: Readonly<Record<string, string>>;
  readonly databases: BaseManifest['databases'];
  readonly tablespaceNames: ReadonlyMap<number, string>;
  readonly build: ServerBuild;
  /** The server's clock, UTC with microseconds. */
  readonly now: string;
}

/** What the server's program says of itself, wherever it runs. */
export interface ServerBuild {
  /** As in the manifest: `x64`, `arm64`; `undefined`: it does not say. */
  readonly architecture: string | undefined;
  /** As in the manifest: `glibc 2.36`; `undefined`: it has no collation that would tell. */
  readonly libc: string | undefined;
}

export interface ConfigurationReader {
  /** Whether the server runs here, as far as its address and its data directory tell. */
  isThisHost(configuration: ServerConfiguration): Promise<boolean>;
  /**
   * What lies outside of the data directory, as Debian has it, for the backup of the data directory does not hold it. Without keys and
   * certificates. Never throws: no backup fails for want of a configuration file.
   */
  read(configuration: ServerConfiguration): Promise<FoundConfiguration>;
}

export interface FoundConfiguration {
  readonly files: readonly ConfigurationFile[];
  /** What could not be read; each is one sentence. */
  readonly warnings: readonly string[];
}

export interface ConfigurationFile {
  /** Absolute. */
  readonly path: string;
  readonly mode: number;
  readonly modifiedAt: Date;
  readonly body: Buffer;
}

/** Splits, compresses and hashes a base backup in one pass, and uploads each volume as it fills. */
export interface BaseWriter {
  /** @throws LifeboatError what the stream, an upload or `interrupted` says; whatever was not complete by then is given up */
  write(backup: BaseBackupStream, options: BaseWriterOptions): Promise<WrittenBase>;
  /** One volume, of the series `config`. */
  writeConfiguration(files: readonly ConfigurationFile[], options: BaseWriterOptions): Promise<BaseVolume>;
}

export interface BaseWriterOptions {
  /** @param name of a volume, or `backup_manifest` */
  readonly open: (name: string) => Promise<Upload>;
  /** zstd's; 1 when left out. */
  readonly level: number | undefined;
  /** Bytes. */
  readonly walSegmentSize: number;
  /** Told of each volume once it is stored; others are still being written. */
  readonly onVolume?: (volume: BaseVolume) => void;
  readonly interrupted: AbortSignal;
  /** @param rawBytes of archives so far. @param detail what is being copied */
  readonly onProgress?: (rawBytes: number, detail: string) => void;
}

export interface WrittenBase {
  readonly volumes: readonly BaseVolume[];
  readonly backupManifest: NonNullable<BaseManifest['backupManifest']>;
  /** Names of the WAL segments that the volumes hold whole. */
  readonly walSegments: readonly string[];
  readonly end: BackupEnd;
}
