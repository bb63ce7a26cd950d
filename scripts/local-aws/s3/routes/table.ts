import type { BucketCall, Call, Handler, ObjectCall } from '../call.ts';
import type { S3Request } from '../s3-request.ts';
import { s3Error } from '../s3-error.ts';
import { createBucket, deleteBucket, getBucketLocation, headBucket, listBuckets } from './buckets.ts';
import {
  documentHandlers,
  getBucketVersioning,
  getObjectLockConfiguration,
  putBucketVersioning,
  putObjectLockConfiguration,
} from './bucket-settings.ts';
import { completeMultipartUpload } from './complete-multipart-upload.ts';
import { copyObject } from './copy-object.ts';
import { deleteObject, deleteObjects } from './delete-objects.ts';
import { getObject, getObjectAttributes, headObject } from './get-object.ts';
import { listObjects, listObjectsV2 } from './list-objects.ts';
import { listMultipartUploads, listParts } from './list-uploads.ts';
import { listObjectVersions } from './list-versions.ts';
import { abortMultipartUpload, createMultipartUpload, uploadPart } from './multipart-upload.ts';
import {
  deleteObjectTagging,
  getObjectLegalHold,
  getObjectRetention,
  getObjectTagging,
  putObjectLegalHold,
  putObjectRetention,
  putObjectTagging,
} from './object-settings.ts';
import { putObject } from './put-object.ts';

interface RouteOf<Level extends string, C extends Call> {
  readonly level: Level;
  readonly method: string;
  /** Query parameters that must be there; of several routes that fit, the first of the table is taken. */
  readonly query: readonly string[];
  readonly header?: string;
  /** S3's name of it, as in faults and IAM policies. */
  readonly action: string;
  readonly handler: Handler<C>;
}

export type Route =
  | RouteOf<'service', Call>
  | RouteOf<'new-bucket', Call>
  | RouteOf<'bucket', BucketCall>
  | RouteOf<'object', ObjectCall>;

function object(method: string, query: string, action: string, handler: Handler<ObjectCall>): Route {
  return { level: 'object', method, query: query === '' ? [] : query.split('&'), action, handler };
}

function bucket(method: string, query: string, action: string, handler: Handler<BucketCall>): Route {
  return { level: 'bucket', method, query: query === '' ? [] : query.split('&'), action, handler };
}

const lifecycle = documentHandlers('lifecycle');
const policy = documentHandlers('policy');
const publicAccessBlock = documentHandlers('publicAccessBlock');
const encryption = documentHandlers('encryption');
const tagging = documentHandlers('tagging');

const ROUTES: readonly Route[] = [
  { level: 'service', method: 'GET', query: [], action: 'ListBuckets', handler: listBuckets },

  object('PUT', 'partNumber&uploadId', 'UploadPart', uploadPart),
  object('PUT', 'tagging', 'PutObjectTagging', putObjectTagging),
  object('PUT', 'retention', 'PutObjectRetention', putObjectRetention),
  object('PUT', 'legal-hold', 'PutObjectLegalHold', putObjectLegalHold),
  { ...object('PUT', '', 'CopyObject', copyObject), header: 'x-amz-copy-source' } as Route,
  object('PUT', '', 'PutObject', putObject),
  object('POST', 'uploads', 'CreateMultipartUpload', createMultipartUpload),
  object('POST', 'uploadId', 'CompleteMultipartUpload', completeMultipartUpload),
  object('GET', 'uploadId', 'ListParts', listParts),
  object('GET', 'tagging', 'GetObjectTagging', getObjectTagging),
  object('GET', 'retention', 'GetObjectRetention', getObjectRetention),
  object('GET', 'legal-hold', 'GetObjectLegalHold', getObjectLegalHold),
  object('GET', 'attributes', 'GetObjectAttributes', getObjectAttributes),
  object('GET', '', 'GetObject', getObject),
  object('HEAD', '', 'HeadObject', headObject),
  object('DELETE', 'uploadId', 'AbortMultipartUpload', abortMultipartUpload),
  object('DELETE', 'tagging', 'DeleteObjectTagging', deleteObjectTagging),
  object('DELETE', '', 'DeleteObject', deleteObject),

  bucket('GET', 'location', 'GetBucketLocation', getBucketLocation),
  bucket('GET', 'versioning', 'GetBucketVersioning', getBucketVersioning),
  bucket('PUT', 'versioning', 'PutBucketVersioning', putBucketVersioning),
  bucket('GET', 'object-lock', 'GetObjectLockConfiguration', getObjectLockConfiguration),
  bucket('PUT', 'object-lock', 'PutObjectLockConfiguration', putObjectLockConfiguration),
  bucket('GET', 'lifecycle', 'GetBucketLifecycleConfiguration', lifecycle.get),
  bucket('PUT', 'lifecycle', 'PutBucketLifecycleConfiguration', lifecycle.put),
  bucket('DELETE', 'lifecycle', 'DeleteBucketLifecycle', lifecycle.remove),
  bucket('GET', 'policy', 'GetBucketPolicy', policy.get),
  bucket('PUT', 'policy', 'PutBucketPolicy', policy.put),
  bucket('DELETE', 'policy', 'DeleteBucketPolicy', policy.remove),
  bucket('GET', 'publicAccessBlock', 'GetPublicAccessBlock', publicAccessBlock.get),
  bucket('PUT', 'publicAccessBlock', 'PutPublicAccessBlock', publicAccessBlock.put),
  bucket('DELETE', 'publicAccessBlock', 'DeletePublicAccessBlock', publicAccessBlock.remove),
  bucket('GET', 'encryption', 'GetBucketEncryption', encryption.get),
  bucket('PUT', 'encryption', 'PutBucketEncryption', encryption.put),
  bucket('DELETE', 'encryption', 'DeleteBucketEncryption', encryption.remove),
  bucket('GET', 'tagging', 'GetBucketTagging', tagging.get),
  bucket('PUT', 'tagging', 'PutBucketTagging', tagging.put),
  bucket('DELETE', 'tagging', 'DeleteBucketTagging', tagging.remove),
  bucket('GET', 'uploads', 'ListMultipartUploads', listMultipartUploads),
  bucket('GET', 'versions', 'ListObjectVersions', listObjectVersions),
  bucket('GET', 'list-type', 'ListObjectsV2', listObjectsV2),
  bucket('GET', '', 'ListObjects', listObjects),
  bucket('POST', 'delete', 'DeleteObjects', deleteObjects),
  bucket('HEAD', '', 'HeadBucket', headBucket),
  bucket('DELETE', '', 'DeleteBucket', deleteBucket),
  { level: 'new-bucket', method: 'PUT', query: [], action: 'CreateBucket', handler: createBucket },
];

/** Sub-resources: where one is named, a route that does not know it must not answer in its place. */
const SUBRESOURCES = new Set(
  `accelerate acl analytics attributes cors delete encryption intelligent-tiering inventory legal-hold lifecycle
  location logging metrics notification object-lock ownershipControls partNumber policy policyStatus publicAccessBlock
  replication requestPayment restore retention select tagging torrent uploadId uploads versioning versions website`.split(
    /\s+/,
  ),
);
/** `?partNumber=2` is also how GET and HEAD ask for one part. */
const READS_PARTS = new Set(['GetObject', 'HeadObject']);

/** @throws S3Error NotImplemented for what this server does not do */
export function findRoute(request: S3Request): Route {
  const levels = levelsOf(request);
  const route = ROUTES.find(
    ({ level, method, query, header }) =>
      levels.includes(level) &&
      method === request.method &&
      query.every((name) => request.query.has(name)) &&
      (header === undefined || request.headers[header] !== undefined),
  );
  const unknown = [...request.query.keys()].find(
    (name) =>
      SUBRESOURCES.has(name) &&
      route?.query.includes(name) !== true &&
      !(name === 'partNumber' && READS_PARTS.has(route?.action ?? '')),
  );
  if (route !== undefined && unknown === undefined && !isPartCopy(route, request)) return route;
  throw s3Error(
    'NotImplemented',
    'A header or query you provided implies functionality that is not implemented',
    {
      fields: { Method: request.method, Resource: request.rawPath, Query: request.rawQuery },
    },
  );
}

const isPartCopy = ({ action }: Route, request: S3Request): boolean =>
  action === 'UploadPart' && request.headers['x-amz-copy-source'] !== undefined;

function levelsOf({ bucket, key }: S3Request): readonly Route['level'][] {
  if (bucket === undefined) return ['service'];
  return key === undefined ? ['bucket', 'new-bucket'] : ['object'];
}
