import { Match } from 'aws-cdk-lib/assertions';
import { PolicyDocument, PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { Topic } from 'aws-cdk-lib/aws-sns';
import { Stack } from 'aws-cdk-lib/core';
import { longestRendering } from '../../../lib/infra/operations/policy-size.ts';
import { actionsOf, hostStatements, list, resource, text } from './resources.ts';
import { configuration, fullConfiguration, newApp, synthesize } from './stage.ts';

const template = synthesize(configuration());
const full = synthesize(fullConfiguration());
const existing = synthesize(fullConfiguration({ hostRoleName: 'database-hosts' }));

const allowed = hostStatements(full).filter(({ Effect }) => Effect === 'Allow');
const denied = hostStatements(full).filter(({ Effect }) => Effect === 'Deny');

describe('the hosts’ role', () => {
  test('is made with an instance profile and what SSM needs, and is EC2’s to take', () => {
    const role = resource(template, 'AWS::IAM::Role', 'HostRole');
    expect(role.properties).toMatchObject({
      AssumeRolePolicyDocument: { Statement: [{ Principal: { Service: 'ec2.amazonaws.com' } }] },
      Path: '/lifeboat/Lifeboat/host/',
    });
    const managed = role.properties['ManagedPolicyArns'] as unknown[];
    expect(managed.map(text)).toEqual(['arn:<AWS::Partition>:iam::aws:policy/AmazonSSMManagedInstanceCore']);
    expect(resource(template, 'AWS::IAM::InstanceProfile').properties).toMatchObject({
      Roles: [{ Ref: role.id }],
    });
    expect(resource(template, 'AWS::IAM::ManagedPolicy').properties).toMatchObject({
      Roles: [{ Ref: role.id }],
    });
  });

  test('and its profile stay when the stack goes, or the hosts that use them were lost to SSM', () => {
    for (const type of ['AWS::IAM::Role', 'AWS::IAM::InstanceProfile'])
      template.hasResource(type, {
        DeletionPolicy: 'RetainExceptOnCreate',
        Properties: Match.objectLike({ Path: '/lifeboat/Lifeboat/host/' }),
      });
  });

  test('is told with the command that attaches it', () => {
    const outputs = template.findOutputs('*');
    expect(Object.keys(outputs)).toEqual(
      expect.arrayContaining(['AttachCommand', 'HostPolicyArn', 'HostRoleName', 'HostInstanceProfile']),
    );
    expect(text(outputs['AttachCommand']?.['Value'])).toMatch(
      /^aws ec2 associate-iam-instance-profile --instance-id INSTANCE_ID --iam-instance-profile Name=<HostProfile\w+>$/,
    );
  });

  test('may be one that exists: then the policy is attached to it and nothing else is made', () => {
    expect(resource(existing, 'AWS::IAM::ManagedPolicy').properties).toMatchObject({
      Roles: ['database-hosts'],
    });
    existing.resourceCountIs('AWS::IAM::InstanceProfile', 0);
    expect(
      Object.keys(existing.findResources('AWS::IAM::Role')).filter((id) => id.startsWith('Host')),
    ).toEqual([]);
  });
});

describe('what a host may do', () => {
  test('is this list of calls and no other', () => {
    expect(actionsOf(allowed)).toEqual([
      'kms:Decrypt',
      'kms:GenerateDataKey',
      'logs:CreateLogStream',
      'logs:DescribeLogGroups',
      'logs:DescribeLogStreams',
      'logs:PutLogEvents',
      's3:AbortMultipartUpload',
      's3:GetObject',
      's3:ListBucket',
      's3:ListBucketMultipartUploads',
      's3:ListMultipartUploadParts',
      's3:PutObject',
      'secretsmanager:GetSecretValue',
    ]);
  });

  test('is without keys and secrets where none are configured', () => {
    const actions = actionsOf(hostStatements(template).filter(({ Effect }) => Effect === 'Allow'));
    expect(actions.filter((action) => /^(kms|secretsmanager)/.test(action))).toEqual([]);
  });

  test('never has a wildcard in an action, and one for all resources only to find its log group', () => {
    expect(actionsOf(allowed).filter((action) => action.includes('*'))).toEqual([]);
    const everywhere = allowed.filter(({ Resource }) => list(Resource).includes('*'));
    expect(actionsOf(everywhere)).toEqual(['logs:DescribeLogGroups']);
  });

  const STREAM = ['journal', 'holes', 'verdicts', 'i-*/journal', 'i-*/holes', 'i-*/verdicts'].map(
    (folder) => `database/${folder}/*`,
  );

  test('writes below the prefix, of a run only its result, and what streaming WAL needs', () => {
    const writes = allowed.filter(({ Action }) => list(Action).includes('s3:PutObject'));
    expect(writes.flatMap(({ Resource }) => list(Resource).map(text))).toEqual([
      'arn:aws:s3:::backups-of-ours/database/*',
      'arn:aws:s3:::state-of-ours/database/runs/*/result.json',
      ...STREAM.toSorted().map((key) => `arn:aws:s3:::state-of-ours/${key}`),
    ]);
  });

  test('lists its prefix alone, and may learn that a run has no result yet', () => {
    const lists = allowed.filter(({ Action }) => list(Action).includes('s3:ListBucket'));
    expect(lists.map(({ Condition }) => Condition)).toEqual([
      { StringLike: { 's3:prefix': ['database', 'database/*'] } },
      { StringLikeIfExists: { 's3:prefix': ['database/runs', 'database/runs/*', ...STREAM] } },
    ]);
  });

  test('fetches exactly the two objects that the documents name', () => {
    const [fetch] = allowed.filter(({ Sid }) => Sid === 'FetchAgent');
    const urls = JSON.stringify(full.findResources('AWS::SSM::Document'));
    const objects = list(fetch?.Resource).map(text);
    expect(objects).toHaveLength(2);
    for (const object of objects) {
      expect(object).toMatch(/^arn:aws:s3:::cdk-[\w-]+\/[0-9a-f]{64}\.gz$/);
      expect(urls).toContain(object.slice(object.indexOf(':::') + 3));
    }
  });

  test('reads the named secret and uses the configured key', () => {
    const of = (action: string) => allowed.filter(({ Action }) => list(Action).includes(action));
    expect(of('secretsmanager:GetSecretValue').map(({ Resource }) => text(Resource))).toEqual([
      'arn:aws:secretsmanager:eu-central-1:123456789012:secret:vault-AbCdEf',
    ]);
    expect(of('kms:Decrypt').map(({ Resource }) => text(Resource))).toEqual([
      'arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-555555555555',
    ]);
  });
});

describe('what a host may never do, whatever else its role was given', () => {
  test.each([
    's3:Delete*',
    's3:PutObjectTagging',
    's3:PutObjectVersionTagging',
    's3:PutObjectRetention',
    's3:PutObjectLegalHold',
    's3:BypassGovernanceRetention',
    's3:PutLifecycleConfiguration',
    's3:PutBucket*',
  ])('%s, on both buckets and everything in them', (action) => {
    const [statement] = denied.filter(({ Action }) => list(Action).includes(action));
    expect(list(statement?.Resource).map(text)).toEqual([
      'arn:aws:s3:::backups-of-ours',
      'arn:aws:s3:::backups-of-ours/*',
      'arn:aws:s3:::state-of-ours',
      'arn:aws:s3:::state-of-ours/*',
    ]);
    expect(statement?.Condition).toBeUndefined();
  });

  test('send a command to anybody', () => {
    const [statement] = denied.filter(({ Action }) => list(Action).includes('ssm:SendCommand'));
    expect(statement?.Resource).toBe('*');
    expect(statement?.Action).toEqual(['ssm:SendCommand', 'ssm:StartSession']);
  });

  test('start our runs, by a role that was there before: what else that may command is not ours to forbid', () => {
    const statements = hostStatements(existing).filter(({ Action }) =>
      list(Action).some((action) => action.startsWith('ssm:S')),
    );
    expect(
      statements.map(({ Effect, Action, Resource }) => [Effect, Action, list(Resource).map(text)]),
    ).toEqual([
      [
        'Deny',
        'ssm:SendCommand',
        [
          expect.stringMatching(/document\/<DocumentsBackup/),
          expect.stringMatching(/document\/<DocumentsRestore/),
        ],
      ],
    ]);
  });

  test('read the Slack webhook or use the key that encrypts it', () => {
    const [parameter] = denied.filter(({ Action }) => list(Action).includes('ssm:GetParameter*'));
    expect(text(parameter?.Resource)).toBe(
      'arn:aws:ssm:eu-central-1:123456789012:parameter/lifeboat/slack-webhook-url',
    );
    const [key] = denied.filter(({ Action }) => list(Action).includes('kms:*'));
    expect(text(key?.Resource)).toMatch(/^<NotificationsKey\w+\.Arn>$/);
  });
});

describe('limits of IAM', () => {
  const secret = (index: number) =>
    `arn:aws:secretsmanager:eu-central-1:123456789012:secret:a-database-with-a-long-name-${index}-AbCdEf`;
  const series = (count: number) =>
    Array.from({ length: count }, (_, index) => ({
      app: `app-${index}`,
      host: { instanceId: 'i-0123456789abcdef0' },
      database: 'app',
      passwordSecretArn: secret(index),
    }));

  test('a policy with a dozen secrets fits into 6,144 characters, as it is rendered', () => {
    const big = synthesize(fullConfiguration({ series: series(12) }));
    const { properties } = resource(big, 'AWS::IAM::ManagedPolicy');
    // References are shorter than what they stand for, hence the room that is left.
    expect(JSON.stringify(properties['PolicyDocument']).length).toBeLessThan(5600);
  });

  test('more secrets are refused with the remedy, however short they are', () => {
    expect(() => synthesize(configuration({ series: series(40) }))).toThrow(
      /^The rights of the hosts make a policy of \d,\d{3} characters; IAM takes 6,144$/,
    );
  });

  test('a long prefix is measured as well', () => {
    const prefix = 'x'.repeat(200);
    const slackParameter = `/${'y'.repeat(1000)}`;
    const notifications = { slackParameter };
    expect(() => synthesize(configuration({ storage: { prefix } }))).not.toThrow();
    expect(() =>
      synthesize(configuration({ storage: { prefix }, notifications, series: series(15) })),
    ).toThrow(/The rights of the hosts/);
  });
});

describe('the measure of a policy', () => {
  const app = newApp();
  const stack = new Stack(app, 'Stack', { env: { region: 'us-gov-west-1', account: '123456789012' } });
  const other = new Stack(app, 'Anywhere');
  const documentOf = (resources: string[]) =>
    new PolicyDocument({ statements: [new PolicyStatement({ actions: ['s3:GetObject'], resources })] });

  test('is what IAM is sent, where all of it is known', () => {
    const document = documentOf(['arn:aws:s3:::bucket/"é"', 'arn:aws:s3:::other/*']);
    expect(longestRendering(stack, document)).toBe(JSON.stringify(stack.resolve(document)).length);
  });

  test('takes what is not known yet to be as long as it can get', () => {
    const topic = new Topic(other, 'Topic');
    const longest = `arn:aws-us-gov:sns:us-isob-east-1:123456789012:Anywhere-TopicBFC7AF6E-ABCDEFGHIJKLM`;
    const known = longestRendering(other, documentOf([longest]));
    const unknown = longestRendering(other, documentOf([topic.topicArn]));
    expect(unknown).toBeGreaterThanOrEqual(known);
    expect(unknown).toBeLessThan(known + 60);
    const account = longestRendering(other, documentOf([`arn:aws:s3:::x-${other.account}/*`]));
    expect(account).toBe(longestRendering(other, documentOf(['arn:aws:s3:::x-123456789012/*'])));
  });
});
