import type { BaseVolume } from '../../../lib/domain/base/base-manifest.ts';
import type { ObjectStore } from './store.ts';

/** Reading base backups again, without unpacking them anywhere. */
export interface BaseVerifier {
  /**
   * Reads a volume whole: every frame decodes to its length, the SHA-256 is the manifest's, and the tar in it is whole.
   * @returns the files in it
   * @throws LifeboatError CORRUPT, BACKUP_NOT_FOUND, S3_…, DISK_FAILED
   */
  readVolume(work: VolumeToRead): Promise<readonly StoredFile[]>;
  /** PostgreSQL's own list of files. @throws LifeboatError CORRUPT */
  parseManifest(bytes: Buffer, where: string): readonly StoredFile[];
}

export interface VolumeToRead {
  readonly store: ObjectStore;
  /** Of the backup's own folder. */
  readonly prefix: string;
  readonly volume: BaseVolume;
  readonly interrupted: AbortSignal;
  /** @param bytes of the volume as it is stored, so far */
  readonly onProgress: (bytes: number) => void;
}

/** Of a data directory or, in a tablespace's volumes, below it; a character for each byte. */
export interface StoredFile {
  readonly path: string;
  readonly size: number;
}
