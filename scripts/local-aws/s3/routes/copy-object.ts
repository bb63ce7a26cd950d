import { xmlAnswer, type Answer } from '../answer.ts';
import type { Bucket } from '../bucket.ts';
import { etagOf, newVersionId, type ObjectCall } from '../call.ts';
import { checksumElement, type Checksum } from '../checksums.ts';
import { WriteCondition } from '../conditions.ts';
import { findVersion } from '../find-version.ts';
import { lockOf } from '../object-lock.ts';
import { attributesOf, encryptionHeaders, versionHeader } from '../object-attributes.ts';
import { wholeSeconds, type ObjectAttributes, type ObjectVersion } from '../object-record.ts';
import { decodeUri, header } from '../s3-request.ts';
import { invalidArgument, s3Error } from '../s3-error.ts';
import { tagsOfHeader } from '../tags.ts';
import { leaf, xmlDocument } from '../xml.ts';

const MAX_COPY = 5 * 1024 ** 3;

/** The object that x-amz-copy-source names. @throws S3Error InvalidArgument, NoSuchBucket, NoSuchKey, … */
function findSource(call: ObjectCall): { bucket: Bucket; key: string; version: ObjectVersion } {
  const source = header(call.request, 'x-amz-copy-source') ?? '';
  const match = /^\/?([^/]+)\/([^?]+)(?:\?versionId=(.+))?$/.exec(source);
  if (match === null)
    throw invalidArgument('x-amz-copy-source', source, 'Copy Source must mention the source bucket and key');
  const bucket = call.store.bucket(decodeUri(match[1] ?? ''));
  const key = decodeUri(match[2] ?? '');
  const query = new URLSearchParams(match[3] === undefined ? {} : { versionId: match[3] });
  const version = findVersion({ ...call, bucket, key, request: { ...call.request, query } });
  return { bucket, key, version };
}

/** CopyObject: the bytes are linked, not copied. */
export function copyObject(call: ObjectCall): Answer {
  const { request, bucket, key, now } = call;
  new WriteCondition(request, bucket, key).check();
  const source = findSource(call);
  if (source.version.size > MAX_COPY)
    throw s3Error('InvalidRequest', 'The specified copy source is larger than the maximum allowable size');
  const attributes = copiedAttributes(call, source.version);
  if (source.bucket === bucket && source.key === key && isSame(call, source.version, attributes))
    throw s3Error(
      'InvalidRequest',
      "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.",
    );
  const version: ObjectVersion = {
    versionId: newVersionId(bucket),
    deleteMarker: false,
    modifiedAt: wholeSeconds(now),
    // A copy is one part, so S3 gives a multipart object's copy another ETag.
    etag: source.version.parts === undefined ? source.version.etag : etagOf(undefined),
    size: source.version.size,
    segments: source.version.segments.map(({ file, size }) => ({
      file: bucket.data.linkFrom(source.bucket.data, file),
      size,
    })),
    checksum: wholeChecksum(source.version.checksum),
    attributes,
    tags:
      header(request, 'x-amz-tagging-directive') === 'REPLACE' ? tagsOfHeader(request) : source.version.tags,
    ...lockOf(request, bucket, now),
  };
  bucket.keys.add(key, version);
  return xmlAnswer(
    xmlDocument(
      'CopyObjectResult',
      leaf('LastModified', new Date(version.modifiedAt).toISOString()),
      leaf('ETag', `"${version.etag}"`),
      ...checksumLeaves(version.checksum),
    ),
    {
      ...encryptionHeaders(attributes.encryption),
      ...versionHeader(bucket, version.versionId),
      'x-amz-copy-source-version-id': versionHeader(source.bucket, source.version.versionId)[
        'x-amz-version-id'
      ],
    },
  );
}

function copiedAttributes(call: ObjectCall, source: ObjectVersion): ObjectAttributes {
  const own = attributesOf(call.request, call.bucket, call.region);
  if (header(call.request, 'x-amz-metadata-directive') === 'REPLACE') return own;
  return { ...own, headers: source.attributes.headers, metadata: source.attributes.metadata };
}

function isSame({ request }: ObjectCall, source: ObjectVersion, { storageClass }: ObjectAttributes): boolean {
  return (
    request.headers['x-amz-metadata-directive'] !== 'REPLACE' &&
    request.headers['x-amz-server-side-encryption'] === undefined &&
    storageClass === source.attributes.storageClass
  );
}

/** A composite checksum describes parts that the copy does not have; the local S3 does not read the bytes for a new one. */
const wholeChecksum = (checksum: Checksum | undefined): Checksum | undefined =>
  checksum?.type === 'FULL_OBJECT' ? checksum : undefined;

export const checksumLeaves = (checksum: Checksum | undefined): string[] =>
  checksum === undefined
    ? []
    : [leaf(checksumElement(checksum.algorithm), checksum.value), leaf('ChecksumType', checksum.type)];
