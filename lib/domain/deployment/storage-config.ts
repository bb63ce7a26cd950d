import { z } from 'zod';
import { STORAGE_FIELDS } from '../run/shared-fields.ts';

const kmsKeyArn = STORAGE_FIELDS.kmsKeyArn.optional();

/** No dots: S3's certificate does not cover the host name of such a bucket. */
const newBucketName = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$/, 'is no name for a new bucket (3 to 63 of a-z, 0-9 and "-")')
  .refine((name) => !/^xn--|-s3alias$/.test(name), 'has a beginning or end that S3 keeps for itself')
  .optional();

/**
 * The numbers that S3 would refuse, or accept and then not honour, are refused here
 * (https://docs.aws.amazon.com/AmazonS3/latest/userguide/lifecycle-transition-general-considerations.html).
 */
export const storageSchema = z
  .strictObject({
    bucketName: STORAGE_FIELDS.bucketName
      .optional()
      .describe(
        'An existing bucket to use instead of a new one. What it lacks is said at synth and in the README.',
      ),
    stateBucketName: newBucketName.describe(
      'The name of the state bucket that is made; default: AWS chooses.',
    ),
    newBucketName: newBucketName.describe(
      'The name of the backup bucket that is made; default: AWS chooses.',
    ),
    prefix: z
      .string()
      .max(200)
      // A "*" would be a wildcard in every policy that the prefix stands in.
      .regex(/^[\w.-]+(\/[\w.-]+)*$/, 'use letters, digits, ".", "-", "_" and "/" between parts')
      .refine(
        (prefix) => !prefix.split('/').some((part) => part === '.' || part === '..'),
        'must not hold ".." parts',
      )
      .default('database'),
    kmsKeyArn: kmsKeyArn.describe('Encrypt with this key instead of AES-256 with S3’s own keys.'),
    retentionDays: STORAGE_FIELDS.retentionDays
      .default(30)
      .describe('The floor: nothing younger is ever removed.'),
    transitionDays: z
      .int()
      .min(30, 'S3 moves nothing to STANDARD_IA before day 30')
      .max(3650)
      .default(30)
      .describe('Strays in STANDARD move to STANDARD_IA at this age.'),
    expirationDays: z
      .int()
      .min(2)
      .max(3651)
      .default(31)
      .describe('What the watcher has tagged as expirable is removed at this age.'),
    noncurrentDays: z
      .int()
      .min(1)
      .max(3650)
      .default(31)
      .describe('How long replaced or deleted versions stay.'),
    objectLock: z.enum(['governance', 'compliance', 'off']).default('governance'),
    lockDays: z.int().min(1).max(3650).default(30),
    drRegion: z
      .string()
      .regex(/^[a-z]{2}(-[a-z]+)+-\d$/, 'is no region such as eu-west-1')
      .optional()
      .describe('A second region that every backup is replicated to.'),
    drKmsKeyArn: kmsKeyArn.describe(
      'A key of the second region for the copies; needed there if kmsKeyArn is given.',
    ),
  })
  .superRefine((storage, context) => {
    for (const [path, message] of contradictions(storage))
      context.addIssue({ code: 'custom', path: [path], message });
  });

export type StorageConfig = z.infer<typeof storageSchema>;

/** Longer than the longest run (48 hours): an upload at work is not taken away. */
export const UNFINISHED_UPLOAD_DAYS = 3;

interface Lifetimes {
  readonly retentionDays: number;
  readonly transitionDays: number;
  readonly expirationDays: number;
  readonly objectLock: 'governance' | 'compliance' | 'off';
  readonly lockDays: number;
  readonly bucketName?: string | undefined;
  readonly stateBucketName?: string | undefined;
  readonly newBucketName?: string | undefined;
  readonly kmsKeyArn?: string | undefined;
  readonly drRegion?: string | undefined;
  readonly drKmsKeyArn?: string | undefined;
}

function contradictions(storage: Lifetimes): [path: string, message: string][] {
  const { retentionDays, transitionDays, expirationDays, objectLock, lockDays } = storage;
  const found: [string, string][] = [];
  if (expirationDays <= transitionDays)
    found.push([
      'expirationDays',
      `S3 refuses ${expirationDays}: it must be greater than transitionDays (${transitionDays})`,
    ]);
  if (expirationDays <= retentionDays)
    found.push([
      'expirationDays',
      `${expirationDays} would cut retentionDays (${retentionDays}) short: make it greater`,
    ]);
  if (objectLock !== 'off' && lockDays > expirationDays)
    found.push([
      'lockDays',
      `${lockDays} days of lock outlast expirationDays (${expirationDays}): the lifecycle could not remove anything`,
    ]);
  if (storage.bucketName !== undefined && storage.newBucketName !== undefined)
    found.push(['newBucketName', 'bucketName names an existing bucket: give one of the two']);
  if (storage.bucketName !== undefined && storage.drRegion !== undefined)
    found.push(['drRegion', 'an existing bucket’s replication is its owner’s to set up: leave drRegion out']);
  const backups = storage.bucketName ?? storage.newBucketName;
  if (backups !== undefined && backups === storage.stateBucketName)
    found.push(['stateBucketName', `${backups} is the backup bucket: the state needs one of its own`]);
  return [...found, ...replicaContradictions(storage)];
}

function replicaContradictions({ kmsKeyArn, drRegion, drKmsKeyArn }: Lifetimes): [string, string][] {
  if (drKmsKeyArn === undefined)
    return kmsKeyArn !== undefined && drRegion !== undefined
      ? [
          [
            'drKmsKeyArn',
            `S3 cannot encrypt copies in ${drRegion} with a key of another region: name one of ${drRegion}`,
          ],
        ]
      : [];
  if (kmsKeyArn === undefined || drRegion === undefined)
    return [['drKmsKeyArn', 'it goes with both kmsKeyArn and drRegion: leave it out or give all three']];
  const keyRegion = drKmsKeyArn.split(':')[3];
  return keyRegion === drRegion
    ? []
    : [['drKmsKeyArn', `the key lies in ${keyRegion}, the copies in drRegion ${drRegion}`]];
}
