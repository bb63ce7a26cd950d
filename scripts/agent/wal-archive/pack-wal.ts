import { createHash } from 'node:crypto';
import { isSharedArrayBuffer } from 'node:util/types';
import { zstdCompressSync } from 'node:zlib';
import { chunkSizeFor, compressFrame, zstdParameters } from '../data-path/compress-frame.ts';
import { PackingThreads } from './packing-threads.ts';

/** WAL as an object in S3 holds it. */
export interface PackedWal {
  readonly body: Buffer;
  /** Hexadecimal. */
  readonly rawSha256: string;
}

const FRAME = { level: 1, wal: true };
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
      // The threads have told it. A fault of the bytes shows again below.
    }
  }
  const body = compressFrame(bytes, { compression: 'zstd', ...FRAME });
  return { rawSha256: sha256(bytes), body: await body };
}

/** As `packWal`, in this thread and at once. */
export function packWalNow(bytes: Uint8Array): PackedWal {
  const body = zstdCompressSync(bytes, { params: zstdParameters(FRAME), chunkSize: chunkSizeFor(bytes) });
  return { rawSha256: sha256(bytes), body };
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
