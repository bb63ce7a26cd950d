import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { encodeCrc32 } from '../../../lib/domain/crc32.ts';

/** Size, SHA-256 and CRC-32 of what was written. */
export class OutputDigest {
  readonly #sha256 = createHash('sha256');
  #crc32 = 0;
  #size = 0;

  update(bytes: Buffer): void {
    this.#sha256.update(bytes);
    this.#crc32 = crc32(bytes, this.#crc32);
    this.#size += bytes.length;
  }

  /** To be asked once. */
  result(): { size: number; sha256: string; crc32: string } {
    return { size: this.#size, sha256: this.#sha256.digest('hex'), crc32: encodeCrc32(this.#crc32) };
  }
}
