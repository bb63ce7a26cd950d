import type { CreateMultipartUploadCommandInput } from '@aws-sdk/client-s3';
import { OBJECT_METADATA } from '../../../lib/domain/names.ts';
import type { WriteOptions } from '../ports/store.ts';
import type { S3Api } from './s3-api.ts';

/** Below it STANDARD_IA costs more: S3 bills 128 KB at least. https://aws.amazon.com/s3/storage-classes/ */
const INFREQUENT_ACCESS_FROM = 128 * 1024;

type ObjectParameters = Pick<
  CreateMultipartUploadCommandInput,
  'ContentType' | 'Metadata' | 'ServerSideEncryption' | 'SSEKMSKeyId' | 'StorageClass'
>;

/**
 * How every object of ours is kept. No tags and no ACL: the host's role has no right to set either.
 * @param size bytes; `undefined` for a multipart upload, which is never small
 */
export function objectParameters(
  api: S3Api,
  size: number | undefined,
  options: WriteOptions,
): ObjectParameters {
  const { kmsKeyId } = api;
  return {
    StorageClass: size === undefined || size >= INFREQUENT_ACCESS_FROM ? 'STANDARD_IA' : 'STANDARD',
    ServerSideEncryption: kmsKeyId === undefined ? 'AES256' : 'aws:kms',
    ...(kmsKeyId === undefined ? {} : { SSEKMSKeyId: kmsKeyId }),
    Metadata: { ...options.metadata },
    ContentType: options.contentType ?? 'application/octet-stream',
  };
}

export function runIdOf(metadata: Readonly<Record<string, string>> | undefined): string | undefined {
  return metadata?.[OBJECT_METADATA.runId];
}
