import { Stack, type StackProps } from 'aws-cdk-lib/core';
import { BlockPublicAccess, Bucket, type IBucket } from 'aws-cdk-lib/aws-s3';
import type { Construct } from 'constructs';
import type { DeploymentConfig } from '../../domain/deployment/config.ts';

export interface StorageStackProps extends StackProps {
  readonly config: DeploymentConfig;
}

/** What must outlive everything else: the backups, and what is known about the runs. */
export class StorageStack extends Stack {
  readonly config: DeploymentConfig;
  /** The backups; locked, versioned. */
  readonly bucket: IBucket;
  /** Requests, results and plans: unlocked and short-lived. */
  readonly stateBucket: IBucket;

  constructor(scope: Construct, id: string, { config, ...props }: StorageStackProps) {
    super(scope, id, { terminationProtection: true, ...props });
    this.config = config;
    const safety = { blockPublicAccess: BlockPublicAccess.BLOCK_ALL, enforceSSL: true, versioned: true };
    this.bucket = new Bucket(this, 'Backups', safety) as IBucket;
    this.stateBucket = new Bucket(this, 'State', safety) as IBucket;
  }
}
