import type { Bucket } from './bucket.ts';
import { checksumHeader } from './checksums.ts';
import type { Encryption, ObjectAttributes, ObjectVersion } from './object-record.ts';
import { header, type S3Request } from './s3-request.ts';
import { invalidArgument, s3Error } from './s3-error.ts';
import { textOf, parseXml, childOf } from './xml.ts';

/** Kept as they came and given back by GET and HEAD. */
const KEPT_HEADERS = [
  'content-type',
  'cache-control',
  'content-disposition',
  'content-encoding',
  'content-language',
  'expires',
] as const;

const STORAGE_CLASSES = new Set([
  'STANDARD',
  'STANDARD_IA',
  'ONEZONE_IA',
  'INTELLIGENT_TIERING',
  'REDUCED_REDUNDANCY',
  'GLACIER',
  'GLACIER_IR',
  'DEEP_ARCHIVE',
]);
/** Must be restored to another class before they can be read. */
export const ARCHIVED_CLASSES = new Set(['GLACIER', 'DEEP_ARCHIVE']);

const MAX_METADATA_BYTES = 2048;
const METADATA_PREFIX = 'x-amz-meta-';
const ACCOUNT = '000000000000';

/** What a PutObject, CopyObject or CreateMultipartUpload says about the object. @throws S3Error when it says so badly. */
export function attributesOf(request: S3Request, bucket: Bucket, region: string): ObjectAttributes {
  return {
    headers: keptHeaders(request),
    metadata: metadataOf(request),
    storageClass: storageClassOf(request),
    encryption: encryptionOf(request, bucket, region),
  };
}

function keptHeaders(request: S3Request): Record<string, string> {
  const kept: Record<string, string> = { 'content-type': 'binary/octet-stream' };
  for (const name of KEPT_HEADERS) {
    const value = header(request, name);
    if (value !== undefined) kept[name] = value;
  }
  // aws-chunked is how the body travelled, not what it is.
  const encoding = (kept['content-encoding'] ?? '')
    .split(',')
    .map((each) => each.trim())
    .filter((each) => each !== '' && each !== 'aws-chunked');
  delete kept['content-encoding'];
  if (encoding.length > 0) kept['content-encoding'] = encoding.join(',');
  return kept;
}

function metadataOf(request: S3Request): Record<string, string> {
  const metadata: Record<string, string> = {};
  let size = 0;
  for (const name of Object.keys(request.headers)) {
    if (!name.startsWith(METADATA_PREFIX)) continue;
    // Header bytes arrive as Latin-1; what the client meant is UTF-8.
    const value = Buffer.from(header(request, name) ?? '', 'latin1').toString('utf8');
    metadata[name.slice(METADATA_PREFIX.length)] = value;
    size += name.length - METADATA_PREFIX.length + Buffer.byteLength(value);
  }
  if (size > MAX_METADATA_BYTES)
    throw s3Error('MetadataTooLarge', 'Your metadata headers exceed the maximum allowed metadata size', {
      fields: { Size: String(size), MaxSizeAllowed: String(MAX_METADATA_BYTES) },
    });
  return metadata;
}

function storageClassOf(request: S3Request): string {
  const storageClass = header(request, 'x-amz-storage-class') ?? 'STANDARD';
  if (!STORAGE_CLASSES.has(storageClass))
    throw s3Error('InvalidStorageClass', 'The storage class you specified is not valid', {
      fields: { StorageClassRequested: storageClass },
    });
  return storageClass;
}

function encryptionOf(request: S3Request, bucket: Bucket, region: string): Encryption {
  const algorithm = header(request, 'x-amz-server-side-encryption');
  if (header(request, 'x-amz-server-side-encryption-customer-algorithm') !== undefined)
    throw s3Error('NotImplemented', 'The local S3 does not keep objects under customer-provided keys.');
  if (algorithm === undefined) return defaultEncryption(bucket, region);
  const keyId = header(request, 'x-amz-server-side-encryption-aws-kms-key-id');
  if (algorithm === 'AES256') {
    if (keyId === undefined) return { algorithm };
    throw invalidArgument(
      'x-amz-server-side-encryption',
      algorithm,
      'Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms',
    );
  }
  if (algorithm !== 'aws:kms' && algorithm !== 'aws:kms:dsse')
    throw invalidArgument(
      'x-amz-server-side-encryption',
      algorithm,
      'The encryption method specified is not supported',
    );
  const bucketKey = header(request, 'x-amz-server-side-encryption-bucket-key-enabled') === 'true';
  return { algorithm, keyId: keyArn(keyId, region), ...(bucketKey ? { bucketKey } : {}) };
}

/** The bucket's own setting; S3 encrypts with AES256 where there is none. */
function defaultEncryption(bucket: Bucket, region: string): Encryption {
  const document = bucket.settings.documents.encryption;
  if (document === undefined) return { algorithm: 'AES256' };
  const rule = childOf(parseXml(Buffer.from(document), 'ServerSideEncryptionConfiguration'), 'Rule');
  const settings = childOf(rule, 'ApplyServerSideEncryptionByDefault');
  const algorithm = textOf(settings, 'SSEAlgorithm');
  if (algorithm !== 'aws:kms' && algorithm !== 'aws:kms:dsse') return { algorithm: 'AES256' };
  const bucketKey = textOf(rule, 'BucketKeyEnabled') === 'true';
  return {
    algorithm,
    keyId: keyArn(textOf(settings, 'KMSMasterKeyID'), region),
    ...(bucketKey ? { bucketKey } : {}),
  };
}

/** S3 answers with the key's ARN, however it was named. */
function keyArn(keyId: string | undefined, region: string): string {
  if (keyId?.startsWith('arn:') === true) return keyId;
  return `arn:aws:kms:${region}:${ACCOUNT}:${keyId?.startsWith('alias/') === true ? '' : 'key/'}${keyId ?? 'aws-s3-default'}`;
}

type AnswerHeaders = Record<string, string | undefined>;

export function encryptionHeaders({ algorithm, keyId, bucketKey }: Encryption): AnswerHeaders {
  return {
    'x-amz-server-side-encryption': algorithm,
    'x-amz-server-side-encryption-aws-kms-key-id': keyId,
    'x-amz-server-side-encryption-bucket-key-enabled': bucketKey === true ? 'true' : undefined,
  };
}

/** Without versioning there is no version id in answers; a suspended bucket's says `null`. */
export const versionHeader = (bucket: Bucket, versionId: string): AnswerHeaders => ({
  'x-amz-version-id': bucket.settings.versioning === undefined ? undefined : versionId,
});

export function checksumHeaders(version: Pick<ObjectVersion, 'checksum'>): AnswerHeaders {
  if (version.checksum === undefined) return {};
  const { algorithm, type, value } = version.checksum;
  return { [checksumHeader(algorithm)]: value, 'x-amz-checksum-type': type };
}

/** What GET and HEAD say about an object. */
export function objectHeaders(bucket: Bucket, version: ObjectVersion): AnswerHeaders {
  const { attributes, tags, retention, legalHold } = version;
  const headers: AnswerHeaders = {
    ...attributes.headers,
    ...encryptionHeaders(attributes.encryption),
    ...versionHeader(bucket, version.versionId),
    etag: `"${version.etag}"`,
    'last-modified': new Date(version.modifiedAt).toUTCString(),
    'accept-ranges': 'bytes',
    'x-amz-storage-class': attributes.storageClass === 'STANDARD' ? undefined : attributes.storageClass,
    'x-amz-tagging-count': Object.keys(tags).length > 0 ? String(Object.keys(tags).length) : undefined,
    'x-amz-object-lock-mode': retention?.mode,
    'x-amz-object-lock-retain-until-date':
      retention === undefined ? undefined : new Date(retention.until).toISOString(),
    'x-amz-object-lock-legal-hold': legalHold === true ? 'ON' : undefined,
  };
  for (const [name, value] of Object.entries(attributes.metadata))
    headers[METADATA_PREFIX + name] = asHeaderValue(value);
  return headers;
}

/** ASCII goes out as it came in; anything else as S3 does it, in RFC 2047's encoded words. */
function asHeaderValue(value: string): string {
  if (/^[\t\x20-\x7e]*$/.test(value)) return value;
  return `=?UTF-8?B?${Buffer.from(value).toString('base64')}?=`;
}
