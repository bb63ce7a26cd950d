import { checkBucket, type BucketFacts } from '../../../lib/domain/deployment/bucket-check.ts';
import { neededLifecycle, type LifecycleRule } from '../../../lib/domain/deployment/bucket-needs.ts';
import { storageSchema } from '../../../lib/domain/deployment/storage-config.ts';

const KEY = 'arn:aws:kms:eu-west-1:111122223333:key/11111111-2222-3333-4444-555555555555';

const NEEDED = {
  Sid: 'WriteOnce',
  Effect: 'Deny',
  Principal: { AWS: '*' },
  Action: 's3:PutObject',
  Resource: 'arn:aws:s3:::old/database/*',
  Condition: { Null: { 's3:if-none-match': 'true' } },
};

const storage = storageSchema.parse({ bucketName: 'old' });
const terms = { storage, region: 'eu-west-1', statements: [NEEDED] };

const good: BucketFacts = {
  bucket: 'old',
  region: 'eu-west-1',
  versioning: 'Enabled',
  publicAccessBlock: {
    BlockPublicAcls: true,
    IgnorePublicAcls: true,
    BlockPublicPolicy: true,
    RestrictPublicBuckets: true,
  },
  lock: { mode: 'GOVERNANCE', days: 30 },
  encryption: { algorithm: 'AES256', key: undefined, bucketKey: false },
  lifecycle: neededLifecycle(storage),
  statements: [NEEDED],
};

/** `<the need's first words>: <problem>` */
function problems(facts: Partial<BucketFacts>, changes: Record<string, unknown> = {}): string[] {
  const changed = { ...terms, storage: storageSchema.parse({ bucketName: 'old', ...changes }) };
  return checkBucket(changed, { ...good, ...facts }).flatMap((finding) => finding.problems);
}

describe('A bucket that has all', () => {
  it('lacks nothing, and nothing is to be done', () => {
    const findings = checkBucket(terms, good);
    expect(findings).toHaveLength(7);
    expect(findings.flatMap(({ problems: found, mend }) => [...found, ...mend])).toEqual([]);
  });

  it('may be stricter than was asked for', () => {
    expect(problems({ lock: { mode: 'COMPLIANCE', days: 31 } })).toEqual([]);
    expect(problems({ lock: undefined }, { objectLock: 'off' })).toEqual([]);
  });
});

describe('A bucket that nobody has set up', () => {
  const bare = {
    versioning: undefined,
    publicAccessBlock: {},
    lock: undefined,
    lifecycle: [],
    statements: [],
  };

  it('lacks everything, each with the command that mends it', () => {
    const lacking = checkBucket(terms, { ...good, ...bare }).filter(
      ({ problems: found }) => found.length > 0,
    );
    expect(lacking.map(({ problems: found }) => found)).toEqual([
      ['it is never enabled'],
      [
        'BlockPublicAcls is off',
        'IgnorePublicAcls is off',
        'BlockPublicPolicy is off',
        'RestrictPublicBuckets is off',
      ],
      ['the mode of its default retention is none', 'new objects are locked for 0 days'],
      [
        'nothing moves to STANDARD_IA at 30 days',
        'what is tagged as expirable does not expire at 31 days',
        'non-current versions stay for ever',
        'unfinished uploads stay for ever',
      ],
      ['it does not have WriteOnce as it stands on the page'],
    ]);
    for (const { mend } of lacking) expect(mend.join('\n')).toMatch(/^aws s3api [a-z-]+ --bucket old /m);
  });

  it('is given rules and statements to paste that then satisfy', () => {
    const mends = checkBucket(terms, { ...good, ...bare }).flatMap(({ mend }) => mend);
    const [rules, policy] = mends
      .filter((text) => /^[[{]\n/.test(text))
      .map((text): unknown => JSON.parse(text));
    const { Statement } = policy as { Statement: BucketFacts['statements'] };
    expect(problems({ ...bare, lifecycle: rules as LifecycleRule[], statements: Statement })).not.toEqual(
      expect.arrayContaining([expect.stringMatching(/STANDARD_IA|expirable|for ever|the page/)]),
    );
  });
});

describe('What is wrong with a bucket', () => {
  it('is another region than the stacks’: no client of theirs would be answered', () => {
    expect(problems({ region: 'us-east-1' })).toEqual(['it lies in us-east-1, the stacks in eu-west-1']);
  });

  it('is a lock that is too short, or outlasts the expiry', () => {
    expect(problems({ lock: { mode: 'GOVERNANCE', days: 7 } })).toEqual([
      'new objects are locked for 7 days',
    ]);
    expect(problems({ lock: { mode: 'GOVERNANCE', days: 365 } })).toEqual([
      '365 days outlast storage.expirationDays (31): nothing could be removed then',
    ]);
  });

  it('is a key that nobody was given a right to, or not the one that was named', () => {
    const withKey = { encryption: { algorithm: 'aws:kms', key: KEY, bucketKey: true } };
    expect(problems(withKey)).toEqual([
      `it encrypts with ${KEY}, which the hosts and Lambdas get no right to`,
    ]);
    expect(problems(withKey, { kmsKeyArn: KEY })).toEqual([]);
    expect(problems({}, { kmsKeyArn: KEY })).toEqual([
      'it encrypts with AES256',
      'its key is none',
      'it has no bucket key: every object costs a call of KMS',
    ]);
  });

  const rule = (changes: LifecycleRule): string[] =>
    problems({ lifecycle: [...good.lifecycle, { ID: 'theirs', Status: 'Enabled', ...changes }] });

  it.each<[string, LifecycleRule, string[]]>([
    [
      'expires by age alone',
      { Filter: { Prefix: '' }, Expiration: { Days: 365 } },
      ['rule "theirs" expires backups by age alone: when nights fail, the last good one goes as well'],
    ],
    [
      'expires a part of the prefix, as rules were written before filters',
      { Prefix: 'database/hostmaster', Expiration: { Date: new Date(0) } },
      ['rule "theirs" expires backups by age alone: when nights fail, the last good one goes as well'],
    ],
    [
      'expires too soon what is tagged',
      {
        Filter: { And: { Prefix: 'database/', Tags: [{ Key: 'lifeboat', Value: 'expirable' }] } },
        Expiration: { Days: 10 },
      },
      ['rule "theirs" expires at 10 days what is promised for 31'],
    ],
    [
      'freezes backups',
      { Filter: { Prefix: 'data' }, Transitions: [{ Days: 90, StorageClass: 'DEEP_ARCHIVE' }] },
      ['rule "theirs" moves backups to DEEP_ARCHIVE, from where a restore has to wait for hours'],
    ],
    [
      'cuts short what can be had back, and uploads at work',
      {
        Filter: { Prefix: '' },
        NoncurrentVersionExpiration: { NoncurrentDays: 1 },
        AbortIncompleteMultipartUpload: { DaysAfterInitiation: 1 },
      },
      [
        'rule "theirs" removes replaced and deleted versions at 1 days, before 31',
        'rule "theirs" breaks off uploads at 1 days, before 3',
      ],
    ],
    ['is about other folders', { Filter: { Prefix: 'logs/' }, Expiration: { Days: 1 } }, []],
    ['is switched off', { Status: 'Disabled', Expiration: { Days: 1 } }, []],
  ])('is a rule that %s', (_, changes, expected) => {
    expect(rule(changes)).toEqual(expected);
  });

  it('is a rule for large objects alone, which leaves the small ones', () => {
    const [move, ...rest] = neededLifecycle(storage);
    const part = { ...move, Filter: { And: { Prefix: 'database/', ObjectSizeGreaterThan: 1000 } } };
    expect(problems({ lifecycle: [part, ...rest] })).toEqual(['nothing moves to STANDARD_IA at 30 days']);
  });

  it('is a policy that says something else, but not one that says it in another way', () => {
    const otherwise = {
      ...NEEDED,
      Sid: 'Theirs',
      Principal: '*',
      Action: ['s3:PutObject'],
      Condition: { Null: { 's3:if-none-match': [true] } },
    };
    expect(problems({ statements: [otherwise] })).toEqual([]);
    for (const change of [{ Resource: 'arn:aws:s3:::old/*' }, { Effect: 'Allow' }, { Condition: {} }])
      expect(problems({ statements: [{ ...NEEDED, ...change }] })).toEqual([
        'it does not have WriteOnce as it stands on the page',
      ]);
  });
});
