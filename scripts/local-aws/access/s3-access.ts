import { AwsError } from '../http/aws-error.ts';
import { s3Error } from '../s3/s3-error.ts';
import { header, type S3Request } from '../s3/s3-request.ts';
import type { AuthorizeS3, S3Access } from '../s3/request-handler.ts';
import type { AccessControl, ConditionKeys } from './access-control.ts';
import type { Principal } from './principal.ts';

/** What IAM calls an operation, where that is not the operation's own name with `s3:` before it. */
const ACTION_OF: Readonly<Record<string, string>> = {
  HeadObject: 'GetObject',
  CopyObject: 'PutObject',
  UploadPart: 'PutObject',
  CreateMultipartUpload: 'PutObject',
  CompleteMultipartUpload: 'PutObject',
  ListParts: 'ListMultipartUploadParts',
  DeleteObjects: 'DeleteObject',
  HeadBucket: 'ListBucket',
  ListObjects: 'ListBucket',
  ListObjectsV2: 'ListBucket',
  ListObjectVersions: 'ListBucketVersions',
  ListMultipartUploads: 'ListBucketMultipartUploads',
  ListBuckets: 'ListAllMyBuckets',
  DeleteBucketLifecycle: 'PutLifecycleConfiguration',
  PutBucketLifecycleConfiguration: 'PutLifecycleConfiguration',
  GetBucketLifecycleConfiguration: 'GetLifecycleConfiguration',
  GetObjectLockConfiguration: 'GetBucketObjectLockConfiguration',
  PutObjectLockConfiguration: 'PutBucketObjectLockConfiguration',
  GetPublicAccessBlock: 'GetBucketPublicAccessBlock',
  PutPublicAccessBlock: 'PutBucketPublicAccessBlock',
  DeletePublicAccessBlock: 'PutBucketPublicAccessBlock',
  GetBucketEncryption: 'GetEncryptionConfiguration',
  PutBucketEncryption: 'PutEncryptionConfiguration',
  DeleteBucketEncryption: 'PutEncryptionConfiguration',
};

/** Actions that have a name of their own when a version is asked for. */
const OF_VERSIONS = new Set([
  'GetObject',
  'DeleteObject',
  'GetObjectTagging',
  'PutObjectTagging',
  'DeleteObjectTagging',
]);

/** Which key encrypts a bucket; `undefined`: S3's own. */
type KeyOfBucket = (bucket: string) => string | undefined;

interface Question {
  readonly action: string;
  readonly resource: string;
  readonly conditions: ConditionKeys;
}

/** Asks the policies about every request to S3; some requests are several actions. */
export function authorizeS3(access: AccessControl, keyOfBucket: KeyOfBucket, region: string): AuthorizeS3 {
  return (request) => {
    const principal = access.principal(request.accessKeyId);
    try {
      for (const { action, resource, conditions } of [
        ...questionsOf(request),
        ...keyQuestions(request, keyOfBucket, region),
      ])
        access.check(principal, action, resource, conditions);
    } catch (error) {
      if (error instanceof AwsError) throw s3Error('AccessDenied', error.message);
      throw error;
    }
    return { mayKnowOfAbsence: mayList(access, principal, request.request) };
  };
}

/** A read has no s3:prefix: a right to list that asks for one does not cover it. */
function mayList(access: AccessControl, principal: Principal, { bucket }: S3Request): boolean {
  return bucket === undefined || access.wouldAllow(principal, 's3:ListBucket', bucketArn(bucket));
}

function questionsOf({ operation, request }: S3Access): Question[] {
  const { bucket, key, query } = request;
  const name = ACTION_OF[operation] ?? operation;
  const versioned =
    OF_VERSIONS.has(name) && query.has('versionId') ? name.replace('Object', 'ObjectVersion') : name;
  const resource = bucket === undefined ? '*' : bucketArn(bucket) + objectPath(operation, key);
  const conditions = conditionsOf(operation, request);
  return [
    { action: `s3:${versioned}`, resource, conditions },
    ...furtherQuestions(operation, request, resource, conditions),
  ];
}

function objectPath(operation: string, key: string | undefined): string {
  if (key !== undefined) return `/${key}`;
  return operation === 'DeleteObjects' ? '/*' : '';
}

/** What headers ask for besides, and what a copy reads. */
function furtherQuestions(
  operation: string,
  request: S3Request,
  resource: string,
  conditions: ConditionKeys,
): Question[] {
  const found: Question[] = [];
  const add = (action: string, on = resource): void => void found.push({ action, resource: on, conditions });
  if (header(request, 'x-amz-tagging') !== undefined) add('s3:PutObjectTagging');
  if (header(request, 'x-amz-object-lock-mode') !== undefined) add('s3:PutObjectRetention');
  if (header(request, 'x-amz-object-lock-legal-hold') !== undefined) add('s3:PutObjectLegalHold');
  if (header(request, 'x-amz-acl') !== undefined) add('s3:PutObjectAcl');
  if (header(request, 'x-amz-bypass-governance-retention') === 'true') add('s3:BypassGovernanceRetention');
  if (operation === 'GetObjectAttributes') add('s3:GetObject');
  const source = header(request, 'x-amz-copy-source');
  if (operation === 'CopyObject' && source !== undefined)
    add('s3:GetObject', `arn:aws:s3:::${decodeURIComponent(source.replace(/^\//, '').split('?')[0] ?? '')}`);
  return found;
}

/** https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html */
function conditionsOf(operation: string, request: S3Request): ConditionKeys {
  const { query } = request;
  const keys: Record<string, string | undefined> = {
    's3:if-none-match': header(request, 'if-none-match'),
    's3:if-match': header(request, 'if-match'),
    's3:x-amz-server-side-encryption': header(request, 'x-amz-server-side-encryption'),
    's3:x-amz-server-side-encryption-aws-kms-key-id': header(
      request,
      'x-amz-server-side-encryption-aws-kms-key-id',
    ),
    's3:x-amz-storage-class': header(request, 'x-amz-storage-class'),
    's3:x-amz-acl': header(request, 'x-amz-acl'),
    's3:VersionId': query.get('versionId') ?? undefined,
  };
  if ((ACTION_OF[operation] ?? '').startsWith('ListBucket')) {
    keys['s3:prefix'] = query.get('prefix') ?? undefined;
    keys['s3:delimiter'] = query.get('delimiter') ?? undefined;
    keys['s3:max-keys'] = query.get('max-keys') ?? undefined;
  }
  // Tells the requests that finish an object from those that only begin one or carry a part of it.
  if (['PutObject', 'CopyObject', 'CompleteMultipartUpload'].includes(operation))
    keys['s3:ObjectCreationOperation'] = 'true';
  if (['CreateMultipartUpload', 'UploadPart'].includes(operation))
    keys['s3:ObjectCreationOperation'] = 'false';
  return Object.fromEntries(
    Object.entries(keys).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
}

const WRITES = new Set([
  'PutObject',
  'CopyObject',
  'CreateMultipartUpload',
  'UploadPart',
  'CompleteMultipartUpload',
]);

/** Objects under a KMS key need the key's leave as well; parts are decrypted to be put together. */
function keyQuestions(
  { operation, request }: S3Access,
  keyOfBucket: KeyOfBucket,
  region: string,
): Question[] {
  const key = request.bucket === undefined ? undefined : keyOfBucket(request.bucket);
  if (key === undefined || request.key === undefined) return [];
  const conditions = { 'kms:ViaService': `s3.${region}.amazonaws.com` };
  const ask = (action: string): Question => ({ action, resource: key, conditions });
  if (operation === 'GetObject' || operation === 'UploadPart' || operation === 'CompleteMultipartUpload')
    return [...(WRITES.has(operation) ? [ask('kms:GenerateDataKey')] : []), ask('kms:Decrypt')];
  return WRITES.has(operation) ? [ask('kms:GenerateDataKey')] : [];
}

const bucketArn = (bucket: string): string => `arn:aws:s3:::${bucket}`;
