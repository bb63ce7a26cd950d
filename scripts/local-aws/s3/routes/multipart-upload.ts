import { emptyAnswer, xmlAnswer, type Answer } from '../answer.ts';
import { etagOf, type ObjectCall } from '../call.ts';
import { checksumHeader, parseAlgorithm, type ChecksumAlgorithm, type ChecksumType } from '../checksums.ts';
import { attributesOf, encryptionHeaders } from '../object-attributes.ts';
import { lockOf, requireChecksumForLock } from '../object-lock.ts';
import { wholeSeconds, type PartRecord, type UploadRecord } from '../object-record.ts';
import { header, type S3Request } from '../s3-request.ts';
import { invalidArgument, s3Error } from '../s3-error.ts';
import { randomId } from '../state-files.ts';
import { tagsOfHeader } from '../tags.ts';
import type { OpenUpload } from '../upload-index.ts';
import { leaf, xmlDocument } from '../xml.ts';
import { receiveFile } from './put-object.ts';

const MAX_PARTS = 10_000;

const noSuchUpload = (uploadId: string): Error =>
  s3Error(
    'NoSuchUpload',
    'The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.',
    { fields: { UploadId: uploadId } },
  );

export const uploadIdOf = ({ request }: ObjectCall): string => request.query.get('uploadId') ?? '';

/** @throws S3Error NoSuchUpload, also when the upload is of another key. */
export function findUpload(call: ObjectCall): OpenUpload {
  const uploadId = uploadIdOf(call);
  const found = call.bucket.uploads.find(uploadId);
  if (found === undefined || found.upload.key !== call.key) throw noSuchUpload(uploadId);
  return found;
}

export function createMultipartUpload(call: ObjectCall): Answer {
  const { request, bucket, key, now } = call;
  const { algorithm, type } = checksumPlan(request);
  const upload: UploadRecord = {
    uploadId: randomId(24),
    key,
    initiatedAt: wholeSeconds(now),
    checksumAlgorithm: algorithm,
    checksumType: type,
    attributes: attributesOf(request, bucket, call.region),
    tags: tagsOfHeader(request),
    ...lockOf(request, bucket, now),
  };
  bucket.uploads.start(upload);
  return xmlAnswer(
    xmlDocument(
      'InitiateMultipartUploadResult',
      leaf('Bucket', bucket.name),
      leaf('Key', key),
      leaf('UploadId', upload.uploadId),
    ),
    {
      ...encryptionHeaders(upload.attributes.encryption),
      'x-amz-checksum-algorithm': algorithm,
      'x-amz-checksum-type': type,
    },
  );
}

/** Only a CRC can be combined from those of the parts, so only CRCs may be of the full object. */
function checksumPlan(request: S3Request): {
  algorithm?: ChecksumAlgorithm | undefined;
  type?: ChecksumType | undefined;
} {
  const name = header(request, 'x-amz-checksum-algorithm');
  const type = header(request, 'x-amz-checksum-type')?.toUpperCase();
  if (name === undefined) {
    if (type === undefined) return {};
    throw s3Error(
      'InvalidRequest',
      'The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.',
    );
  }
  const algorithm = parseAlgorithm(name);
  if (type === undefined || type === 'COMPOSITE') return { algorithm, type: 'COMPOSITE' };
  if (type !== 'FULL_OBJECT' || algorithm !== 'CRC32')
    throw s3Error(
      'InvalidRequest',
      `The ${type} checksum type cannot be used with the ${algorithm.toLowerCase()} checksum algorithm.`,
    );
  return { algorithm, type };
}

export async function uploadPart(call: ObjectCall): Promise<Answer> {
  const { upload } = findUpload(call);
  const partNumber = Number(call.request.query.get('partNumber'));
  if (!Number.isInteger(partNumber) || partNumber < 1 || partNumber > MAX_PARTS)
    throw invalidArgument(
      'partNumber',
      call.request.query.get('partNumber') ?? '',
      'Part number must be an integer between 1 and 10000, inclusive',
    );
  checkPartChecksum(call, upload);
  requireChecksumForLock(upload, call.body.hasContentMd5 || call.body.declared !== undefined, 'Part');
  const { file, received } = await receiveFile(call, upload.checksumAlgorithm);
  // The upload may have ended while the body arrived.
  if (call.bucket.uploads.find(upload.uploadId) === undefined) {
    await file.discard();
    throw noSuchUpload(upload.uploadId);
  }
  const part: PartRecord = {
    partNumber,
    etag: etagOf(received.md5),
    size: received.size,
    file: call.bucket.data.keep(file),
    checksum:
      upload.checksumAlgorithm === undefined ? undefined : received.computed.get(upload.checksumAlgorithm),
    modifiedAt: wholeSeconds(call.now),
  };
  call.bucket.uploads.putPart(upload.uploadId, part);
  return emptyAnswer(200, {
    etag: `"${part.etag}"`,
    ...encryptionHeaders(upload.attributes.encryption),
    ...(upload.checksumAlgorithm === undefined
      ? {}
      : { [checksumHeader(upload.checksumAlgorithm)]: part.checksum }),
  });
}

/** A part's checksum must be of the algorithm named at the start; a composite one needs it on every part. */
function checkPartChecksum({ body }: ObjectCall, upload: UploadRecord): void {
  const expected = upload.checksumAlgorithm;
  const actual = body.declared?.algorithm;
  if (actual === expected || (actual === undefined && upload.checksumType !== 'COMPOSITE')) return;
  throw s3Error(
    'InvalidRequest',
    `Checksum Type mismatch occurred, expected checksum Type: ${expected?.toLowerCase() ?? 'null'}, actual checksum Type: ${actual?.toLowerCase() ?? 'null'}`,
  );
}

export function abortMultipartUpload(call: ObjectCall): Answer {
  call.bucket.uploads.abort(findUpload(call).upload.uploadId);
  return emptyAnswer(204);
}
