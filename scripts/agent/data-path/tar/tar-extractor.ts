import { onDisk } from '../../host/durable-file.ts';
import { ExtractionFolder, type FileOwner } from './extraction-folder.ts';
import type { FileDigest } from './file-digest.ts';
import { UnpackedFile } from './unpacked-file.ts';
import { VolumeExtractor } from './volume-extractor.ts';

export interface TarExtractionOptions {
  /** Absolute, and there already. Files that are in it give way to those of the archive. */
  readonly folder: string;
  /** Whom everything is given to; needs root. */
  readonly owner?: FileOwner;
  /** Links of `pg_tblspc/<oid>` are never made: where they lead is the caller's decision. */
  readonly onTablespaceLink?: (link: {
    readonly oid: number;
    readonly target: string;
  }) => void | Promise<void>;
  /** Which files are read again at once: they stay in the kernel's cache. @param name a character for each byte */
  readonly readAgain?: (name: string) => boolean;
  /** Members kept in memory instead of on disk, by name: `tablespace_map`. */
  readonly keep?: readonly string[];
  /** The checksum to take of a file while it is written. @param name a character for each byte */
  readonly digestOf?: (name: string) => FileDigest | undefined;
  /** Once the file was brought to the disk; its name was not. */
  readonly onDigest?: (name: string, hex: string) => void;
}

/** So much is written before the disk is told to begin with it; see `startWriteBack`. */
const WRITE_BACK_STEP = 64 * 1024 * 1024;

/**
 * Unpacks tar archives below one folder, several at a time: a `volume` for each. Folders get the mode 0700 and files
 * 0600, whatever the archive says, as PostgreSQL wants them.
 */
export class TarExtraction {
  readonly options: TarExtractionOptions;
  readonly folder: ExtractionFolder;
  /** Contents of the members to be kept, by name. */
  readonly kept = new Map<string, Buffer>();
  files = 0;
  /** Bytes of files. */
  bytes = 0;
  #unsynced = 0;
  #writingBack = false;
  #failure: unknown;

  constructor(options: TarExtractionOptions) {
    this.options = options;
    this.folder = new ExtractionFolder(options.folder, options.owner);
  }

  /** @param size in bytes, that it is going to have */
  async createFile(place: Buffer, size: number): Promise<UnpackedFile> {
    const file = await this.folder.createFile(place);
    const isReadAgain = this.options.readAgain?.(place.toString('latin1'));
    return isReadAgain ? UnpackedFile.cached(file) : await UnpackedFile.over(file, size);
  }

  /**
   * The kernel would keep gigabytes in memory until the server syncs all its files at its start, and the processor would
   * wait for the disk then; so the disk works meanwhile. One file at a time: more would take the thread pool.
   * @param what for the error
   */
  startWriteBack(file: UnpackedFile, what: string, bytes: number): void {
    if (file.isDirect) return;
    this.#unsynced += bytes;
    if (this.#writingBack || this.#unsynced < WRITE_BACK_STEP) return;
    this.#unsynced = 0;
    this.#writingBack = true;
    void onDisk(what, () => file.datasync())
      .catch((error: unknown) => {
        // Linux tells of bytes that did not reach the disk once: whoever syncs the file later on does not hear of it.
        this.#failure ??= error;
      })
      .finally(() => {
        this.#writingBack = false;
      });
  }

  /** @throws LifeboatError DISK_FULL, DISK_FAILED for bytes that did not reach the disk, as far as is known by now */
  requireWritten(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** @param where the archive, as errors name it */
  volume(where: string): VolumeExtractor {
    return new VolumeExtractor(this, where);
  }
}
