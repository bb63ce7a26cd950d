import { OBJECT_TAG } from '../names.ts';
import { UNFINISHED_UPLOAD_DAYS, type StorageConfig } from './storage-config.ts';

/**
 * What an existing bucket (`storage.bucketName`) has to have, because no stack can set it on a bucket that is not its own:
 * said at synth (lib/infra/storage/notices.ts), looked for by `npm run check-bucket`, explained in docs/existing-bucket.md.
 */

export type BucketNeedName =
  'region' | 'versioning' | 'public-access' | 'object-lock' | 'encryption' | 'lifecycle' | 'policy';

interface BucketNeed {
  readonly name: BucketNeedName;
  /** Completes “It needs …”. */
  readonly text: string;
}

/** What the stack would set on a bucket of its own, for whoever brings one along. */
export function bucketNeeds(storage: StorageConfig): BucketNeed[] {
  const { objectLock, lockDays, kmsKeyArn, transitionDays, expirationDays, noncurrentDays, prefix } = storage;
  const { expirable } = OBJECT_TAG;
  const lock = `Object Lock with a default retention of ${lockDays} days, ${objectLock.toUpperCase()} mode`;
  return [
    { name: 'region', text: 'to lie in the region that the stacks are deployed to' },
    { name: 'versioning', text: 'versioning' },
    { name: 'public-access', text: 'Block Public Access, all four settings' },
    ...(objectLock === 'off' ? [] : [{ name: 'object-lock', text: lock } as const]),
    {
      name: 'encryption',
      text: kmsKeyArn === undefined ? 'default encryption' : `default encryption with ${kmsKeyArn}`,
    },
    {
      name: 'lifecycle',
      text:
        `lifecycle rules under ${prefix}/: to STANDARD_IA at ${transitionDays} days, expiry at ${expirationDays} days of ` +
        `what is tagged ${expirable.key}=${expirable.value}, non-current versions after ${noncurrentDays} days, unfinished ` +
        `uploads after ${UNFINISHED_UPLOAD_DAYS}; none that expires by age alone`,
    },
    {
      name: 'policy',
      text: 'a policy that refuses plain http, and every delete, overwrite, tag and setting to the host’s role',
    },
  ];
}

/** A rule in the words of S3's API. */
export interface LifecycleRule {
  readonly ID?: string | undefined;
  readonly Status?: string | undefined;
  /** As rules had it before there were filters. */
  readonly Prefix?: string | undefined;
  readonly Filter?:
    | {
        readonly Prefix?: string | undefined;
        readonly Tag?: ObjectTag | undefined;
        readonly ObjectSizeGreaterThan?: number | undefined;
        readonly ObjectSizeLessThan?: number | undefined;
        readonly And?:
          | {
              readonly Prefix?: string | undefined;
              readonly Tags?: readonly ObjectTag[] | undefined;
              readonly ObjectSizeGreaterThan?: number | undefined;
              readonly ObjectSizeLessThan?: number | undefined;
            }
          | undefined;
      }
    | undefined;
  readonly Transitions?:
    readonly { readonly Days?: number | undefined; readonly StorageClass?: string | undefined }[] | undefined;
  readonly Expiration?:
    | {
        readonly Days?: number | undefined;
        readonly Date?: unknown;
        readonly ExpiredObjectDeleteMarker?: boolean | undefined;
      }
    | undefined;
  readonly NoncurrentVersionExpiration?: { readonly NoncurrentDays?: number | undefined } | undefined;
  readonly AbortIncompleteMultipartUpload?: { readonly DaysAfterInitiation?: number | undefined } | undefined;
}

interface ObjectTag {
  readonly Key?: string | undefined;
  readonly Value?: string | undefined;
}

/** The rules that lib/infra/storage/lifecycle.ts gives a new bucket; a test compares the two. */
export function neededLifecycle(
  storage: StorageConfig,
): [move: LifecycleRule, expire: LifecycleRule, cleanUp: LifecycleRule] {
  const Prefix = `${storage.prefix}/`;
  const { key: Key, value: Value } = OBJECT_TAG.expirable;
  return [
    {
      ID: 'lifeboat-infrequent-access',
      Status: 'Enabled',
      Filter: { Prefix },
      Transitions: [{ Days: storage.transitionDays, StorageClass: 'STANDARD_IA' }],
    },
    {
      ID: 'lifeboat-expirable',
      Status: 'Enabled',
      Filter: { And: { Prefix, Tags: [{ Key, Value }] } },
      Expiration: { Days: storage.expirationDays },
    },
    {
      ID: 'lifeboat-clean-up',
      Status: 'Enabled',
      Filter: { Prefix },
      Expiration: { ExpiredObjectDeleteMarker: true },
      NoncurrentVersionExpiration: { NoncurrentDays: storage.noncurrentDays },
      AbortIncompleteMultipartUpload: { DaysAfterInitiation: UNFINISHED_UPLOAD_DAYS },
    },
  ];
}
