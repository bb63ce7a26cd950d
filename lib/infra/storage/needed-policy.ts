import { Stack, type App } from 'aws-cdk-lib/core';
import type { Bucket } from 'aws-cdk-lib/aws-s3';
import type { Statement } from '../../domain/deployment/bucket-check.ts';
import type { DeploymentConfig } from '../../domain/deployment/config.ts';
import { StorageStack } from './storage-stack.ts';

export interface DeploymentPlace {
  readonly account: string;
  readonly region: string;
}

/**
 * The statements that the stack would give a bucket of that name if it made it: what an existing one is held against.
 * @param app gets the stack, and is not synthesized
 */
export function neededPolicy(
  app: App,
  config: DeploymentConfig,
  bucketName: string,
  place: DeploymentPlace,
): Statement[] {
  const { bucketName: _existing, drRegion: _dr, drKmsKeyArn: _drKey, ...storage } = config.storage;
  const stack = new StorageStack(app, `${config.name}Storage`, {
    config: { ...config, storage: { ...storage, newBucketName: bucketName } },
    env: place,
  });
  const { policy } = stack.bucket as Bucket;
  const { Statement: statements } = Stack.of(stack).resolve(policy?.document) as { Statement: Statement[] };
  const partition = partitionOf(place.region);
  const known = { partition, bucketArn: `arn:${partition}:s3:::${bucketName}` };
  return statements.map((statement) => fill(statement, known) as Statement);
}

interface Known {
  readonly partition: string;
  readonly bucketArn: string;
}

/** What is left to CloudFormation in that one policy. */
function fill(value: unknown, known: Known): unknown {
  if (Array.isArray(value)) return value.map((member) => fill(member, known));
  if (typeof value !== 'object' || value === null) return value;
  if ('Fn::GetAtt' in value) return known.bucketArn;
  if ('Ref' in value) return known.partition;
  if ('Fn::Join' in value) {
    const [separator, parts] = value['Fn::Join'] as [string, unknown[]];
    return parts.map((part) => fill(part, known)).join(separator);
  }
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, fill(member, known)]));
}

function partitionOf(region: string): string {
  if (region.startsWith('cn-')) return 'aws-cn';
  return region.startsWith('us-gov-') ? 'aws-us-gov' : 'aws';
}
