import { readFileSync } from 'node:fs';
import { neededLifecycle } from '../../lib/domain/deployment/bucket-needs.ts';
import { storageSchema } from '../../lib/domain/deployment/storage-config.ts';
import { readAssembly } from '../../scripts/local-aws/cloudformation/assembly.ts';
import { deployStacks } from '../../scripts/local-aws/cloudformation/deployed-stacks.ts';
import { ACCOUNT, REGION, synthesizeStorage } from '../infra/synthesize.ts';

const PAGE = readFileSync('docs/existing-bucket.md', 'utf8');
const BUCKET = 'your-backup-bucket';

/** The blocks of JSON on the page, in their order. */
const blocks = [...PAGE.matchAll(/```json\n(.*?)```/gs)].map(([, text]): unknown => JSON.parse(text ?? ''));

interface Rule {
  readonly Id: string;
  readonly Status: string;
  readonly Prefix: string;
  readonly TagFilters?: { Key: string; Value: string }[];
  readonly Transitions?: { StorageClass: string; TransitionInDays: number }[];
  readonly ExpirationInDays?: number;
  readonly ExpiredObjectDeleteMarker?: boolean;
  readonly NoncurrentVersionExpiration?: object;
  readonly AbortIncompleteMultipartUpload?: object;
}

/** CloudFormation's words for a rule, in those of `aws s3api`. */
function asApiRule(rule: Rule): object {
  const {
    Id: ID,
    Status,
    Prefix,
    TagFilters: Tags,
    Transitions,
    ExpirationInDays,
    ExpiredObjectDeleteMarker,
  } = rule;
  const { NoncurrentVersionExpiration, AbortIncompleteMultipartUpload } = rule;
  return {
    ID,
    Status,
    Filter: Tags ? { And: { Prefix, Tags } } : { Prefix },
    ...(Transitions && {
      Transitions: Transitions.map(({ StorageClass, TransitionInDays: Days }) => ({ Days, StorageClass })),
    }),
    ...(ExpirationInDays && { Expiration: { Days: ExpirationInDays } }),
    ...(ExpiredObjectDeleteMarker && { Expiration: { ExpiredObjectDeleteMarker } }),
    ...(NoncurrentVersionExpiration && { NoncurrentVersionExpiration }),
    ...(AbortIncompleteMultipartUpload && { AbortIncompleteMultipartUpload }),
  };
}

describe('The page about a bucket that exists already', () => {
  const { assembly } = synthesizeStorage({ storage: { newBucketName: BUCKET } });
  const resources = deployStacks(readAssembly(assembly.directory), { accountId: ACCOUNT, region: REGION });
  const bucket = resources.find(({ ref }) => ref === BUCKET)?.properties ?? {};
  const policy = resources.find(({ properties }) => properties['Bucket'] === BUCKET)?.properties ?? {};
  const [lock, encryption, lifecycle, written] = blocks;

  it('has the lock and the encryption of a bucket that the stack makes', () => {
    expect(lock).toEqual(bucket['ObjectLockConfiguration']);
    const { ServerSideEncryptionConfiguration: Rules } = bucket['BucketEncryption'] as Record<
      string,
      unknown[]
    >;
    expect(encryption).toEqual({
      Rules: Rules?.map((rule) => {
        const { ServerSideEncryptionByDefault } = rule as Record<string, unknown>;
        return { ApplyServerSideEncryptionByDefault: ServerSideEncryptionByDefault };
      }),
    });
  });

  it('has the very lifecycle rules', () => {
    const { Rules } = bucket['LifecycleConfiguration'] as { Rules: Rule[] };
    expect(lifecycle).toEqual({ Rules: Rules.map(asApiRule) });
    // And so has what the bucket is checked for.
    expect(lifecycle).toEqual({ Rules: neededLifecycle(storageSchema.parse({})) });
  });

  it('has the very policy', () => {
    expect(written).toEqual(policy['PolicyDocument']);
  });
});
