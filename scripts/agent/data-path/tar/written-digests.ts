import type { BackupManifest } from './backup-manifest.ts';
import { fileDigest, type FileDigest } from './file-digest.ts';
import type { TarExtractionOptions } from './tar-extractor.ts';

/** Takes the checksums that a backup manifest has, while the files are written. */
export class WrittenDigests {
  /** Of files that are on the disk, in hex, by path as the manifest has it. */
  readonly written = new Map<string, string>();
  readonly #checksums: ReadonlyMap<string, BackupManifest['files'][number]['checksum']>;

  constructor({ files }: BackupManifest) {
    this.#checksums = new Map(files.map(({ path, checksum }) => [path, checksum]));
  }

  /** For an archive whose members lie below `folder`, which ends in a slash or is empty. */
  below(folder: string): Pick<Required<TarExtractionOptions>, 'digestOf' | 'onDigest'> {
    return {
      digestOf: (name): FileDigest | undefined => {
        const checksum = this.#checksums.get(folder + name);
        return checksum && fileDigest(checksum.algorithm);
      },
      onDigest: (name, hex) => void this.written.set(folder + name, hex),
    };
  }
}
