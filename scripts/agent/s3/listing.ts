import type { ListedObject } from '../ports/store.ts';
import type { S3Api } from './s3-api.ts';

/** Page by page; of a versioned bucket the current versions, without what a delete marker hides. */
export async function* listObjects(api: S3Api, prefix: string): AsyncGenerator<ListedObject> {
  let token: string | undefined;
  do {
    const command = new api.sdk.ListObjectsV2Command({
      Bucket: api.bucket,
      Prefix: api.fullKey(prefix),
      // XML cannot carry every byte that a key may hold.
      EncodingType: 'url',
      ...(token === undefined ? {} : { ContinuationToken: token }),
    });
    const page = await api.call('s3:ListBucket', prefix, (client) => client.send(command));
    for (const {
      Key: encoded,
      Size: size,
      LastModified: modifiedAt,
      StorageClass: storageClass,
    } of page.Contents ?? []) {
      const key = api.relativeKey(decodeKey(encoded ?? '', page.EncodingType));
      // The console's "folder" is an empty object named like the prefix.
      if (key === '' || modifiedAt === undefined) continue;
      yield { key, size: size ?? 0, modifiedAt, storageClass: storageClass ?? 'STANDARD' };
    }
    token = page.IsTruncated ? page.NextContinuationToken : undefined;
  } while (token !== undefined);
}

/** The names between `prefix` and the next slash; S3 rolls up what lies below each. */
export async function* listFolders(api: S3Api, prefix: string): AsyncGenerator<string> {
  let token: string | undefined;
  do {
    const command = new api.sdk.ListObjectsV2Command({
      Bucket: api.bucket,
      Prefix: api.fullKey(prefix),
      Delimiter: '/',
      EncodingType: 'url',
      ...(token === undefined ? {} : { ContinuationToken: token }),
    });
    const page = await api.call('s3:ListBucket', prefix, (client) => client.send(command));
    for (const { Prefix: encoded } of page.CommonPrefixes ?? []) {
      const folder = api.relativeKey(decodeKey(encoded ?? '', page.EncodingType));
      yield folder.slice(prefix.length, -1);
    }
    token = page.IsTruncated ? page.NextContinuationToken : undefined;
  } while (token !== undefined);
}

/** Proves that the bucket is there and may be listed under our prefix, which is all that a narrow policy grants. */
export async function probeList(api: S3Api): Promise<void> {
  const command = new api.sdk.ListObjectsV2Command({
    Bucket: api.bucket,
    Prefix: api.fullKey(''),
    MaxKeys: 1,
  });
  await api.call('s3:ListBucket', '', (client) => client.send(command));
}

/** @param encoding what the server says it did: some stand-ins leave the wish for `url` aside */
export function decodeKey(key: string, encoding: string | undefined): string {
  return encoding === 'url' ? decodeURIComponent(key.replaceAll('+', ' ')) : key;
}
