import {
  GetBucketEncryptionCommand,
  GetBucketLifecycleConfigurationCommand,
  GetBucketPolicyCommand,
  GetBucketVersioningCommand,
  GetObjectLockConfigurationCommand,
  GetPublicAccessBlockCommand,
  HeadBucketCommand,
  type GetBucketEncryptionCommandOutput,
  type GetObjectLockConfigurationCommandOutput,
  type S3Client,
} from '@aws-sdk/client-s3';
import type { BucketFacts, Statement } from '../../lib/domain/deployment/bucket-check.ts';
import { LifeboatError } from '../../lib/domain/errors.ts';

/**
 * Asks S3 for every setting that a backup bucket needs; changes nothing.
 * @throws LifeboatError S3_NO_BUCKET, S3_DENIED, S3_FAILED naming the call
 */
export async function readBucket(client: S3Client, bucket: string): Promise<BucketFacts> {
  const Bucket = { Bucket: bucket };
  const ask = async <Answer>(action: string, call: () => Promise<Answer>): Promise<Answer | undefined> => {
    try {
      return await call();
    } catch (error) {
      if (NOT_SET.has(nameOf(error))) return undefined;
      throw explain(error, action, bucket);
    }
  };
  const head = await ask('s3:ListBucket', () => client.send(new HeadBucketCommand(Bucket)));
  const versioning = await ask('s3:GetBucketVersioning', () =>
    client.send(new GetBucketVersioningCommand(Bucket)),
  );
  const access = await ask('s3:GetBucketPublicAccessBlock', () =>
    client.send(new GetPublicAccessBlockCommand(Bucket)),
  );
  const lock = await ask('s3:GetBucketObjectLockConfiguration', () =>
    client.send(new GetObjectLockConfigurationCommand(Bucket)),
  );
  const encryption = await ask('s3:GetEncryptionConfiguration', () =>
    client.send(new GetBucketEncryptionCommand(Bucket)),
  );
  const lifecycle = await ask('s3:GetLifecycleConfiguration', () =>
    client.send(new GetBucketLifecycleConfigurationCommand(Bucket)),
  );
  const policy = await ask('s3:GetBucketPolicy', () => client.send(new GetBucketPolicyCommand(Bucket)));
  return {
    bucket,
    region: head?.BucketRegion ?? 'an unknown region',
    versioning: versioning?.Status,
    publicAccessBlock: { ...access?.PublicAccessBlockConfiguration },
    lock: lockOf(lock),
    encryption: encryptionOf(encryption),
    lifecycle: lifecycle?.Rules ?? [],
    statements: statementsOf(policy?.Policy),
  };
}

function lockOf(answer: GetObjectLockConfigurationCommandOutput | undefined): BucketFacts['lock'] {
  const retention = answer?.ObjectLockConfiguration?.Rule?.DefaultRetention;
  return retention && { mode: retention.Mode, days: retention.Days ?? (retention.Years ?? 0) * 365 };
}

function encryptionOf(answer: GetBucketEncryptionCommandOutput | undefined): BucketFacts['encryption'] {
  const [rule] = answer?.ServerSideEncryptionConfiguration?.Rules ?? [];
  const { SSEAlgorithm, KMSMasterKeyID } = { ...rule?.ApplyServerSideEncryptionByDefault };
  return { algorithm: SSEAlgorithm, key: KMSMasterKeyID, bucketKey: rule?.BucketKeyEnabled ?? false };
}

/** S3's way to say that nobody has set it. */
const NOT_SET = new Set([
  'NoSuchBucketPolicy',
  'NoSuchLifecycleConfiguration',
  'NoSuchPublicAccessBlockConfiguration',
  'ObjectLockConfigurationNotFoundError',
  'ServerSideEncryptionConfigurationNotFoundError',
]);

function statementsOf(policy: string | undefined): Statement[] {
  if (policy === undefined) return [];
  const { Statement: statements } = JSON.parse(policy) as { Statement: Statement | Statement[] };
  return Array.isArray(statements) ? statements : [statements as Statement];
}

function explain(error: unknown, action: string, bucket: string): LifeboatError {
  const name = nameOf(error);
  const { message = '', $metadata } = error as { message?: string; $metadata?: { httpStatusCode?: number } };
  if (name === 'NoSuchBucket' || name === 'NotFound')
    return new LifeboatError('S3_NO_BUCKET', `There is no bucket ${bucket}`, {
      cause: error,
      hint: 'Correct storage.bucketName in lifeboat.config.json.',
    });
  const denied = $metadata?.httpStatusCode === 403 || name === 'AccessDenied';
  return new LifeboatError(
    denied ? 'S3_DENIED' : 'S3_FAILED',
    `${action} on ${bucket} was refused: ${name}${message && message !== name ? `: ${message}` : ''}`,
    {
      cause: error,
      hint: 'Run it with a profile that may read the bucket’s settings: AWS_PROFILE=… npm run check-bucket',
    },
  );
}

function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : String(error);
}
