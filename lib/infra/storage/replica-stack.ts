import { createHash } from 'node:crypto';
import { Stack, type StackProps } from 'aws-cdk-lib/core';
import type { IBucket } from 'aws-cdk-lib/aws-s3';
import type { Construct } from 'constructs';
import type { DeploymentConfig } from '../../domain/deployment/config.ts';
import { replicaGuards } from './guards.ts';
import { backupLifecycle } from './lifecycle.ts';
import { AccessLogBucket, objectLock, SafeBucket } from './safe-bucket.ts';

export interface ReplicaStackProps extends StackProps {
  readonly config: DeploymentConfig;
}

/** The copy of the backups in the second region: locked there as well, and expired by the same tags, which S3 copies too. */
export class ReplicaStack extends Stack {
  constructor(scope: Construct, id: string, { config, ...props }: ReplicaStackProps) {
    super(scope, id, { ...props, terminationProtection: true });
    new SafeBucket(this, 'Replica', {
      kmsKeyArn: config.storage.drKmsKeyArn,
      accessLogs: new AccessLogBucket(this, 'AccessLogs') as IBucket,
      logPrefix: 'replica/',
      guards: (bucket) => replicaGuards(this, config, bucket),
      rest: {
        bucketName: replicaBucketName(this, config),
        ...objectLock(config),
        lifecycleRules: backupLifecycle(config),
      },
    });
  }
}

/** A bucket's name has 63 characters at most; account and region take 12 and, so far, 14 of them. */
const LONGEST_NAME = 63 - '-dr--'.length - 12 - 14;

/**
 * Known beforehand in both regions, so that neither stack has to be asked for the other's: the account's number makes it
 * unique.
 */
export function replicaBucketName(scope: Construct, { name, storage }: DeploymentConfig): string {
  const lower = name.toLowerCase();
  const hash = createHash('sha256').update(name).digest('hex').slice(0, 6);
  const short =
    lower.length <= LONGEST_NAME ? lower : `${lower.slice(0, LONGEST_NAME - 1 - hash.length)}-${hash}`;
  return `${short}-dr-${Stack.of(scope).account}-${storage.drRegion}`;
}
