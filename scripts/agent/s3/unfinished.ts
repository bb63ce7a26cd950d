import type { ListMultipartUploadsCommand, ListMultipartUploadsCommandOutput } from '@aws-sdk/client-s3';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import { abortMultipartUpload, createMultipartUpload } from './multipart.ts';
import { decodeKey } from './listing.ts';
import type { S3Api } from './s3-api.ts';

/** The multipart upload that proves the right to write; it is never completed, so no object of this name ever exists. */
const PROBE_KEY = '.lifeboat-write-probe';

/** Begins a write and gives it up: needs no right to delete, and leaves no object behind. */
export async function probeWrite(api: S3Api): Promise<void> {
  const uploadId = await createMultipartUpload(api, PROBE_KEY, {});
  // The user's own policy has no s3:AbortMultipartUpload: an upload without parts then stays, which holds no bytes and
  // costs nothing.
  await ignoreDenied(giveUp(api, PROBE_KEY, uploadId));
}

/**
 * Gives up the multipart uploads that a killed run left, its probe included. Another run's probe that is under way may go
 * with it: beginning it has proved the right by then.
 * @param prefix of keys, relative to the store's own
 */
export async function removeUnfinishedUploads(
  api: S3Api,
  prefix: string,
  belongs: (key: string) => boolean,
): Promise<void> {
  // Without the rights to list or abort them the bucket's lifecycle (AbortIncompleteMultipartUpload) has to: parts
  // without an object only cost storage, no later run meets them.
  await ignoreDenied(abortAll(api, prefix, belongs));
  await ignoreDenied(abortAll(api, PROBE_KEY, (key) => key === PROBE_KEY));
}

async function abortAll(api: S3Api, prefix: string, belongs: (key: string) => boolean): Promise<void> {
  for await (const { key, uploadId } of listUploads(api, prefix)) {
    if (!belongs(api.relativeKey(key))) continue;
    await giveUp(api, api.relativeKey(key), uploadId);
  }
}

/** Content when it was completed or given up by another meanwhile. */
async function giveUp(api: S3Api, key: string, uploadId: string): Promise<void> {
  await abortMultipartUpload(api, key, uploadId).catch((error: unknown) => {
    if (!(error instanceof LifeboatError) || error.code !== 'BACKUP_NOT_FOUND') throw error;
  });
}

async function* listUploads(api: S3Api, prefix: string): AsyncGenerator<{ key: string; uploadId: string }> {
  let from: { KeyMarker?: string | undefined; UploadIdMarker?: string | undefined } | undefined = {};
  while (from) {
    const command: ListMultipartUploadsCommand = new api.sdk.ListMultipartUploadsCommand({
      Bucket: api.bucket,
      Prefix: api.fullKey(prefix),
      EncodingType: 'url',
      ...from,
    });
    const page: ListMultipartUploadsCommandOutput = await api.call(
      's3:ListBucketMultipartUploads',
      prefix,
      (client) => client.send(command),
    );
    for (const { Key: key, UploadId: uploadId } of page.Uploads ?? []) {
      if (key && uploadId) yield { key: decodeKey(key, page.EncodingType), uploadId };
    }
    const next = page.NextKeyMarker && decodeKey(page.NextKeyMarker, page.EncodingType);
    from =
      page.IsTruncated && next ? { KeyMarker: next, UploadIdMarker: page.NextUploadIdMarker } : undefined;
  }
}

async function ignoreDenied(work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!(error instanceof LifeboatError) || error.code !== 'S3_DENIED') throw error;
  }
}
