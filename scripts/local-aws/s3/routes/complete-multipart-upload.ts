import { createHash } from 'node:crypto';
import { xmlAnswer, type Answer } from '../answer.ts';
import { newVersionId, type ObjectCall } from '../call.ts';
import {
  checkedValue,
  checksumElement,
  checksumHeader,
  compositeChecksum,
  fullObjectCrc32,
  type Checksum,
} from '../checksums.ts';
import { WriteCondition } from '../conditions.ts';
import { encryptionHeaders, versionHeader } from '../object-attributes.ts';
import type { ObjectVersion, PartRecord, UploadRecord } from '../object-record.ts';
import { header, type S3Request } from '../s3-request.ts';
import { malformedXml, s3Error } from '../s3-error.ts';
import { randomId } from '../state-files.ts';
import type { FinishedUpload, OpenUpload } from '../upload-index.ts';
import { childrenOf, leaf, parseXml, textOf, xmlDocument, type XmlElement } from '../xml.ts';
import { checksumLeaves } from './copy-object.ts';
import { findUpload, uploadIdOf } from './multipart-upload.ts';

const MIN_PART = 5 * 1024 ** 2;

export async function completeMultipartUpload(call: ObjectCall): Promise<Answer> {
  const { request, bucket, key } = call;
  const condition = new WriteCondition(request, bucket, key);
  const document = await call.body.document();
  const finished = bucket.uploads.finished(uploadIdOf(call));
  if (finished?.key === key) return repeatedAnswer(call, finished);
  const open = findUpload(call);
  const parts = chosenParts(parseXml(document, 'CompleteMultipartUpload'), open);
  const checksum = objectChecksum(open.upload, parts);
  const size = parts.reduce((sum, part) => sum + part.size, 0);
  checkDeclaredWhole(request, open.upload, checksum, size);
  condition.check();
  // Nothing is awaited from the check on: see state-files.ts.
  const version = versionOf(call, open.upload, parts, { checksum, size });
  bucket.keys.add(key, version);
  bucket.uploads.finish(open.upload.uploadId, new Set(parts.map(({ file }) => file)), {
    key,
    etag: version.etag,
    versionId: version.versionId,
  });
  return resultAnswer(call, version);
}

/** The parts that the request lists. @throws S3Error MalformedXML, InvalidPartOrder, InvalidPart, EntityTooSmall */
function chosenParts(document: XmlElement, { upload, parts }: OpenUpload): readonly PartRecord[] {
  const listed = childrenOf(document, 'Part');
  if (listed.length === 0) throw malformedXml();
  let last = 0;
  const chosen = listed.map((element) => {
    const partNumber = Number(textOf(element, 'PartNumber') ?? Number.NaN);
    if (!Number.isInteger(partNumber)) throw malformedXml();
    if (partNumber <= last)
      throw s3Error(
        'InvalidPartOrder',
        'The list of parts was not in ascending order. Parts must be ordered by part number.',
        { fields: { UploadId: upload.uploadId } },
      );
    last = partNumber;
    return chosenPart(element, upload, parts.get(partNumber), partNumber);
  });
  for (const part of chosen.slice(0, -1))
    if (part.size < MIN_PART)
      throw s3Error('EntityTooSmall', 'Your proposed upload is smaller than the minimum allowed size', {
        fields: {
          ProposedSize: String(part.size),
          MinSizeAllowed: String(MIN_PART),
          PartNumber: String(part.partNumber),
          ETag: part.etag,
        },
      });
  return chosen;
}

function chosenPart(
  element: XmlElement,
  upload: UploadRecord,
  part: PartRecord | undefined,
  partNumber: number,
): PartRecord {
  const etag = (textOf(element, 'ETag') ?? '').replaceAll('"', '');
  const algorithm = upload.checksumAlgorithm;
  const checksum = algorithm === undefined ? undefined : textOf(element, checksumElement(algorithm));
  if (part === undefined || part.etag !== etag || (checksum !== undefined && checksum !== part.checksum))
    throw s3Error(
      'InvalidPart',
      "One or more of the specified parts could not be found. The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.",
      { fields: { UploadId: upload.uploadId, PartNumber: String(partNumber), ETag: etag } },
    );
  if (upload.checksumType === 'COMPOSITE' && checksum === undefined)
    throw s3Error(
      'InvalidRequest',
      `The upload was created using a ${algorithm?.toLowerCase() ?? ''} checksum. The complete request must include the checksum for each part. It was missing for part ${partNumber} in the request.`,
    );
  return part;
}

function objectChecksum(upload: UploadRecord, parts: readonly PartRecord[]): Checksum | undefined {
  if (upload.checksumAlgorithm === undefined) return undefined;
  const values = parts.map(({ checksum = '', size }) => ({ checksum, size }));
  if (upload.checksumType === 'FULL_OBJECT') return fullObjectCrc32(values);
  return compositeChecksum(
    upload.checksumAlgorithm,
    values.map((part) => part.checksum),
  );
}

/** What the request says about the whole object must be so. @throws S3Error BadDigest, InvalidRequest */
function checkDeclaredWhole(
  request: S3Request,
  upload: UploadRecord,
  checksum: Checksum | undefined,
  size: number,
): void {
  const expectedSize = header(request, 'x-amz-mp-object-size');
  if (expectedSize !== undefined && Number(expectedSize) !== size)
    throw s3Error(
      'InvalidRequest',
      `The provided 'x-amz-mp-object-size' header value ${expectedSize} does not match what was computed: ${size}`,
    );
  const type = header(request, 'x-amz-checksum-type')?.toUpperCase();
  if (type !== undefined && type !== upload.checksumType)
    throw s3Error(
      'InvalidRequest',
      `The upload was created using the ${upload.checksumType ?? 'null'} checksum mode. The complete request must use the same checksum mode.`,
    );
  const algorithm = upload.checksumAlgorithm ?? 'CRC32';
  const declared = header(request, checksumHeader(algorithm));
  if (declared === undefined) return;
  const given = upload.checksumType === 'FULL_OBJECT' ? checkedValue(algorithm, declared) : declared;
  if (given.split('-')[0] !== checksum?.value.split('-')[0])
    throw s3Error(
      'BadDigest',
      `The ${algorithm.toLowerCase()} you specified did not match the calculated checksum.`,
    );
}

function versionOf(
  call: ObjectCall,
  upload: UploadRecord,
  parts: readonly PartRecord[],
  { checksum, size }: { checksum: Checksum | undefined; size: number },
): ObjectVersion {
  return {
    versionId: newVersionId(call.bucket),
    deleteMarker: false,
    // S3 dates a multipart object by when the upload was started.
    modifiedAt: upload.initiatedAt,
    etag: `${call.md5Etags ? md5OfMd5s(parts) : randomId(16)}-${parts.length}`,
    size,
    segments: parts.map((part) => ({ file: part.file, size: part.size })),
    parts: parts.length,
    checksum,
    attributes: upload.attributes,
    tags: upload.tags,
    retention: upload.retention,
    legalHold: upload.legalHold,
  };
}

function md5OfMd5s(parts: readonly PartRecord[]): string {
  const hash = createHash('md5');
  for (const { etag } of parts) hash.update(Buffer.from(etag, 'hex'));
  return hash.digest('hex');
}

function resultAnswer({ request, bucket, key }: ObjectCall, version: ObjectVersion): Answer {
  return xmlAnswer(
    xmlDocument(
      'CompleteMultipartUploadResult',
      leaf('Location', `http://${header(request, 'host') ?? ''}/${bucket.name}/${encodeURIComponent(key)}`),
      leaf('Bucket', bucket.name),
      leaf('Key', key),
      leaf('ETag', `"${version.etag}"`),
      ...checksumLeaves(version.checksum),
    ),
    {
      ...encryptionHeaders(version.attributes.encryption),
      ...versionHeader(bucket, version.versionId),
    },
  );
}

/** S3 answers a repeated completion as it did the first time, also when the client never saw that answer. */
function repeatedAnswer(call: ObjectCall, finished: FinishedUpload): Answer {
  const version = call.bucket.keys
    .versions(finished.key)
    .find((each) => each.versionId === finished.versionId && each.etag === finished.etag);
  if (version !== undefined) return resultAnswer(call, version);
  findUpload(call);
  throw new Error('an upload is both open and finished');
}
