import { createHash } from 'node:crypto';
import { isSharedArrayBuffer } from 'node:util/types';
import { promisify } from 'node:util';
import { constants, zstdCompress, zstdCompressSync, type ZstdOptions } from 'node:zlib';
import { PackingThreads } from './packing-threads.ts';

/** WAL as an object in S3 holds it. */
export interface PackedWal {
  readonly body: Buffer;
  /** Hexadecimal. */
  readonly rawSha256: string;
}

const LEVEL = 1;
const SMALLEST_CHUNK = 1024;
const compressed = promisify(zstdCompress);
const THREADS = new PackingThreads();

/**
 * One zstd frame, whatever the size: Node 24 decodes only the first of several, without a word.
 * @param bytes in shared memory they are packed by a thread beside this one, without a copy; they stay as they are until
 *   the promise settles
 */
export async function packWal(bytes: Buffer, threads = THREADS): Promise<PackedWal> {
  if (isSharedArrayBuffer(bytes.buffer)) {
    try {
      return await threads.pack(bytes);
    } catch {
      // The system may have no thread to give. A fault of any other kind shows again below.
    }
  }
  const body = compressed(bytes, zstdOptions(bytes));
  return { rawSha256: sha256(bytes), body: await body };
}

/** As `packWal`, in this thread and at once. */
export function packWalNow(bytes: Uint8Array): PackedWal {
  return { rawSha256: sha256(bytes), body: zstdCompressSync(bytes, zstdOptions(bytes)) };
}

/** zstd's own worker threads are never used: through node:zlib they lose data silently (nodejs/node #59899). */
function zstdOptions({ length }: Uint8Array): ZstdOptions {
  return {
    params: {
      [constants.ZSTD_c_compressionLevel]: LEVEL,
      // Off by default in zlib, and without it a flipped bit decodes cleanly.
      [constants.ZSTD_c_checksumFlag]: 1,
    },
    // One output buffer that fits whatever comes out: several would be put together in another one, for twice the memory.
    // What is not written to costs none.
    chunkSize: length + (length >> 8) + SMALLEST_CHUNK,
  };
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
