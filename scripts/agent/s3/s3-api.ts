import type { GetObjectCommandOutput, HeadObjectCommandOutput } from '@aws-sdk/client-s3';
import type { ByteRange, StoredObject } from '../ports/store.ts';
import type { S3Settings } from '../settings.ts';
import type { S3Connection, S3Sdk } from './client.ts';
import { s3Error } from './s3-error.ts';

export interface S3Object extends StoredObject {
  /** Without quotes; the MD5 of the bytes only as long as no KMS key and no parts are involved. */
  readonly etag: string | undefined;
}

/** The bucket as the parts of the store see it: keys without the prefix, LifeboatErrors instead of the SDK's. */
export class S3Api {
  readonly sdk: S3Sdk;
  readonly bucket: string;
  readonly kmsKeyId: string | undefined;
  readonly maxAttempts: number;
  readonly #prefix: string;
  readonly #connection: S3Connection;
  readonly #interrupted: AbortSignal | undefined;

  constructor(
    connection: S3Connection,
    { bucket, prefix, kmsKeyId }: S3Settings,
    interrupted: AbortSignal | undefined,
  ) {
    this.#connection = connection;
    this.#interrupted = interrupted;
    this.sdk = connection.sdk;
    this.maxAttempts = connection.maxAttempts;
    this.bucket = bucket;
    this.kmsKeyId = kmsKeyId;
    this.#prefix = prefix === '' ? '' : `${prefix}/`;
  }

  fullKey(key: string): string {
    return this.#prefix + key;
  }

  /** The reverse of fullKey. */
  relativeKey(fullKey: string): string {
    return fullKey.slice(this.#prefix.length);
  }

  urlOf(key: string): string {
    return `s3://${this.bucket}/${this.fullKey(key)}`;
  }

  /** Bucket and Key of every request on one object. */
  at(key: string): { Bucket: string; Key: string } {
    return { Bucket: this.bucket, Key: this.fullKey(key) };
  }

  /**
   * Runs one call and turns what it throws into a LifeboatError.
   * @param action as an IAM policy names it: `s3:PutObject`. @param key what it is about
   * @throws LifeboatError also the interruption's, at once
   */
  async call<T>(
    action: string,
    key: string,
    work: (client: S3Connection['client']) => Promise<T>,
  ): Promise<T> {
    return await this.untilInterrupted(this.tidyUp(action, key, work));
  }

  /** A call that an interruption asks for and does not end. */
  async tidyUp<T>(
    action: string,
    key: string,
    work: (client: S3Connection['client']) => Promise<T>,
  ): Promise<T> {
    try {
      return await work(this.#connection.client);
    } catch (error) {
      throw s3Error(error, { action, url: this.urlOf(key) });
    }
  }

  /** S3 may take minutes to answer, with every try; whoever presses Ctrl-C does not wait for that. */
  async untilInterrupted<T>(work: Promise<T>): Promise<T> {
    const interrupted = this.#interrupted;
    if (!interrupted) return await work;
    return await new Promise<T>((resolve, reject) => {
      const stop = (): void => reject(interrupted.reason as Error);
      if (interrupted.aborted) stop();
      interrupted.addEventListener('abort', stop);
      const settled = (): void => interrupted.removeEventListener('abort', stop);
      void work.then(resolve, reject).finally(settled);
    });
  }

  throwIfInterrupted(): void {
    this.#interrupted?.throwIfAborted();
  }

  /** Size, checksum and how it is kept. @throws LifeboatError BACKUP_NOT_FOUND */
  async head(key: string): Promise<S3Object> {
    const command = new this.sdk.HeadObjectCommand({ ...this.at(key), ChecksumMode: 'ENABLED' });
    const answer = await this.call('s3:GetObject', key, (client) => client.send(command));
    return describeObject(key, answer);
  }

  async get(key: string, range: ByteRange | undefined): Promise<GetObjectCommandOutput> {
    const command = new this.sdk.GetObjectCommand({
      ...this.at(key),
      ...(range
        ? { Range: `bytes=${range.offset}-${range.offset + range.length - 1}` }
        : { ChecksumMode: 'ENABLED' }),
    });
    return await this.call('s3:GetObject', key, (client) => client.send(command));
  }

  close(): void {
    this.#connection.client.destroy();
  }
}

function describeObject(key: string, answer: HeadObjectCommandOutput): S3Object {
  const composite = answer.ChecksumType === 'COMPOSITE' || answer.ChecksumCRC32?.includes('-');
  return {
    key,
    size: answer.ContentLength ?? 0,
    modifiedAt: answer.LastModified ?? new Date(0),
    // S3 names every class but the usual one.
    storageClass: answer.StorageClass ?? 'STANDARD',
    // A checksum of the parts' checksums says nothing about the whole to who does not know the parts.
    crc32: composite ? undefined : answer.ChecksumCRC32,
    encryption: answer.ServerSideEncryption,
    metadata: answer.Metadata ?? {},
    etag: plainEtag(answer.ETag),
  };
}

export function plainEtag(etag: string | undefined): string | undefined {
  return etag?.replaceAll('"', '');
}
