import { bucketNeeds, type BucketNeedName, type LifecycleRule } from './bucket-needs.ts';
import { findHarm, findMissing } from './lifecycle-check.ts';
import type { StorageConfig } from './storage-config.ts';

/** A statement of a policy, parsed from JSON. */
export type Statement = Readonly<Record<string, unknown>>;

/** What S3 says of a bucket; `undefined`: nobody has set it. */
export interface BucketFacts {
  readonly bucket: string;
  readonly region: string;
  readonly versioning: string | undefined;
  readonly publicAccessBlock: Readonly<Record<string, boolean | undefined>>;
  readonly lock: { readonly mode?: string | undefined; readonly days?: number | undefined } | undefined;
  readonly encryption: {
    readonly algorithm: string | undefined;
    readonly key: string | undefined;
    readonly bucketKey: boolean;
  };
  readonly lifecycle: readonly LifecycleRule[];
  readonly statements: readonly Statement[];
}

export interface BucketTerms {
  readonly storage: StorageConfig;
  /** Of the stacks. */
  readonly region: string;
  /** That a new bucket's policy would have. */
  readonly statements: readonly Statement[];
}

export interface Finding {
  /** As in `versioning`. */
  readonly need: string;
  /** What there is instead; none: it is as needed. */
  readonly problems: readonly string[];
  /** Commands, and JSON for them; empty where nothing is to be done. */
  readonly mend: readonly string[];
}

/** One finding for each need, in the order of the page. */
export function checkBucket(terms: BucketTerms, facts: BucketFacts): Finding[] {
  return bucketNeeds(terms.storage).map(({ name, text }) => {
    const { problems, mend } = CHECKS[name](terms, facts);
    return { need: text, problems, mend: problems.length === 0 ? [] : mend };
  });
}

type Check = (terms: BucketTerms, facts: BucketFacts) => Omit<Finding, 'need'>;

const CHECKS: Readonly<Record<BucketNeedName, Check>> = {
  region: ({ region }, { region: found }) => ({
    problems: found === region ? [] : [`it lies in ${found}, the stacks in ${region}`],
    mend: [`Deploy the stacks to ${found}, or name a bucket of ${region}.`],
  }),
  versioning: (_, { versioning = 'never enabled', bucket }) => ({
    problems: versioning === 'Enabled' ? [] : [`it is ${versioning}`],
    mend: [put('versioning', bucket, '--versioning-configuration Status=Enabled')],
  }),
  'public-access': (_, { publicAccessBlock, bucket }) => {
    const off = PUBLIC_ACCESS.filter((name) => publicAccessBlock[name] !== true);
    const all = PUBLIC_ACCESS.map((name) => `${name}=true`).join(',');
    return {
      problems: off.map((name) => `${name} is off`),
      mend: [
        `aws s3api put-public-access-block --bucket ${bucket} --public-access-block-configuration ${all}`,
      ],
    };
  },
  'object-lock': checkLock,
  encryption: checkEncryption,
  lifecycle: checkLifecycle,
  policy: checkPolicy,
};

const PUBLIC_ACCESS = ['BlockPublicAcls', 'IgnorePublicAcls', 'BlockPublicPolicy', 'RestrictPublicBuckets'];

function put(what: string, bucket: string, how: string): string {
  return `aws s3api put-bucket-${what} --bucket ${bucket} ${how}`;
}

function checkLock(
  { storage: { objectLock, lockDays, expirationDays } }: BucketTerms,
  { lock, bucket }: BucketFacts,
): Omit<Finding, 'need'> {
  const Mode = objectLock.toUpperCase();
  const { mode = 'none', days = 0 } = lock ?? {};
  const problems = [
    // Compliance binds whom governance binds, and more.
    ...(mode === Mode || mode === 'COMPLIANCE' ? [] : [`the mode of its default retention is ${mode}`]),
    ...(days >= lockDays ? [] : [`new objects are locked for ${days} days`]),
    ...(days <= expirationDays
      ? []
      : [`${days} days outlast storage.expirationDays (${expirationDays}): nothing could be removed then`]),
  ];
  const configuration = {
    ObjectLockEnabled: 'Enabled',
    Rule: { DefaultRetention: { Mode, Days: lockDays } },
  };
  const command = `aws s3api put-object-lock-configuration --bucket ${bucket} --object-lock-configuration`;
  return { problems, mend: [`${command} '${JSON.stringify(configuration)}'`] };
}

function checkEncryption(
  { storage }: BucketTerms,
  { encryption, bucket }: BucketFacts,
): Omit<Finding, 'need'> {
  const { algorithm = 'none', key, bucketKey } = encryption;
  const { kmsKeyArn } = storage;
  if (kmsKeyArn === undefined)
    return {
      // With aws/s3, the key that AWS keeps for S3, whoever may read the bucket may use it.
      problems:
        key === undefined || key.endsWith('alias/aws/s3')
          ? []
          : [`it encrypts with ${key}, which the hosts and Lambdas get no right to`],
      mend: ['Name the key as storage.kmsKeyArn, or let the bucket encrypt with AES256.'],
    };
  const problems = [
    ...(algorithm === 'aws:kms' ? [] : [`it encrypts with ${algorithm}`]),
    ...(key === kmsKeyArn ? [] : [`its key is ${key ?? 'none'}`]),
    ...(bucketKey ? [] : ['it has no bucket key: every object costs a call of KMS']),
  ];
  const ApplyServerSideEncryptionByDefault = { SSEAlgorithm: 'aws:kms', KMSMasterKeyID: kmsKeyArn };
  const configuration = { Rules: [{ ApplyServerSideEncryptionByDefault, BucketKeyEnabled: true }] };
  const how = `--server-side-encryption-configuration '${JSON.stringify(configuration)}'`;
  return { problems, mend: [put('encryption', bucket, how)] };
}

function checkLifecycle({ storage }: BucketTerms, { lifecycle, bucket }: BucketFacts): Omit<Finding, 'need'> {
  const harm = findHarm(lifecycle, storage);
  const missing = findMissing(lifecycle, storage);
  const needed = [...new Set(missing.map(({ rule }) => rule))];
  return {
    problems: [...harm, ...missing.map(({ problem }) => problem)],
    mend: [
      ...(harm.length > 0 ? ['Take the rules that are named out of lifecycle.json, or change them.'] : []),
      ...(needed.length > 0
        ? ['Put beside your rules in lifecycle.json:', JSON.stringify(needed, null, 2)]
        : []),
      `aws s3api get-bucket-lifecycle-configuration --bucket ${bucket} > lifecycle.json  # then change it`,
      put('lifecycle-configuration', bucket, '--lifecycle-configuration file://lifecycle.json'),
    ],
  };
}

function checkPolicy(
  { statements: needed }: BucketTerms,
  { statements, bucket }: BucketFacts,
): Omit<Finding, 'need'> {
  const found = new Set(statements.map(meaningOf));
  const missing = needed.filter((statement) => !found.has(meaningOf(statement)));
  return {
    problems: missing.map((statement) => `it does not have ${titleOf(statement)} as it stands on the page`),
    mend: [
      'Put beside your statements in policy.json:',
      JSON.stringify({ Version: '2012-10-17', Statement: missing }, null, 2),
      `aws s3api get-bucket-policy --bucket ${bucket} --query Policy --output text > policy.json  # then change it`,
      put('policy', bucket, '--policy file://policy.json'),
    ],
  };
}

function titleOf({ Sid, Condition }: Statement): string {
  return typeof Sid === 'string' ? Sid : `the denial on ${JSON.stringify(Condition)}`;
}

/** The same for statements that differ in their name and in the order or the shortness of lists. */
function meaningOf({ Sid: _name, Principal, ...rest }: Statement): string {
  return canonical({ ...rest, Principal: Principal === '*' ? { AWS: '*' } : Principal });
}

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).toSorted().join()}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify([String(value)]);
  const members = Object.entries(value).filter(([, member]) => member !== undefined);
  return `{${members
    .map(([key, member]) => `${key}:${asList(member)}`)
    .toSorted()
    .join()}}`;
}

/** A lone value and a list of it are one to IAM. */
function asList(value: unknown): string {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return canonical(value);
  return canonical(Array.isArray(value) ? value.map(String) : [String(value)]);
}
