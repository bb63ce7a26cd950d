import type { App } from 'aws-cdk-lib/core';
import { findingsOf } from '../findings.ts';
import {
  ACCOUNT,
  REGION,
  resourcesOf,
  synthesizeStorage,
  templateOf,
  type Resource,
  type Template,
} from '../synthesize.ts';

interface BucketProperties {
  readonly [name: string]: unknown;
}

/** The storage stack's own template. */
function storageTemplate(
  storage: Record<string, unknown> = {},
  more: Record<string, unknown> = {},
): Template {
  const { assembly, storage: stack } = synthesizeStorage({ storage, ...more });
  return templateOf(assembly, stack);
}

function bucket(template: Template, id: string): BucketProperties {
  const found = resourcesOf(template, 'AWS::S3::Bucket').find(([logicalId]) => logicalId.startsWith(id));
  return (found?.[1].Properties ?? {}) as BucketProperties;
}

function lifecycle(template: Template, id: string): unknown[] {
  return (bucket(template, id)['LifecycleConfiguration'] as { Rules: unknown[] }).Rules;
}

/** Of a bucket's policy or of a role's. */
function statementsOf({ Properties = {} }: Resource): { Action: string | string[] }[] {
  return (Properties['PolicyDocument'] as { Statement: { Action: string | string[] }[] }).Statement;
}

// The CDK prints its warnings as well; the tests read them from the assembly.
jest.spyOn(console, 'error').mockReturnValue();

const usual = storageTemplate();

describe('Every bucket of the storage stack', () => {
  const buckets = resourcesOf(usual, 'AWS::S3::Bucket');
  const policies = resourcesOf(usual, 'AWS::S3::BucketPolicy');

  it('is one of three: backups, state, access logs', () => {
    expect(buckets.map(([id]) => id.replace(/[0-9A-F]{8}$/, '')).sort()).toEqual([
      'AccessLogs',
      'Backups',
      'State',
    ]);
  });

  it('stays when the stack is deleted or the bucket replaced, and so does its policy', () => {
    const retained = { DeletionPolicy: 'Retain', UpdateReplacePolicy: 'Retain' };
    expect(policies).toHaveLength(3);
    for (const [, resource] of [...buckets, ...policies]) expect(resource).toMatchObject(retained);
  });

  it('blocks all public access and is encrypted', () => {
    for (const [, { Properties }] of buckets) {
      expect(Properties).toMatchObject({
        PublicAccessBlockConfiguration: {
          BlockPublicAcls: true,
          BlockPublicPolicy: true,
          IgnorePublicAcls: true,
          RestrictPublicBuckets: true,
        },
        BucketEncryption: {
          ServerSideEncryptionConfiguration: [{ ServerSideEncryptionByDefault: { SSEAlgorithm: 'AES256' } }],
        },
      });
      // Object ownership is enforced where nothing else is said: ACLs mean nothing.
      expect(Properties).not.toHaveProperty('AccessControl');
    }
  });

  it('is reached over TLS 1.2 or later only', () => {
    for (const [, policy] of policies) {
      const statements = statementsOf(policy);
      const everything = { Effect: 'Deny', Principal: { AWS: '*' }, Action: 's3:*' };
      expect(statements).toContainEqual(
        expect.objectContaining({ ...everything, Condition: { Bool: { 'aws:SecureTransport': 'false' } } }),
      );
      expect(statements).toContainEqual(
        expect.objectContaining({ ...everything, Condition: { NumericLessThan: { 's3:TlsVersion': 1.2 } } }),
      );
    }
  });

  it('that holds data is versioned and writes access logs to the one that has no lock', () => {
    for (const id of ['Backups', 'State']) {
      expect(bucket(usual, id)).toMatchObject({
        VersioningConfiguration: { Status: 'Enabled' },
        LoggingConfiguration: {
          DestinationBucketName: { Ref: expect.stringMatching(/^AccessLogs/) },
          LogFilePrefix: `${id.toLowerCase()}/`,
        },
      });
    }
    expect(bucket(usual, 'AccessLogs')).not.toHaveProperty('ObjectLockEnabled');
  });

  it('can be found by the stack’s outputs', () => {
    expect(Object.keys(usual.Outputs ?? {})).toEqual(
      expect.arrayContaining(['BackupBucketName', 'StateBucketName']),
    );
  });
});

describe('The backup bucket', () => {
  it('locks every object for 30 days in governance mode', () => {
    expect(bucket(usual, 'Backups')).toMatchObject({
      ObjectLockEnabled: true,
      ObjectLockConfiguration: {
        ObjectLockEnabled: 'Enabled',
        Rule: { DefaultRetention: { Mode: 'GOVERNANCE', Days: 30 } },
      },
    });
  });

  it('locks in compliance mode or not at all when told to', () => {
    const compliance = bucket(storageTemplate({ objectLock: 'compliance', lockDays: 7 }), 'Backups');
    expect(compliance['ObjectLockConfiguration']).toMatchObject({
      Rule: { DefaultRetention: { Mode: 'COMPLIANCE', Days: 7 } },
    });
    const off = bucket(storageTemplate({ objectLock: 'off' }), 'Backups');
    expect(off['ObjectLockEnabled'] ?? false).toBe(false);
    expect(off).not.toHaveProperty('ObjectLockConfiguration');
  });

  it('moves strays to STANDARD_IA at 30 days and expires at 31 only what is tagged as expirable', () => {
    expect(lifecycle(usual, 'Backups')).toEqual([
      {
        Id: 'lifeboat-infrequent-access',
        Prefix: 'database/',
        Status: 'Enabled',
        Transitions: [{ StorageClass: 'STANDARD_IA', TransitionInDays: 30 }],
      },
      {
        Id: 'lifeboat-expirable',
        Prefix: 'database/',
        Status: 'Enabled',
        TagFilters: [{ Key: 'lifeboat', Value: 'expirable' }],
        ExpirationInDays: 31,
      },
      {
        Id: 'lifeboat-clean-up',
        Prefix: 'database/',
        Status: 'Enabled',
        NoncurrentVersionExpiration: { NoncurrentDays: 31 },
        ExpiredObjectDeleteMarker: true,
        AbortIncompleteMultipartUpload: { DaysAfterInitiation: 3 },
      },
    ]);
  });

  it('expires nothing that is not tagged, whatever the settings', () => {
    const template = storageTemplate({
      transitionDays: 60,
      expirationDays: 90,
      retentionDays: 45,
      noncurrentDays: 5,
    });
    const rules = lifecycle(template, 'Backups') as Record<string, unknown>[];
    const expiring = rules.filter((rule) => 'ExpirationInDays' in rule || 'ExpirationDate' in rule);
    expect(expiring).toEqual([
      expect.objectContaining({
        ExpirationInDays: 90,
        TagFilters: [{ Key: 'lifeboat', Value: 'expirable' }],
      }),
    ]);
    expect(rules).toContainEqual(
      expect.objectContaining({ Transitions: [{ StorageClass: 'STANDARD_IA', TransitionInDays: 60 }] }),
    );
    expect(rules).toContainEqual(
      expect.objectContaining({ NoncurrentVersionExpiration: { NoncurrentDays: 5 } }),
    );
  });

  it('gives an unfinished upload longer than the longest run may take', () => {
    const LONGEST_RUN_DAYS = 2;
    for (const id of ['Backups', 'State'])
      expect(lifecycle(usual, id)).toContainEqual(
        expect.objectContaining({
          AbortIncompleteMultipartUpload: { DaysAfterInitiation: LONGEST_RUN_DAYS + 1 },
        }),
      );
  });

  it('encrypts with a key of one’s own through a bucket key, and the state as well', () => {
    const kmsKeyArn = `arn:aws:kms:${REGION}:${ACCOUNT}:key/11111111-2222-3333-4444-555555555555`;
    const template = storageTemplate({ kmsKeyArn });
    for (const id of ['Backups', 'State'])
      expect(bucket(template, id)['BucketEncryption']).toEqual({
        ServerSideEncryptionConfiguration: [
          {
            BucketKeyEnabled: true,
            ServerSideEncryptionByDefault: { SSEAlgorithm: 'aws:kms', KMSMasterKeyID: kmsKeyArn },
          },
        ],
      });
    // S3 cannot deliver access logs to a bucket that is encrypted with a key.
    expect(JSON.stringify(bucket(template, 'AccessLogs'))).not.toContain('kms');
  });

  it('is called as one likes, or as AWS likes', () => {
    const template = storageTemplate({
      newBucketName: 'my-backups',
      stateBucketName: 'my-state',
      prefix: 'a/b',
    });
    expect(bucket(template, 'Backups')['BucketName']).toBe('my-backups');
    expect(bucket(template, 'State')['BucketName']).toBe('my-state');
    expect(JSON.stringify(lifecycle(template, 'Backups'))).not.toContain('database/');
    expect(bucket(usual, 'Backups')).not.toHaveProperty('BucketName');
  });
});

describe('The state bucket', () => {
  it('has no lock, and keeps runs for 90 days, plans for 7 and drills for 400; the journal does not expire by its age', () => {
    expect(bucket(usual, 'State')).not.toHaveProperty('ObjectLockConfiguration');
    const ages = (lifecycle(usual, 'State') as Record<string, unknown>[])
      .filter((rule) => 'ExpirationInDays' in rule)
      .map(({ Prefix, ExpirationInDays }) => [Prefix, ExpirationInDays]);
    expect(ages).toEqual([
      ['database/runs/', 90],
      ['database/plans/', 7],
      ['database/drills/', 400],
    ]);
  });
});

describe('The storage stack', () => {
  it('refuses to be deleted, in both regions', () => {
    const { storage, replica } = synthesizeStorage({ storage: { drRegion: 'eu-central-1' } });
    expect(storage.terminationProtection).toBe(true);
    expect(replica?.terminationProtection).toBe(true);
  });

  it('satisfies cdk-nag’s AwsSolutions checks in every shape', () => {
    const kms = {
      kmsKeyArn: `arn:aws:kms:${REGION}:${ACCOUNT}:key/11111111-2222-3333-4444-555555555555`,
      drKmsKeyArn: `arn:aws:kms:eu-central-1:${ACCOUNT}:key/mrk-1234567890abcdef1234567890abcdef`,
      drRegion: 'eu-central-1',
    };
    for (const storage of [
      {},
      { bucketName: 'old' },
      { drRegion: 'eu-central-1' },
      kms,
      { objectLock: 'off' },
    ])
      expect(() => synthesizeStorage({ storage })).not.toThrow();
    expect(() => synthesizeStorage({ storage: { drRegion: 'eu-central-1' } }, {})).not.toThrow();
  });

  it('has these findings acknowledged and no more', () => {
    const { storage } = synthesizeStorage({ storage: { drRegion: 'eu-central-1' } });
    expect(findingsOf(storage.node.root as App)).toMatchSnapshot();
  });

  it('carries no secret, and takes no reference to another stack', () => {
    const text = JSON.stringify(storageTemplate({ drRegion: 'eu-central-1' }, { hostRoleName: 'db-host' }));
    expect(text).not.toMatch(/hooks\.slack\.com|Fn::ImportValue|Fn::GetStackOutput/);
  });

  it('refuses a second region or a key that does not fit where it is deployed', () => {
    const at = (storage: Record<string, unknown>) => () => synthesizeStorage({ storage });
    expect(at({ drRegion: REGION })).toThrow(`storage.drRegion ${REGION} is the region`);
    expect(
      at({ kmsKeyArn: `arn:aws:kms:us-east-1:${ACCOUNT}:key/11111111-2222-3333-4444-555555555555` }),
    ).toThrow('a key in us-east-1, but the buckets');
  });
});

describe('An existing bucket', () => {
  const { assembly, storage } = synthesizeStorage({ storage: { bucketName: 'old-backups' } });
  const template = templateOf(assembly, storage);
  const notices = (stackName: string): string =>
    assembly
      .getStackByName(stackName)
      .messages.map(({ entry }) => JSON.stringify(entry.data))
      .join('\n');

  it('is used as it is: no second one is made, and nothing is set on it', () => {
    expect(resourcesOf(template, 'AWS::S3::Bucket').map(([id]) => id.replace(/[0-9A-F]{8}$/, ''))).toEqual([
      'AccessLogs',
      'State',
    ]);
    expect(template.Outputs?.['BackupBucketName']?.Value).toBe('old-backups');
    expect(resourcesOf(template, 'AWS::S3::BucketPolicy')).toHaveLength(2);
  });

  it('is said to need what cannot be set from here', () => {
    const said = notices('LifeboatStorage');
    for (const need of [
      'old-backups',
      'versioning',
      'Block Public Access',
      'retention of 30 days, GOVERNANCE mode',
      'STANDARD_IA at 30 days',
      'expiry at 31 days of what is tagged lifeboat=expirable',
      'docs/existing-bucket.md',
    ])
      expect(said).toContain(need);
  });

  it('that is new is not spoken of, except of a lock that nobody can open', () => {
    const { assembly: made } = synthesizeStorage();
    expect(made.getStackByName('LifeboatStorage').messages).toEqual([]);
    const { assembly: locked } = synthesizeStorage({ storage: { objectLock: 'compliance' } });
    const [message] = locked.getStackByName('LifeboatStorage').messages;
    expect(JSON.stringify(message?.entry)).toContain('not even the account’s root user');
  });
});

describe('The copy in a second region', () => {
  const { assembly, storage, replica } = synthesizeStorage({ storage: { drRegion: 'eu-central-1' } });
  const source = templateOf(assembly, storage);
  const copy = replica ? templateOf(assembly, replica) : { Resources: {} };
  const NAME = `lifeboat-dr-${ACCOUNT}-eu-central-1`;

  it('lies in a stack of that region, which is deployed first', () => {
    expect(replica?.stackName).toBe('LifeboatDr');
    expect(replica?.region).toBe('eu-central-1');
    expect(storage.dependencies.map(({ stackName }) => stackName)).toContain('LifeboatDr');
  });

  it('is locked, kept and expired as the original is', () => {
    const made = bucket(copy, 'Replica');
    const original = bucket(source, 'Backups');
    expect(made['BucketName']).toBe(NAME);
    for (const name of [
      'ObjectLockEnabled',
      'ObjectLockConfiguration',
      'LifecycleConfiguration',
      'VersioningConfiguration',
      'PublicAccessBlockConfiguration',
      'BucketEncryption',
    ])
      expect(made[name]).toEqual(original[name]);
    expect(made['LoggingConfiguration']).toBeDefined();
  });

  it('takes every new backup, no deletion, and is measured', () => {
    expect(bucket(source, 'Backups')['ReplicationConfiguration']).toEqual({
      Role: { 'Fn::GetAtt': [expect.stringMatching(/^ReplicationRole/), 'Arn'] },
      Rules: [
        {
          Id: 'lifeboat-replica',
          Status: 'Enabled',
          Filter: { Prefix: 'database/' },
          Priority: 1,
          DeleteMarkerReplication: { Status: 'Disabled' },
          Destination: { Bucket: `arn:aws:s3:::${NAME}`, Metrics: { Status: 'Enabled' } },
        },
      ],
    });
  });

  it('is written by a role with no more rights than S3 needs', () => {
    const [, policy] = resourcesOf(source, 'AWS::IAM::Policy')[0] as [string, Resource];
    const actions = statementsOf(policy).flatMap(({ Action }) => Action);
    expect(actions.sort()).toEqual([
      's3:GetObjectLegalHold',
      's3:GetObjectRetention',
      's3:GetObjectVersionAcl',
      's3:GetObjectVersionForReplication',
      's3:GetObjectVersionTagging',
      's3:GetReplicationConfiguration',
      's3:ListBucket',
      's3:ReplicateObject',
      's3:ReplicateTags',
    ]);
    const [, role] = resourcesOf(source, 'AWS::IAM::Role')[0] as [string, Resource];
    expect(role.Properties?.['AssumeRolePolicyDocument']).toMatchObject({
      Statement: [{ Action: 'sts:AssumeRole', Principal: { Service: 's3.amazonaws.com' } }],
    });
  });

  it('is encrypted with the key of its own region', () => {
    const kmsKeyArn = `arn:aws:kms:${REGION}:${ACCOUNT}:key/11111111-2222-3333-4444-555555555555`;
    const drKmsKeyArn = `arn:aws:kms:eu-central-1:${ACCOUNT}:key/mrk-1234567890abcdef1234567890abcdef`;
    const made = synthesizeStorage({ storage: { drRegion: 'eu-central-1', kmsKeyArn, drKmsKeyArn } });
    const from = templateOf(made.assembly, made.storage);
    expect(bucket(from, 'Backups')['ReplicationConfiguration']).toMatchObject({
      Rules: [
        {
          SourceSelectionCriteria: { SseKmsEncryptedObjects: { Status: 'Enabled' } },
          Destination: { EncryptionConfiguration: { ReplicaKmsKeyID: drKmsKeyArn } },
        },
      ],
    });
    const [, policy] = resourcesOf(from, 'AWS::IAM::Policy')[0] as [string, Resource];
    expect(JSON.stringify(policy)).toContain('["s3.eu-central-1.",{"Ref":"AWS::URLSuffix"}]');
  });

  it('has a name that S3 takes, however long the deployment’s is', () => {
    const names = [`A${'b'.repeat(39)}`, `A${'b'.repeat(38)}c`, 'Lifeboat'].map((name) => {
      const made = synthesizeStorage({ name, storage: { drRegion: 'ap-southeast-2' } });
      return String(bucket(templateOf(made.assembly, made.replica ?? made.storage), 'Replica')['BucketName']);
    });
    expect(new Set(names).size).toBe(3);
    for (const name of names) expect(name).toMatch(/^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$/);
  });
});

describe('A deployment without account and region', () => {
  it('fits any', () => {
    const { assembly, storage } = synthesizeStorage({ storage: { drRegion: 'eu-central-1' } }, {});
    const template = templateOf(assembly, storage);
    expect(JSON.stringify(template)).toContain('"AWS::AccountId"');
    expect(JSON.stringify(template)).not.toContain(ACCOUNT);
  });
});
