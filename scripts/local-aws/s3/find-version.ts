import type { ObjectCall } from './call.ts';
import { versionHeader } from './object-attributes.ts';
import type { ObjectVersion } from './object-record.ts';
import { s3Error } from './s3-error.ts';

/** The version that a request names, or the current one. @throws S3Error NoSuchKey, NoSuchVersion, MethodNotAllowed */
export function findVersion({ bucket, key, request }: ObjectCall): ObjectVersion {
  const versionId = request.query.get('versionId');
  const versions = bucket.keys.versions(key);
  const found = versionId === null ? versions[0] : versions.find((each) => each.versionId === versionId);
  if (found === undefined) {
    if (versionId === null) throw noSuchKey(key);
    throw s3Error('NoSuchVersion', 'The specified version does not exist.', {
      fields: { Key: key, VersionId: versionId },
    });
  }
  if (!found.deleteMarker) return found;
  const headers = {
    'x-amz-delete-marker': 'true',
    ...definedHeaders(versionHeader(bucket, found.versionId)),
  };
  if (versionId === null) throw noSuchKey(key, headers);
  throw s3Error('MethodNotAllowed', 'The specified method is not allowed against this resource.', {
    fields: { Method: request.method, ResourceType: 'DeleteMarker' },
    headers: { ...headers, allow: 'DELETE' },
  });
}

const noSuchKey = (key: string, headers: Record<string, string> = {}): Error =>
  s3Error('NoSuchKey', 'The specified key does not exist.', { fields: { Key: key }, headers });

function definedHeaders(headers: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
}
