import { Match } from 'aws-cdk-lib/assertions';
import { TERMINAL_STATUSES } from '../../../lib/domain/run/ssm-status.ts';
import { resource, statementsOf, text } from './resources.ts';
import { configuration, synthesize } from './stage.ts';

const usual = synthesize(configuration());
const inBerlin = synthesize(configuration({ schedule: { at: '03:30', timeZone: 'Europe/Berlin' } }));

const RETRIES = { MaximumEventAgeInSeconds: 3600, MaximumRetryAttempts: 2 };

describe('the night', () => {
  test('begins at 02:00 UTC by a rule that hands the planned time to start-run', () => {
    const { properties } = resource(usual, 'AWS::Events::Rule', 'ScheduleNightly');
    expect(properties).toMatchObject({
      ScheduleExpression: 'cron(0 2 * * ? *)',
      State: 'ENABLED',
      Targets: [
        {
          InputTransformer: {
            InputPathsMap: { time: '$.time' },
            InputTemplate: '{"operation":"backup","scheduledFor":<time>}',
          },
          RetryPolicy: RETRIES,
        },
      ],
    });
    const [target] = properties['Targets'] as { Arn: unknown; DeadLetterConfig: { Arn: unknown } }[];
    expect(text(target?.Arn)).toMatch(/^<FunctionsStartRunFunction\w+\.Arn>$/);
    expect(text(target?.DeadLetterConfig.Arn)).toMatch(/^<DeadLettersEvents\w+\.Arn>$/);
  });

  test('in a time zone is begun by EventBridge Scheduler alone, with the same retries and dead letters', () => {
    const { properties } = resource(inBerlin, 'AWS::Scheduler::Schedule');
    expect(properties).toMatchObject({
      ScheduleExpression: 'cron(30 3 * * ? *)',
      ScheduleExpressionTimezone: 'Europe/Berlin',
      FlexibleTimeWindow: { Mode: 'OFF' },
      Target: {
        Input: '{"operation":"backup","scheduledFor":"<aws.scheduler.scheduled-time>"}',
        RetryPolicy: RETRIES,
      },
    });
    const target = properties['Target'] as { Arn: unknown; DeadLetterConfig: { Arn: unknown } };
    expect(text(target.Arn)).toMatch(/^<FunctionsStartRunFunction\w+\.Arn>$/);
    expect(text(target.DeadLetterConfig.Arn)).toMatch(/^<DeadLettersEvents\w+\.Arn>$/);
    inBerlin.resourceCountIs('AWS::Events::Rule', 2);
    usual.resourceCountIs('AWS::Scheduler::Schedule', 0);
  });

  test('in a time zone: a time that its clocks skip is refused, for that night had no backup', () => {
    const schedule = { timeZone: 'Europe/Berlin' };
    expect(() => synthesize(configuration({ schedule }))).toThrow(
      /Europe\/Berlin has no 02:00 on 20\d\d-03-/,
    );
  });

  test('in a time zone: the scheduler’s role starts the one function and is used by the one group', () => {
    const statements = statementsOf(inBerlin, 'ScheduleRole');
    expect(
      statements.map(({ Action, Resource }) => [Action, text(Resource).replaceAll(/[0-9A-F]{8}/g, '')]),
    ).toEqual([
      ['lambda:InvokeFunction', '<FunctionsStartRunFunction.Arn>'],
      ['sqs:SendMessage', '<DeadLettersEvents.Arn>'],
    ]);
    expect(resource(inBerlin, 'AWS::IAM::Role', 'ScheduleRole').properties).toMatchObject({
      AssumeRolePolicyDocument: {
        Statement: [{ Condition: { StringEquals: { 'aws:SourceAccount': '123456789012' } } }],
      },
    });
  });
});

describe('the end of a run', () => {
  const { properties } = resource(usual, 'AWS::Events::Rule', 'ScheduleRunEnded');
  const pattern = properties['EventPattern'] as {
    source: string[];
    'detail-type': string[];
    detail: { status: string[]; 'document-name': unknown[] };
  };

  test('is told by SSM’s events of an invocation, for our two documents alone', () => {
    expect(pattern).toMatchObject({
      source: ['aws.ssm'],
      'detail-type': ['EC2 Command Invocation Status-change Notification'],
    });
    expect(pattern.detail['document-name'].map(text)).toEqual([
      expect.stringMatching(/^<DocumentsBackup\w+>$/),
      expect.stringMatching(/^<DocumentsRestore\w+>$/),
    ]);
  });

  test('is every terminal status, with and without spaces, and no other', () => {
    const { status } = pattern.detail;
    expect(new Set(status.map((each) => each.replaceAll(' ', '')))).toEqual(new Set(TERMINAL_STATUSES));
    expect(status).toEqual(expect.arrayContaining([...TERMINAL_STATUSES, 'Delivery Timed Out', 'Timed Out']));
    for (const each of ['Pending', 'InProgress', 'In Progress', 'Delayed', 'Cancelling'])
      expect(status).not.toContain(each);
  });
});

describe('the watch', () => {
  test('looks every five minutes, and a look that is late is left out', () => {
    expect(resource(usual, 'AWS::Events::Rule', 'ScheduleWatch').properties).toMatchObject({
      ScheduleExpression: 'rate(5 minutes)',
      Targets: [{ RetryPolicy: { MaximumEventAgeInSeconds: 300, MaximumRetryAttempts: 0 } }],
    });
  });
});

test('every rule may call its own function, and no other rule may', () => {
  const rules = usual.findResources('AWS::Events::Rule');
  for (const [id, rule] of Object.entries(rules)) {
    const [target] = (rule as { Properties: { Targets: { Arn: { 'Fn::GetAtt': [string, string] } }[] } })
      .Properties.Targets;
    usual.hasResourceProperties('AWS::Lambda::Permission', {
      Action: 'lambda:InvokeFunction',
      Principal: 'events.amazonaws.com',
      FunctionName: Match.objectLike({ 'Fn::GetAtt': target?.Arn['Fn::GetAtt'] }),
      SourceArn: { 'Fn::GetAtt': [id, 'Arn'] },
    });
  }
  usual.resourceCountIs('AWS::Lambda::Permission', 3);
});
