import { list, resource, resources, statementsOf, text, type Statement } from './resources.ts';
import { configuration, fullConfiguration, synthesize } from './stage.ts';

const template = synthesize(fullConfiguration());
const topic = resource(template, 'AWS::SNS::Topic');
const key = resource(template, 'AWS::KMS::Key');
const statementsIn = (document: unknown): Statement[] => (document as { Statement: Statement[] }).Statement;
const keyPolicy = statementsIn(key.properties['KeyPolicy']);
const topicPolicy = statementsIn(resource(template, 'AWS::SNS::TopicPolicy').properties['PolicyDocument']);

const ofService = (statements: Statement[], service: string): Statement[] =>
  statements.filter(({ Principal }) => (Principal as { Service?: string }).Service === service);

describe('an alarm reaches people', () => {
  test.each(resources(template, 'AWS::CloudWatch::Alarm'))(
    '$id: its action is the topic, whose policy and key let CloudWatch publish',
    ({ properties }) => {
      const actions = [
        ...list(properties['AlarmActions'] as unknown[]),
        ...list(properties['OKActions'] as unknown[]),
      ];
      expect(new Set(actions.map(text))).toEqual(new Set([`<${topic.id}>`]));
      expect(properties['ActionsEnabled']).not.toBe(false);

      const [publish] = ofService(topicPolicy, 'cloudwatch.amazonaws.com');
      expect(publish).toMatchObject({ Effect: 'Allow', Action: 'sns:Publish', Resource: { Ref: topic.id } });
      expect(publish?.Condition).toEqual({ StringEquals: { 'aws:SourceAccount': '123456789012' } });

      expect(text(topic.properties['KmsMasterKeyId'])).toBe(`<${key.id}.Arn>`);
      const [use] = ofService(keyPolicy, 'cloudwatch.amazonaws.com');
      expect(use).toMatchObject({ Effect: 'Allow', Action: ['kms:Decrypt', 'kms:GenerateDataKey*'] });
      expect(use?.Condition).toEqual({ StringEquals: { 'aws:SourceAccount': '123456789012' } });
    },
  );
});

describe('the topic', () => {
  test('lets the account’s rules publish, with a key that asks EventBridge for no condition, which it could not meet', () => {
    const [publish] = ofService(topicPolicy, 'events.amazonaws.com');
    expect(publish?.Condition).toEqual({
      ArnLike: { 'aws:SourceArn': 'arn:aws:events:eu-central-1:123456789012:rule/*' },
    });
    const [use] = ofService(keyPolicy, 'events.amazonaws.com');
    expect(use).toMatchObject({ Effect: 'Allow', Action: ['kms:Decrypt', 'kms:GenerateDataKey*'] });
    expect(use).not.toHaveProperty('Condition');
  });

  test('takes nothing without TLS', () => {
    expect(topicPolicy).toContainEqual(
      expect.objectContaining({
        Effect: 'Deny',
        Action: 'sns:Publish',
        Condition: { Bool: { 'aws:SecureTransport': 'false' } },
      }),
    );
  });

  test.each(['FunctionsReportRunRole', 'FunctionsWatchRole'])(
    'takes messages of %s, which may use the key',
    (role) => {
      const statements = statementsOf(template, role);
      expect(statements).toContainEqual(
        expect.objectContaining({ Effect: 'Allow', Action: 'sns:Publish', Resource: { Ref: topic.id } }),
      );
      expect(statements).toContainEqual(
        expect.objectContaining({
          Effect: 'Allow',
          Action: ['kms:Decrypt', 'kms:GenerateDataKey'],
          Resource: { 'Fn::GetAtt': [key.id, 'Arn'] },
        }),
      );
    },
  );
});

describe('the key of messages', () => {
  test('is our own, turns, and has the name that the command for the webhook gives', () => {
    expect(key.properties).toMatchObject({ EnableKeyRotation: true });
    expect(resource(template, 'AWS::KMS::Alias').properties).toMatchObject({
      AliasName: 'alias/Lifeboat-messages',
    });
    expect(text(template.findOutputs('*')['SlackParameterCommand']?.['Value'])).toBe(
      'aws ssm put-parameter --type SecureString --key-id alias/Lifeboat-messages --name /lifeboat/slack-webhook-url --value file://webhook-url.txt',
    );
  });

  test('is closed to the hosts, whatever their role was given', () => {
    expect(keyPolicy).toContainEqual(
      expect.objectContaining({
        Effect: 'Deny',
        Action: 'kms:*',
        Condition: {
          ArnLike: { 'aws:PrincipalArn': ['arn:aws:iam::123456789012:role/lifeboat/Lifeboat/host/*'] },
        },
      }),
    );
  });

  test('is closed to a role of the hosts that exists already, with a path or without', () => {
    const existing = synthesize(configuration({ hostRoleName: 'database-hosts' }));
    const policy = statementsIn(resource(existing, 'AWS::KMS::Key').properties['KeyPolicy']);
    expect(policy.find(({ Sid }) => Sid === 'HostsReadNothing')?.Condition).toEqual({
      ArnLike: {
        'aws:PrincipalArn': [
          'arn:aws:iam::123456789012:role/database-hosts',
          'arn:aws:iam::123456789012:role/*/database-hosts',
        ],
      },
    });
  });

  test('opens nothing but the webhook to the slack function', () => {
    const parameter = 'arn:aws:ssm:eu-central-1:123456789012:parameter/lifeboat/slack-webhook-url';
    const statements = statementsOf(template, 'FunctionsSlackRole');
    expect(statements).toContainEqual(
      expect.objectContaining({ Action: 'ssm:GetParameter', Resource: parameter }),
    );
    expect(statements).toContainEqual(
      expect.objectContaining({
        Action: 'kms:Decrypt',
        Condition: { StringEquals: { 'kms:EncryptionContext:PARAMETER_ARN': parameter } },
      }),
    );
  });
});

describe('subscriptions', () => {
  test('each e-mail address once', () => {
    const emails = ['ops@example.com', 'ops@example.com', 'dba@example.com'];
    const mailed = synthesize(configuration({ notifications: { emails } }));
    const endpoints = resources(mailed, 'AWS::SNS::Subscription').map(
      ({ properties }) => properties['Endpoint'],
    );
    expect(endpoints).toEqual(['ops@example.com', 'dba@example.com']);
  });

  test('addresses that differ by a mark alone are two', () => {
    const mailed = synthesize(
      configuration({ notifications: { emails: ['a.b@example.com', 'a-b@example.com'] } }),
    );
    expect(resources(mailed, 'AWS::SNS::Subscription')).toHaveLength(2);
  });

  const LETTERS = /^<DeadLettersMessages\w+\.Arn>$/;
  const deadLettersOf = ({ properties }: { properties: Readonly<Record<string, unknown>> }): string =>
    text((properties['RedrivePolicy'] as { deadLetterTargetArn: unknown }).deadLetterTargetArn);

  test('a queue for Slack, with another for what cannot be put into it', () => {
    const subscription = resource(template, 'AWS::SNS::Subscription', 'Slack');
    expect(subscription.properties).toMatchObject({ Protocol: 'sqs', TopicArn: { Ref: topic.id } });
    expect(text(subscription.properties['Endpoint'])).toMatch(/^<SlackQueue\w+\.Arn>$/);
    expect(deadLettersOf(subscription)).toMatch(LETTERS);
  });

  test('which the slack function reads two at a time and one by one, as often as five times', () => {
    const [queue, mapping] = [
      resource(template, 'AWS::SQS::Queue', 'Slack'),
      resource(template, 'AWS::Lambda::EventSourceMapping', 'Slack'),
    ];
    expect(mapping.properties).toMatchObject({ BatchSize: 1, ScalingConfig: { MaximumConcurrency: 2 } });
    expect(text(mapping.properties['EventSourceArn'])).toBe(`<${queue.id}.Arn>`);
    expect(text(mapping.properties['FunctionName'])).toMatch(/^<FunctionsSlackFunction/);
    expect(queue.properties).toMatchObject({ RedrivePolicy: { maxReceiveCount: 5 } });
    expect(deadLettersOf(queue)).toMatch(LETTERS);
    // Six times the function's time-out, or one message would be read twice at once.
    const slack = resource(template, 'AWS::Lambda::Function', 'FunctionsSlack').properties;
    expect(queue.properties['VisibilityTimeout']).toBe(6 * Number(slack['Timeout']));
    const found = template.findResources('AWS::Lambda::EventSourceMapping')[mapping.id] as {
      DependsOn: string[];
    };
    expect(found.DependsOn).toEqual([expect.stringMatching(/^SlackRights/)]);
  });

  test('and nothing invokes the slack function but that', () => {
    expect(resources(template, 'AWS::Lambda::Permission', 'FunctionsSlack')).toEqual([]);
  });
});

describe('dead letters', () => {
  test.each(resources(template, 'AWS::SQS::Queue', 'DeadLetters'))(
    '$id is encrypted and keeps them for 14 days',
    ({ properties }) => {
      expect(properties).toMatchObject({
        SqsManagedSseEnabled: true,
        MessageRetentionPeriod: 14 * 24 * 3600,
      });
    },
  );

  test.each(resources(template, 'AWS::SQS::QueuePolicy'))(
    '$id takes nothing without TLS',
    ({ properties }) => {
      expect(statementsIn(properties['PolicyDocument'])).toContainEqual(
        expect.objectContaining({ Effect: 'Deny', Condition: { Bool: { 'aws:SecureTransport': 'false' } } }),
      );
    },
  );

  test('rules and the topic may leave theirs', () => {
    const allowed = resources(template, 'AWS::SQS::QueuePolicy')
      .flatMap(({ properties }) => statementsIn(properties['PolicyDocument']))
      .filter(({ Effect }) => Effect === 'Allow')
      .map(({ Principal, Condition }) => [
        (Principal as { Service: string }).Service,
        text(Condition?.['ArnEquals']?.['aws:SourceArn']).replaceAll(/[0-9A-F]{8}/g, ''),
      ]);
    expect(allowed).toEqual([
      ['events.amazonaws.com', '<ScheduleNightly.Arn>'],
      ['events.amazonaws.com', '<ScheduleRunEnded.Arn>'],
      ['sns.amazonaws.com', '<NotificationsTopic>'],
      // Slack's own queue.
      ['sns.amazonaws.com', '<NotificationsTopic>'],
    ]);
  });
});

test('no template holds a webhook’s URL', () => {
  expect(JSON.stringify(template.toJSON())).not.toMatch(/hooks\.slack\.com/);
});
