import { createHash } from 'node:crypto';
import { CRC32C_START, finishCrc32c, joinCrc32c, updateCrc32c } from '../wal/crc32c.ts';
import type { ManifestAlgorithm } from './backup-manifest.ts';

/** A file's checksum as the backup manifest has it. */
export interface FileDigest {
  update(bytes: Buffer): void;
  /** To be asked once. */
  hex(): string;
  /** Of what is written out of turn; `undefined` where the algorithm knows only one order. */
  stretch(): StretchDigest | undefined;
}

interface StretchDigest {
  update(bytes: Buffer): void;
  /** Takes it into the file's, behind all that this was given so far. */
  join(): void;
}

export function fileDigest(algorithm: ManifestAlgorithm): FileDigest {
  if (algorithm !== 'CRC32C') {
    const hash = createHash(algorithm.toLowerCase());
    return {
      update: (bytes) => void hash.update(bytes),
      hex: () => hash.digest('hex'),
      stretch: () => undefined,
    };
  }
  let state = CRC32C_START;
  return {
    update: (bytes) => {
      state = updateCrc32c(state, bytes);
    },
    // The manifest has the four bytes as they lie in memory.
    hex: () => {
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32LE(finishCrc32c(state));
      return bytes.toString('hex');
    },
    stretch: () => {
      let own = CRC32C_START;
      let length = 0;
      return {
        update: (bytes) => {
          own = updateCrc32c(own, bytes);
          length += bytes.length;
        },
        join: () => {
          state = ~joinCrc32c(finishCrc32c(state), finishCrc32c(own), length);
        },
      };
    },
  };
}
