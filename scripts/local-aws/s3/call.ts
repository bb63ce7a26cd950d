import type { Answer } from './answer.ts';
import type { Bucket } from './bucket.ts';
import { NULL_VERSION } from './object-record.ts';
import type { RequestBody } from './request-body.ts';
import type { S3Request } from './s3-request.ts';
import { randomId } from './state-files.ts';
import type { Store } from './store.ts';

/** One verified request with what its handler needs. */
export interface Call {
  readonly request: S3Request;
  readonly body: RequestBody;
  readonly store: Store;
  readonly region: string;
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** Whether ETags are MD5 sums (true to S3) or random (cheaper; S3's are neither promised to be MD5, nor are they with KMS). */
  readonly md5Etags: boolean;
}

export interface BucketCall extends Call {
  readonly bucket: Bucket;
}

export interface ObjectCall extends BucketCall {
  readonly key: string;
}

export type Handler<C extends Call> = (call: C) => Promise<Answer> | Answer;

export const newVersionId = (bucket: Bucket): string =>
  bucket.settings.versioning === 'Enabled' ? randomId(16) : NULL_VERSION;

export const etagOf = (md5: Buffer | undefined): string => md5?.toString('hex') ?? randomId(16);
