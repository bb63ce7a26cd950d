import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { encodeCrc32 } from '../../../lib/domain/crc32.ts';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import type { StoredObject, WriteOptions, WrittenObject } from '../ports/store.ts';
import { listObjects } from './listing.ts';
import { objectParameters, runIdOf } from './object-parameters.ts';
import { plainEtag, type S3Api, type S3Object } from './s3-api.ts';
import { S3Error } from './s3-error.ts';

/** What was sent, to be recognised in what S3 says it holds. */
export interface Sent {
  readonly size: number;
  readonly crc32: string;
  readonly runId: string | undefined;
  /** The ETag that S3 gives to such an object when no KMS key is involved; `undefined` where MD5 is not to be had. */
  etag(): string | undefined;
}

/** Writes a whole object from memory under a free key. @throws LifeboatError OBJECT_EXISTS, S3_… */
export async function putObject(
  api: S3Api,
  key: string,
  body: Buffer,
  options: WriteOptions,
): Promise<WrittenObject> {
  const sent: Sent = {
    size: body.length,
    crc32: encodeCrc32(crc32(body)),
    runId: runIdOf(options.metadata),
    etag: () => md5(body),
  };
  return await unlessContested(api, key, sent, async () => {
    const command = new api.sdk.PutObjectCommand({
      ...api.at(key),
      ...objectParameters(api, body.length, options),
      IfNoneMatch: '*',
      ChecksumCRC32: sent.crc32,
      ContentLength: body.length,
      Body: body,
    });
    const answer = await api.call('s3:PutObject', key, (client) => client.send(command));
    // S3 sums up what it stores, and refuses what differs from the sum that was sent: there is nothing left to ask.
    // Servers that keep no checksum answer without one.
    if (answer.ChecksumCRC32 === sent.crc32) return { key, size: sent.size };
    return await confirm(api, key, sent, answer.ETag);
  });
}

/** Runs a conditional write, which returns the ETag that S3 answered, and asks S3 what it holds then. */
export async function writeOnce(
  api: S3Api,
  key: string,
  sent: Sent,
  write: () => Promise<string | undefined>,
): Promise<StoredObject> {
  return await unlessContested(api, key, sent, async () => await confirm(api, key, sent, await write()));
}

/**
 * The write's answer may have been lost and the SDK's next try have met our own object: that is success, anything else under
 * the key is not.
 */
async function unlessContested<T extends WrittenObject>(
  api: S3Api,
  key: string,
  sent: Sent,
  write: () => Promise<T>,
): Promise<T | StoredObject> {
  try {
    return await write();
  } catch (error) {
    if (isContested(error)) return await recogniseOwn(api, key, sent, error);
    throw error;
  }
}

async function confirm(api: S3Api, key: string, sent: Sent, etag: string | undefined): Promise<StoredObject> {
  const stored = await api.head(key);
  // Servers that keep no checksum may also leave the ETag out of their answer to the write.
  const answered = etag !== undefined && plainEtag(etag) === stored.etag && stored.crc32 === undefined;
  if (stored.size === sent.size && (answered || isSame(stored, sent))) return stored;
  throw new LifeboatError(
    'CORRUPT',
    `${api.urlOf(key)} is not what was sent: S3 holds ${describe(stored)}, sent were ${describe(sent)}`,
  );
}

/** Something is there already, or the multipart upload is gone because it was completed. */
function isContested(error: unknown): error is S3Error {
  return error instanceof S3Error && (error.code === 'OBJECT_EXISTS' || error.answer === 'NoSuchUpload');
}

async function recogniseOwn(api: S3Api, key: string, sent: Sent, refusal: S3Error): Promise<StoredObject> {
  const there = await findObject(api, key);
  // Refused, and yet nothing is there: the refusal is all that can be told.
  if (!there) throw refusal;
  if (isSame(there, sent)) return there;
  throw existsError(api, key, there, sent);
}

/** The object under `key` when it is the very one that is to be sent. @throws LifeboatError OBJECT_EXISTS for another's */
export async function findOwn(api: S3Api, key: string, sent: Sent): Promise<StoredObject | undefined> {
  const there = await findObject(api, key);
  if (!there || isSame(there, sent)) return there;
  throw existsError(api, key, there, sent);
}

/** @throws LifeboatError S3_DENIED for what is there and may not be read */
export async function findObject(api: S3Api, key: string): Promise<S3Object | undefined> {
  try {
    return await api.head(key);
  } catch (error) {
    if (!(error instanceof LifeboatError)) throw error;
    if (error.code === 'BACKUP_NOT_FOUND') return undefined;
    // S3 says so of a missing object as well to whom it lets list under a prefix only, as the stack's host.
    if (error.code === 'S3_DENIED' && !(await isListed(api, key))) return undefined;
    throw error;
  }
}

async function isListed(api: S3Api, key: string): Promise<boolean> {
  // Of all keys that begin with it, the key itself comes first.
  for await (const listed of listObjects(api, key)) return listed.key === key;
  return false;
}

function existsError(api: S3Api, key: string, there: StoredObject, sent: Sent): LifeboatError {
  return new LifeboatError(
    'OBJECT_EXISTS',
    `${api.urlOf(key)} holds another object already: ${describe(there)}, not ${describe(sent)}`,
  );
}

/** By checksum; where the server keeps none, by the ETag, or by the run that wrote it when a KMS key hides the MD5. */
function isSame(there: S3Object, sent: Sent): boolean {
  if (there.size !== sent.size) return false;
  if (there.crc32 !== undefined) return there.crc32 === sent.crc32;
  const etag = isMd5(there) ? sent.etag() : undefined;
  if (etag !== undefined) return there.etag === etag;
  return sent.runId !== undefined && runIdOf(there.metadata) === sent.runId;
}

function isMd5({ etag, encryption }: S3Object): boolean {
  return !encryption?.startsWith('aws:kms') && /^[0-9a-f]{32}(?:-\d+)?$/.test(etag ?? '');
}

function describe({ size, crc32: checksum }: { size: number; crc32?: string | undefined }): string {
  return `${size} bytes with CRC-32 ${checksum ?? '(none kept)'}`;
}

/** `undefined` under a FIPS policy, which has no MD5. */
export function md5(...bytes: readonly Buffer[]): string | undefined {
  try {
    const hash = createHash('md5');
    for (const piece of bytes) hash.update(piece);
    return hash.digest('hex');
  } catch {
    return undefined;
  }
}
