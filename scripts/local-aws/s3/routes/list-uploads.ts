import { xmlAnswer, type Answer } from '../answer.ts';
import type { BucketCall, ObjectCall } from '../call.ts';
import { checksumElement } from '../checksums.ts';
import { compareKeys } from '../key-order.ts';
import { commonPrefixesXml, limitOf, listingQuery, nextMarkerXml, ownerXml, pageAfter } from '../listing.ts';
import type { PartRecord, UploadRecord } from '../object-record.ts';
import { leaf, node, xmlDocument } from '../xml.ts';
import { findUpload } from './multipart-upload.ts';

const compareUploads = (a: UploadRecord, b: UploadRecord): number =>
  compareKeys(a.key, b.key) || a.initiatedAt - b.initiatedAt || compareKeys(a.uploadId, b.uploadId);

/** ListMultipartUploads: the unfinished ones, by key and age. */
export function listMultipartUploads({ request, bucket }: BucketCall): Answer {
  const marker = {
    key: request.query.get('key-marker') ?? '',
    id: request.query.get('upload-id-marker') ?? '',
  };
  const query = listingQuery(request, 'max-uploads');
  const { encode } = query;
  const sorted = [...bucket.uploads.all()].sort(compareUploads);
  const page = pageAfter(
    sorted.map((upload) => ({ key: upload.key, id: upload.uploadId, upload })),
    query,
    marker,
  );
  return xmlAnswer(
    xmlDocument(
      'ListMultipartUploadsResult',
      leaf('Bucket', bucket.name),
      ...query.echo,
      leaf('KeyMarker', encode(marker.key)),
      leaf('UploadIdMarker', marker.id),
      leaf('MaxUploads', query.limit),
      nextMarkerXml(page, query, 'NextUploadIdMarker'),
      ...page.entries.map(({ upload }) => uploadXml(upload, encode)),
      commonPrefixesXml(page.commonPrefixes, encode),
    ),
  );
}

function uploadXml(upload: UploadRecord, encode: (key: string) => string): string {
  return node(
    'Upload',
    leaf('Key', encode(upload.key)),
    leaf('UploadId', upload.uploadId),
    ownerXml('Initiator'),
    ownerXml(),
    leaf('StorageClass', upload.attributes.storageClass),
    leaf('Initiated', new Date(upload.initiatedAt).toISOString()),
    leaf('ChecksumAlgorithm', upload.checksumAlgorithm),
    leaf('ChecksumType', upload.checksumType),
  );
}

/** ListParts of one unfinished upload. */
export function listParts(call: ObjectCall): Answer {
  const { upload, parts } = findUpload(call);
  const marker = Number(call.request.query.get('part-number-marker') ?? 0);
  const limit = limitOf(call.request, 'max-parts');
  const rest = [...parts.values()]
    .filter(({ partNumber }) => partNumber > marker)
    .sort((a, b) => a.partNumber - b.partNumber);
  const page = rest.slice(0, limit);
  const isTruncated = rest.length > page.length;
  return xmlAnswer(
    xmlDocument(
      'ListPartsResult',
      leaf('Bucket', call.bucket.name),
      leaf('Key', upload.key),
      leaf('UploadId', upload.uploadId),
      ownerXml('Initiator'),
      ownerXml(),
      leaf('StorageClass', upload.attributes.storageClass),
      leaf('PartNumberMarker', marker),
      leaf('NextPartNumberMarker', isTruncated ? page.at(-1)?.partNumber : undefined),
      leaf('MaxParts', limit),
      leaf('IsTruncated', isTruncated),
      leaf('ChecksumAlgorithm', upload.checksumAlgorithm),
      leaf('ChecksumType', upload.checksumType),
      ...page.map((part) => partXml(part, upload)),
    ),
  );
}

function partXml(part: PartRecord, { checksumAlgorithm }: UploadRecord): string {
  return node(
    'Part',
    leaf('PartNumber', part.partNumber),
    leaf('LastModified', new Date(part.modifiedAt).toISOString()),
    leaf('ETag', `"${part.etag}"`),
    leaf('Size', part.size),
    checksumAlgorithm === undefined ? '' : leaf(checksumElement(checksumAlgorithm), part.checksum),
  );
}
