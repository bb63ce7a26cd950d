import { Duration, RemovalPolicy, Validations } from 'aws-cdk-lib/core';
import { Key } from 'aws-cdk-lib/aws-kms';
import {
  BlockPublicAccess,
  Bucket,
  BucketEncryption,
  ObjectLockRetention,
  type BucketProps,
  type IBucket,
} from 'aws-cdk-lib/aws-s3';
import type { PolicyStatement } from 'aws-cdk-lib/aws-iam';
import type { Construct } from 'constructs';
import type { DeploymentConfig } from '../../domain/deployment/config.ts';
import { ACCESS_LOG_LIFECYCLE } from './lifecycle.ts';

/** What every bucket here has in common: it stays when the stack goes, and nobody reaches it from outside or without TLS. */
const SAFETY = {
  removalPolicy: RemovalPolicy.RETAIN,
  blockPublicAccess: BlockPublicAccess.BLOCK_ALL,
  enforceSSL: true,
  minimumTLSVersion: 1.2,
} satisfies BucketProps;

export interface SafeBucketProps {
  /** `undefined`: AES-256 with S3's own keys. */
  readonly kmsKeyArn: string | undefined;
  readonly accessLogs: IBucket;
  /** Folder in the bucket of the access logs. */
  readonly logPrefix: string;
  /** What the bucket's policy says, besides TLS only. */
  guards(bucket: { readonly bucketArn: string }): readonly PolicyStatement[];
  readonly rest: BucketProps;
}

/** A versioned, encrypted, logged bucket that outlives its stack. */
export class SafeBucket extends Bucket {
  constructor(scope: Construct, id: string, props: SafeBucketProps) {
    super(scope, id, {
      ...SAFETY,
      ...encryption(scope, `${id}Key`, props.kmsKeyArn),
      versioned: true,
      serverAccessLogsBucket: props.accessLogs,
      serverAccessLogsPrefix: props.logPrefix,
      ...props.rest,
    });
    for (const guard of props.guards(this)) this.addToResourcePolicy(guard);
    // Else deleting the stack would leave the bucket and take what guards it.
    this.policy?.applyRemovalPolicy(RemovalPolicy.RETAIN);
  }
}

/** Where S3 writes who asked for what. A bucket with a lock cannot take S3's logs, so it is one of its own. */
export class AccessLogBucket extends Bucket {
  constructor(scope: Construct, id: string) {
    super(scope, id, {
      ...SAFETY,
      encryption: BucketEncryption.S3_MANAGED,
      lifecycleRules: ACCESS_LOG_LIFECYCLE,
    });
    this.policy?.applyRemovalPolicy(RemovalPolicy.RETAIN);
    Validations.of(this).acknowledge({
      id: 'AwsSolutions-S1',
      reason: 'It holds the access logs of the other buckets; logging its own would log itself for ever.',
    });
  }
}

/** Every object that is written gets this lock, whoever writes it. */
export function objectLock({ storage }: DeploymentConfig): BucketProps {
  const days = Duration.days(storage.lockDays);
  switch (storage.objectLock) {
    case 'off':
      return {};
    case 'governance':
      return { objectLockEnabled: true, objectLockDefaultRetention: ObjectLockRetention.governance(days) };
    case 'compliance':
      return { objectLockEnabled: true, objectLockDefaultRetention: ObjectLockRetention.compliance(days) };
  }
}

function encryption(scope: Construct, id: string, keyArn: string | undefined): BucketProps {
  if (keyArn === undefined) return { encryption: BucketEncryption.S3_MANAGED };
  // A bucket key: one call of KMS for many objects instead of one for each.
  return {
    encryption: BucketEncryption.KMS,
    encryptionKey: Key.fromKeyArn(scope, id, keyArn),
    bucketKeyEnabled: true,
  };
}
