import { execFile } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { z } from 'zod';
import type { AssetFile } from '../cloudformation/assembly.ts';
import type { Account, DeployedResource } from '../cloudformation/deployed-stacks.ts';
import type { LocalS3 } from '../s3/server.ts';

const bucketSchema = z.object({
  VersioningConfiguration: z.object({ Status: z.string() }).optional(),
  ObjectLockEnabled: z.boolean().optional(),
  ObjectLockConfiguration: z
    .object({
      Rule: z
        .object({
          DefaultRetention: z.object({ Mode: z.enum(['GOVERNANCE', 'COMPLIANCE']), Days: z.number() }),
        })
        .optional(),
    })
    .optional(),
  BucketEncryption: z
    .object({
      ServerSideEncryptionConfiguration: z.array(
        z.object({
          ServerSideEncryptionByDefault: z.object({
            SSEAlgorithm: z.string(),
            KMSMasterKeyID: z.string().optional(),
          }),
        }),
      ),
    })
    .optional(),
});

/** The templates’ buckets, with versions and lock. */
export async function makeBuckets(s3: LocalS3, resources: readonly DeployedResource[]): Promise<void> {
  for (const { type, ref, properties } of resources) {
    if (type !== 'AWS::S3::Bucket') continue;
    const { VersioningConfiguration, ObjectLockConfiguration } = bucketSchema.parse(properties);
    const retention = ObjectLockConfiguration?.Rule?.DefaultRetention;
    await s3.ensureBucket(ref, {
      versioned: VersioningConfiguration?.Status === 'Enabled',
      ...(retention && { objectLockDays: retention.Days, objectLockMode: retention.Mode }),
    });
  }
}

/** The key that encrypts each bucket that has one of its own. */
export function keysOfBuckets(resources: readonly DeployedResource[]): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const { type, ref, properties } of resources) {
    if (type !== 'AWS::S3::Bucket') continue;
    const [rule] = bucketSchema.parse(properties).BucketEncryption?.ServerSideEncryptionConfiguration ?? [];
    const key = rule?.ServerSideEncryptionByDefault.KMSMasterKeyID;
    if (key !== undefined) found.set(ref, key);
  }
  return found;
}

/** What `cdk deploy` publishes before it deploys. */
export async function publishAssets(
  s3: LocalS3,
  files: readonly AssetFile[],
  account: Account,
): Promise<void> {
  const { endpoint, region, credentials } = s3;
  const client = new S3Client({ endpoint, region, credentials, forcePathStyle: true });
  try {
    for (const file of files) {
      // Functions run from the folder itself: a packed one is read by nobody here.
      if (file.packaging === 'zip') continue;
      const bucket = fillPlace(file.bucketName, account);
      await s3.ensureBucket(bucket);
      const { size } = await stat(file.source);
      const body = createReadStream(file.source);
      await client.send(
        new PutObjectCommand({
          Bucket: bucket,
          Key: fillPlace(file.objectKey, account),
          Body: body,
          ContentLength: size,
        }),
      );
    }
  } finally {
    client.destroy();
  }
}

/** The folder of a function’s code: a packed folder is used as it is, a zip file is unpacked beside. */
export async function codeFolder(files: readonly AssetFile[], key: string, folder: string): Promise<string> {
  const file = files.find(({ objectKey }) => objectKey === key);
  if (!file) throw new Error(`there is no asset ${key}`);
  if (file.packaging === 'zip') return file.source;
  const target = path.join(folder, path.basename(key, '.zip'));
  await promisify(execFile)('unzip', ['-oq', file.source, '-d', target]);
  return target;
}

function fillPlace(text: string, { accountId, region }: Account): string {
  return text
    .replaceAll('${AWS::AccountId}', accountId)
    .replaceAll('${AWS::Region}', region)
    .replaceAll('${AWS::Partition}', 'aws');
}
