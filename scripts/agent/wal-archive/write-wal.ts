import { createHash } from 'node:crypto';
import { promisify } from 'node:util';
import { constants, zstdCompress } from 'node:zlib';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import {
  formatWalMetadata,
  parseWalMetadata,
  type LastCommit,
} from '../../../lib/domain/wal/wal-metadata.ts';
import { releaseMemory } from '../data-path/release-memory.ts';
import type { StoredWal } from '../ports/wal.ts';
import type { ObjectStore } from '../ports/store.ts';

/** Whose WAL it is. */
export interface WalWriter {
  readonly app: string;
  readonly runId: string;
}

const LEVEL = 1;
const SMALLEST_CHUNK = 1024;
const compressed = promisify(zstdCompress);

/**
 * One zstd frame an object, whatever its size: Node 24 decodes only the first of several, without a word.
 * zstd's own worker threads are never used: through node:zlib they lose data silently (nodejs/node #59899).
 */
async function compressWal(bytes: Buffer): Promise<Buffer> {
  const params = {
    [constants.ZSTD_c_compressionLevel]: LEVEL,
    // Off by default in zlib, and without it a flipped bit decodes cleanly.
    [constants.ZSTD_c_checksumFlag]: 1,
  };
  // One output buffer that fits whatever comes out: several would be put together in another one, for twice the memory. What
  // is not written to costs none.
  const chunkSize = bytes.length + (bytes.length >> 8) + SMALLEST_CHUNK;
  return await compressed(bytes, { params, chunkSize });
}

export function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** @throws LifeboatError WAL_CONFLICT when other WAL lies there, S3_… */
export async function writeWal(
  store: ObjectStore,
  key: string,
  bytes: Buffer,
  { app, runId, lastCommit }: WalWriter & { readonly lastCommit: LastCommit | undefined },
): Promise<StoredWal> {
  const compressing = compressWal(bytes);
  const rawSha256 = sha256(bytes);
  const metadata = { app, runId, rawSize: bytes.length, rawSha256, lastCommit };
  const body = await compressing;
  const stored = await putUnlessSame(store, key, body, {
    metadata: formatWalMetadata(metadata),
    isSame: async () => {
      const there = await store.head(key);
      if (!there) return false;
      const held = parseWalMetadata(there.metadata, store.urlOf(key));
      return held.rawSize === bytes.length && held.rawSha256 === rawSha256;
    },
  });
  releaseMemory(body);
  return stored;
}

/** Small files that are kept as they are. @throws LifeboatError WAL_CONFLICT when there is another one, S3_… */
export async function writePlain(
  store: ObjectStore,
  key: string,
  content: Buffer,
  metadata: Readonly<Record<string, string>>,
): Promise<StoredWal> {
  return await putUnlessSame(store, key, content, {
    metadata,
    contentType: 'text/plain',
    isSame: async () => content.equals(await store.read(key)),
  });
}

/** Another version of zstd makes other bytes of the same WAL: whether the object is the same, the raw bytes tell. */
async function putUnlessSame(
  store: ObjectStore,
  key: string,
  body: Buffer,
  {
    metadata,
    contentType,
    isSame,
  }: {
    readonly metadata: Readonly<Record<string, string>>;
    readonly contentType?: string;
    readonly isSame: () => Promise<boolean>;
  },
): Promise<StoredWal> {
  try {
    await store.putOnce(key, body, { metadata, ...(contentType && { contentType }) });
  } catch (error) {
    if (!(error instanceof LifeboatError) || error.code !== 'OBJECT_EXISTS') throw error;
    if (!(await isSame())) throw conflict(store.urlOf(key), error);
  }
  return { key, size: body.length };
}

function conflict(url: string, cause: LifeboatError): LifeboatError {
  return new LifeboatError('WAL_CONFLICT', `${url} holds other WAL than this server has under that name`, {
    cause,
  });
}
