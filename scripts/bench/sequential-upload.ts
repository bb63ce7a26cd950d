/**
 * The upload step of the old pipeline, where `aws s3 cp` may be missing: one part after the other, each read, sent and
 * answered before the next. A program of its own, as the AWS CLI is.
 */
import { open } from 'node:fs/promises';
import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';

/** As the AWS CLI cuts them. */
const PART_SIZE = 8 * 1024 * 1024;

const { UPLOAD_FILE: path = '', UPLOAD_BUCKET: Bucket, UPLOAD_KEY: Key } = process.env;
const client = new S3Client({ forcePathStyle: true });
const { UploadId } = await client.send(
  new CreateMultipartUploadCommand({
    Bucket,
    Key,
    StorageClass: 'STANDARD_IA',
    ServerSideEncryption: 'AES256',
    ChecksumAlgorithm: 'CRC32',
  }),
);
const file = await open(path, 'r');
const buffer = Buffer.allocUnsafe(PART_SIZE);
const Parts = [];
for (let PartNumber = 1; ; PartNumber += 1) {
  const { bytesRead } = await file.read(buffer, 0, PART_SIZE, null);
  if (bytesRead === 0 && PartNumber > 1) break;
  const Body = buffer.subarray(0, bytesRead);
  const { ETag, ChecksumCRC32 } = await client.send(
    new UploadPartCommand({ Bucket, Key, UploadId, PartNumber, Body, ChecksumAlgorithm: 'CRC32' }),
  );
  Parts.push({ PartNumber, ETag, ChecksumCRC32 });
}
await file.close();
await client.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts } }));
client.destroy();
