import { CfnOutput, Stack, Token, type StackProps } from 'aws-cdk-lib/core';
import { Bucket, type BucketProps, type IBucket } from 'aws-cdk-lib/aws-s3';
import type { Construct } from 'constructs';
import type { DeploymentConfig } from '../../domain/deployment/config.ts';
import { LifeboatError } from '../../domain/errors.ts';
import { sayWhatIsFinal, sayWhatItNeeds } from './notices.ts';
import { backupGuards, stateGuards } from './guards.ts';
import { backupLifecycle, stateLifecycle } from './lifecycle.ts';
import { Replication } from './replication.ts';
import { AccessLogBucket, objectLock, SafeBucket } from './safe-bucket.ts';

export interface StorageStackProps extends StackProps {
  readonly config: DeploymentConfig;
}

/** What must outlive everything else: the backups, and what is known about the runs. */
export class StorageStack extends Stack {
  readonly config: DeploymentConfig;
  /** The backups: locked, versioned, written once. */
  readonly bucket: IBucket;
  /** Requests, results and plans: written once too, but unlocked and short-lived. */
  readonly stateBucket: IBucket;

  constructor(scope: Construct, id: string, { config, ...props }: StorageStackProps) {
    super(scope, id, { ...props, terminationProtection: true });
    this.config = config;
    this.#checkRegion();
    const accessLogs = new AccessLogBucket(this, 'AccessLogs') as IBucket;
    this.bucket = this.#backups(accessLogs);
    this.stateBucket = new SafeBucket(this, 'State', {
      kmsKeyArn: config.storage.kmsKeyArn,
      accessLogs,
      logPrefix: 'state/',
      guards: (bucket) => stateGuards(this, config, bucket),
      rest: { ...named(config.storage.stateBucketName), lifecycleRules: stateLifecycle(config) },
    }) as IBucket;
    new CfnOutput(this, 'BackupBucketName', { value: this.bucket.bucketName });
    new CfnOutput(this, 'StateBucketName', { value: this.stateBucket.bucketName });
  }

  #backups(accessLogs: IBucket): IBucket {
    const { config } = this;
    const { bucketName, newBucketName, kmsKeyArn, drRegion } = config.storage;
    if (bucketName !== undefined) {
      sayWhatItNeeds(this, config);
      return Bucket.fromBucketName(this, 'Backups', bucketName);
    }
    sayWhatIsFinal(this, config);
    const replication = drRegion === undefined ? undefined : new Replication(this, config);
    const bucket = new SafeBucket(this, 'Backups', {
      kmsKeyArn,
      accessLogs,
      logPrefix: 'backups/',
      guards: (made) => backupGuards(this, config, made),
      rest: {
        ...named(newBucketName),
        ...objectLock(config),
        ...replication?.bucketProps(),
        lifecycleRules: backupLifecycle(config),
      },
    }) as IBucket;
    replication?.grant(bucket);
    return bucket;
  }

  /** What CloudFormation or S3 would only refuse halfway through. */
  #checkRegion(): void {
    const { drRegion, kmsKeyArn } = this.config.storage;
    if (Token.isUnresolved(this.region)) return;
    if (drRegion === this.region)
      throw new LifeboatError(
        'SETTINGS_INVALID',
        `storage.drRegion ${drRegion} is the region that the backups lie in themselves`,
        { hint: 'Name another region, or leave storage.drRegion out.' },
      );
    const keyRegion = kmsKeyArn?.split(':')[3];
    if (keyRegion !== undefined && keyRegion !== this.region)
      throw new LifeboatError(
        'SETTINGS_INVALID',
        `storage.kmsKeyArn names a key in ${keyRegion}, but the buckets will lie in ${this.region}`,
        { hint: `Name a key of ${this.region}, or deploy to ${keyRegion}.` },
      );
  }
}

function named(bucketName: string | undefined): Pick<BucketProps, 'bucketName'> {
  return bucketName === undefined ? {} : { bucketName };
}
