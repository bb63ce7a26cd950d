import { LifeboatError } from '../../../lib/domain/errors.ts';
import {
  formatWalMetadata,
  parseWalMetadata,
  type LastCommit,
} from '../../../lib/domain/wal/wal-metadata.ts';
import { releaseMemory } from '../data-path/release-memory.ts';
import type { PackedSegment, StoredWal } from '../ports/wal.ts';
import type { ObjectStore } from '../ports/store.ts';
import { packWal } from './pack-wal.ts';

/** Whose WAL it is, and what is known of it. */
export interface WalWriter {
  readonly app: string;
  readonly runId: string;
  readonly lastCommit: LastCommit | undefined;
}

/** @throws LifeboatError WAL_CONFLICT when other WAL lies there, S3_… */
export async function writeWal(
  store: ObjectStore,
  key: string,
  bytes: Buffer,
  writer: WalWriter,
): Promise<StoredWal> {
  const packed = await prepareWal(store, key, bytes, writer);
  return await packed.put();
}

/** The two halves of `writeWal`: between them the bytes may be used again. */
export async function prepareWal(
  store: ObjectStore,
  key: string,
  bytes: Buffer,
  { app, runId, lastCommit }: WalWriter,
): Promise<PackedSegment> {
  const rawSize = bytes.length;
  const { body, rawSha256 } = await packWal(bytes);
  const metadata = formatWalMetadata({ app, runId, rawSize, rawSha256, lastCommit });
  const isSame = async (): Promise<boolean> => {
    const there = await store.head(key);
    // S3 says it of an upload that was under way at the same moment as well, which then came to nothing.
    if (!there) throw refusedForNothing(store.urlOf(key));
    const held = parseWalMetadata(there.metadata, store.urlOf(key));
    return held.rawSize === rawSize && held.rawSha256 === rawSha256;
  };
  return {
    size: body.length,
    put: async () => {
      const stored = await putUnlessSame(store, key, body, { metadata, isSame });
      releaseMemory(body);
      return stored;
    },
  };
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

function refusedForNothing(url: string): LifeboatError {
  return new LifeboatError('S3_UNAVAILABLE', `S3 takes nothing under ${url}, and holds nothing there`, {
    hint: 'Two uploads met under that name. The stream tries again by itself, and so does PostgreSQL with archive_command.',
  });
}

function conflict(url: string, cause: LifeboatError): LifeboatError {
  return new LifeboatError('WAL_CONFLICT', `${url} holds other WAL than this server has under that name`, {
    cause,
  });
}
