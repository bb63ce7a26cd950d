import type { DumpFormat } from '../../../lib/domain/backup/keys.ts';
import type { DumpFile, StoredFile } from '../../../lib/domain/backup/manifest.ts';
import type { DumpEntry } from '../../../lib/domain/restore/dump-entries.ts';
import type { DumpInspection } from '../../../lib/domain/restore/inspection.ts';
import type { ObjectStore } from './store.ts';

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

/** A file beside an unpacked archive, of the entries that are to be taken from it. */
export const LIST_SUFFIX = '.list';
