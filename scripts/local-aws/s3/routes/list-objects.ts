import { xmlAnswer, type Answer } from '../answer.ts';
import type { Bucket } from '../bucket.ts';
import type { BucketCall } from '../call.ts';
import { compareKeys } from '../key-order.ts';
import {
  commonPrefixesXml,
  endsInDelimiter,
  listingQuery,
  ownerXml,
  pageOf,
  type Listed,
  type ListingQuery,
  type Page,
} from '../listing.ts';
import type { ObjectVersion } from '../object-record.ts';
import { invalidArgument } from '../s3-error.ts';
import { leaf, node, xmlDocument } from '../xml.ts';

interface CurrentObject extends Listed {
  readonly version: ObjectVersion;
}

function currentObjects(bucket: Bucket): CurrentObject[] {
  return bucket.keys.sorted().flatMap(({ key, versions }) => {
    const [version] = versions;
    return version === undefined || version.deleteMarker ? [] : [{ key, version }];
  });
}

/** Where a page starts: after a key, and after a common prefix when the page before ended with one. */
interface Start {
  readonly after: string | undefined;
  readonly afterPrefix: string | undefined;
}

function pageFor(
  { bucket }: BucketCall,
  query: ListingQuery,
  { after, afterPrefix }: Start,
): Page<CurrentObject> {
  return pageOf(currentObjects(bucket), {
    ...query,
    isAfter: ({ key }) => after === undefined || compareKeys(key, after) > 0,
    afterPrefix,
  });
}

function contentsXml(
  { key, version }: CurrentObject,
  encode: (key: string) => string,
  withOwner: boolean,
): string {
  return node(
    'Contents',
    leaf('Key', encode(key)),
    leaf('LastModified', new Date(version.modifiedAt).toISOString()),
    leaf('ETag', `"${version.etag}"`),
    leaf('ChecksumAlgorithm', version.checksum?.algorithm),
    leaf('ChecksumType', version.checksum?.type),
    leaf('Size', version.size),
    withOwner ? ownerXml() : '',
    leaf('StorageClass', version.attributes.storageClass),
  );
}

/** ListObjectsV2 */
export function listObjectsV2(call: BucketCall): Answer {
  const { request, bucket } = call;
  const token = request.query.get('continuation-token');
  const startAfter = request.query.get('start-after') ?? undefined;
  const query = listingQuery(request, 'max-keys');
  const { encode } = query;
  const page = pageFor(
    call,
    query,
    token === null ? { after: startAfter, afterPrefix: undefined } : fromToken(token),
  );
  const withOwner = request.query.get('fetch-owner') === 'true';
  return xmlAnswer(
    xmlDocument(
      'ListBucketResult',
      leaf('Name', bucket.name),
      ...query.echo,
      leaf('MaxKeys', query.limit),
      leaf('StartAfter', startAfter === undefined ? undefined : encode(startAfter)),
      leaf('ContinuationToken', token ?? undefined),
      leaf('KeyCount', page.entries.length + page.commonPrefixes.length),
      leaf('IsTruncated', page.isTruncated),
      leaf('NextContinuationToken', page.isTruncated ? tokenOf(page) : undefined),
      ...page.entries.map((entry) => contentsXml(entry, encode, withOwner)),
      commonPrefixesXml(page.commonPrefixes, encode),
    ),
  );
}

/** Opaque to clients: `k` and the last key, or `p` and the last common prefix. */
function tokenOf({ last }: Page<CurrentObject>): string {
  const text = last?.prefix === undefined ? `k${last?.entry?.key ?? ''}` : `p${last.prefix}`;
  return Buffer.from(text).toString('base64url');
}

function fromToken(token: string): Start {
  const text = Buffer.from(token, 'base64url').toString('utf8');
  if (text.startsWith('k')) return { after: text.slice(1), afterPrefix: undefined };
  if (text.startsWith('p')) return { after: text.slice(1), afterPrefix: text.slice(1) };
  throw invalidArgument('continuation-token', token, 'The continuation token provided is incorrect');
}

/** ListObjects, the old form: pages go on after a marker. */
export function listObjects(call: BucketCall): Answer {
  const marker = call.request.query.get('marker') ?? '';
  const query = listingQuery(call.request, 'max-keys');
  const { encode } = query;
  const page = pageFor(call, query, {
    after: marker,
    afterPrefix: endsInDelimiter(marker, query) ? marker : undefined,
  });
  const next = page.last?.prefix ?? page.last?.entry?.key ?? '';
  return xmlAnswer(
    xmlDocument(
      'ListBucketResult',
      leaf('Name', call.bucket.name),
      ...query.echo,
      leaf('Marker', encode(marker)),
      leaf('MaxKeys', query.limit),
      leaf('IsTruncated', page.isTruncated),
      leaf('NextMarker', page.isTruncated && query.delimiter !== '' ? encode(next) : undefined),
      ...page.entries.map((entry) => contentsXml(entry, encode, true)),
      commonPrefixesXml(page.commonPrefixes, encode),
    ),
  );
}
