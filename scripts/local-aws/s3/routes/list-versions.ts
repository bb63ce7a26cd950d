import { xmlAnswer, type Answer } from '../answer.ts';
import type { Bucket } from '../bucket.ts';
import type { BucketCall } from '../call.ts';
import {
  commonPrefixesXml,
  listingQuery,
  nextMarkerXml,
  ownerXml,
  pageAfter,
  type ListedWithId,
} from '../listing.ts';
import type { ObjectVersion } from '../object-record.ts';
import { invalidArgument } from '../s3-error.ts';
import { leaf, node, xmlDocument } from '../xml.ts';

interface VersionEntry extends ListedWithId {
  readonly version: ObjectVersion;
  readonly isLatest: boolean;
}

function allVersions(bucket: Bucket): VersionEntry[] {
  return bucket.keys
    .sorted()
    .flatMap(({ key, versions }) =>
      versions.map((version, index) => ({ key, id: version.versionId, version, isLatest: index === 0 })),
    );
}

/** ListObjectVersions: every version and delete marker, newest first within a key. */
export function listObjectVersions({ request, bucket }: BucketCall): Answer {
  const marker = {
    key: request.query.get('key-marker') ?? '',
    id: request.query.get('version-id-marker') ?? '',
  };
  if (marker.id !== '' && marker.key === '')
    throw invalidArgument(
      'version-id-marker',
      marker.id,
      'A version-id marker cannot be specified without a key marker.',
    );
  const query = listingQuery(request, 'max-keys');
  const { encode } = query;
  const page = pageAfter(allVersions(bucket), query, marker);
  return xmlAnswer(
    xmlDocument(
      'ListVersionsResult',
      leaf('Name', bucket.name),
      ...query.echo,
      leaf('KeyMarker', encode(marker.key)),
      leaf('VersionIdMarker', marker.id),
      leaf('MaxKeys', query.limit),
      nextMarkerXml(page, query, 'NextVersionIdMarker'),
      ...page.entries.map((entry) => versionXml(entry, encode)),
      commonPrefixesXml(page.commonPrefixes, encode),
    ),
  );
}

function versionXml({ key, version, isLatest }: VersionEntry, encode: (key: string) => string): string {
  const identity = [
    leaf('Key', encode(key)),
    leaf('VersionId', version.versionId),
    leaf('IsLatest', isLatest),
  ];
  const modified = leaf('LastModified', new Date(version.modifiedAt).toISOString());
  if (version.deleteMarker) return node('DeleteMarker', ...identity, modified, ownerXml());
  return node(
    'Version',
    ...identity,
    modified,
    leaf('ETag', `"${version.etag}"`),
    leaf('ChecksumAlgorithm', version.checksum?.algorithm),
    leaf('ChecksumType', version.checksum?.type),
    leaf('Size', version.size),
    ownerXml(),
    leaf('StorageClass', version.attributes.storageClass),
  );
}
