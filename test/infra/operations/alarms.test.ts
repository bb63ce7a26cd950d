import { readFileSync } from 'node:fs';
import { Template } from 'aws-cdk-lib/assertions';
import { NestedStack } from 'aws-cdk-lib/core';
import { METRIC } from '../../../lib/domain/names.ts';
import { ALARMS, runbookAnchor } from '../../../lib/domain/watch/alarms.ts';
import { list, resources, text, type Resource } from './resources.ts';
import { addOperations, configuration, fullConfiguration, newApp, synthesize } from './stage.ts';

const template = synthesize(fullConfiguration());
const all = alarmsOf(template);
const withReplica = alarmsOf(synthesize(configuration({ storage: { drRegion: 'eu-west-1' } })));
const every = new Map([...withReplica, ...all]);

function alarmsOf(of: Template): Map<string, Resource['properties']> {
  const found = resources(of, 'AWS::CloudWatch::Alarm');
  return new Map(found.map(({ properties }) => [String(properties['AlarmName']), properties]));
}

function dimensionsOf(alarm: Resource['properties'] | undefined): Record<string, string> {
  const dimensions = (alarm?.['Dimensions'] ?? []) as { Name: string; Value: unknown }[];
  return Object.fromEntries(
    dimensions.map(({ Name, Value }) => [Name, text(Value).replace(/[0-9A-F]{8}/g, '')]),
  );
}

describe.each(['hostmaster', 'fleet', 'guarded'])('the series %s', (app) => {
  const ours = { Namespace: 'Lifeboat', EvaluationPeriods: 1 };

  test('has no backup that is young enough, or nobody looks', () => {
    expect(all.get(`Lifeboat-backup-too-old-${app}`)).toMatchObject({
      ...ours,
      MetricName: METRIC.backupAge,
      Statistic: 'Maximum',
      Threshold: 26 * 3600,
      ComparisonOperator: 'GreaterThanThreshold',
      Period: 3600,
      TreatMissingData: 'breaching',
    });
  });

  test('had a run that failed', () => {
    expect(all.get(`Lifeboat-backup-failed-${app}`)).toMatchObject({
      ...ours,
      MetricName: METRIC.runFailed,
      Statistic: 'Sum',
      Threshold: 1,
      ComparisonOperator: 'GreaterThanOrEqualToThreshold',
      TreatMissingData: 'notBreaching',
    });
  });

  test('has a backup of less than half the usual size, on any host', () => {
    expect(all.get(`Lifeboat-size-drop-${app}`)).toMatchObject({
      ...ours,
      MetricName: METRIC.sizeRatio,
      Statistic: 'Minimum',
      Threshold: 0.5,
      ComparisonOperator: 'LessThanThreshold',
      TreatMissingData: 'notBreaching',
    });
  });

  test('has a run that is at work for more than 80 % of its time', () => {
    expect(all.get(`Lifeboat-run-overdue-${app}`)).toMatchObject({
      ...ours,
      MetricName: METRIC.runningShare,
      Statistic: 'Maximum',
      Threshold: 0.8,
      ComparisonOperator: 'GreaterThanThreshold',
      TreatMissingData: 'notBreaching',
    });
  });

  test('has a host that does not answer', () => {
    expect(all.get(`Lifeboat-host-unreachable-${app}`)).toMatchObject({
      ...ours,
      MetricName: METRIC.hostUnreachable,
      Statistic: 'Sum',
      Threshold: 1,
      TreatMissingData: 'notBreaching',
    });
  });

  test('is told by the deployment’s and the app’s name, without a host: the worst one counts', () => {
    const own = [...all]
      .filter(([, { Namespace }]) => Namespace === 'Lifeboat')
      .filter(([name]) => name.endsWith(`-${app}`));
    expect(own).toHaveLength(app === 'guarded' ? 9 : 5);
    for (const [, alarm] of own) expect(dimensionsOf(alarm)).toEqual({ Deployment: 'Lifeboat', App: app });
  });
});

describe('a series with point-in-time recovery', () => {
  const breaching = { Statistic: 'Maximum', EvaluationPeriods: 1, TreatMissingData: 'breaching' };

  test.each([
    ['recovery-behind', METRIC.restorableAge, { ...breaching, Threshold: 900, Period: 900 }],
    ['wal-silent', METRIC.walSilence, { ...breaching, Threshold: 900, Period: 900 }],
    ['base-too-old', METRIC.baseBackupAge, { ...breaching, Threshold: 26 * 3600, Period: 3600 }],
    ['recovery-hole', METRIC.recoveryHoles, { Threshold: 0, Period: 900, TreatMissingData: 'notBreaching' }],
  ])('rings with %s, says what to do next, and tells when it is over', (id, MetricName, setting) => {
    const alarm = all.get(`Lifeboat-${id}-guarded`);
    expect(alarm).toMatchObject({ MetricName, ComparisonOperator: 'GreaterThanThreshold', ...setting });
    expect(text(alarm?.['AlarmDescription'])).toMatch(/wal status|systemctl|"kind":"base","app":"\w+"/);
    expect(list(alarm?.['OKActions'])).toHaveLength(1);
  });

  test('alone has these alarms', () => {
    const ids = Object.values(ALARMS).flatMap(({ id, per }) => (per === 'recovery' ? [id] : []));
    const names = [...all.keys()].filter((name) => ids.some((id) => name.includes(id)));
    expect(names).toHaveLength(4);
    expect(names.every((name) => name.endsWith('-guarded'))).toBe(true);
  });
});

describe('the deployment', () => {
  const once = { Statistic: 'Sum', Threshold: 1, TreatMissingData: 'notBreaching' };

  test.each(['report-run', 'watch', 'slack'])('the function %s failed', (name) => {
    const alarm = all.get(`Lifeboat-lambda-errors-${name}`);
    expect(alarm).toMatchObject({ ...once, Namespace: 'AWS/Lambda', MetricName: 'Errors' });
    expect(dimensionsOf(alarm)).toEqual(dimensionsOf(all.get(`Lifeboat-lambda-errors-throttled-${name}`)));
  });

  test.each(['start-run', 'restore', 'report-run', 'watch', 'slack'])(
    'the function %s was not let run',
    (name) => {
      expect(all.get(`Lifeboat-lambda-errors-throttled-${name}`)).toMatchObject({
        ...once,
        Namespace: 'AWS/Lambda',
        MetricName: 'Throttles',
      });
    },
  );

  test('the watch failed again and again: one failure is made good in five minutes', () => {
    expect(all.get('Lifeboat-lambda-errors-watch')).toMatchObject({
      Period: 300,
      EvaluationPeriods: 4,
      DatapointsToAlarm: 3,
    });
  });

  test('start-run failed by its own fault: what people mistype is an error to Lambda as well', () => {
    const alarm = all.get('Lifeboat-lambda-errors-start-run');
    expect(alarm).toMatchObject({ ...once, Namespace: 'Lifeboat', MetricName: METRIC.functionFailed });
    expect(dimensionsOf(alarm)).toEqual({ Deployment: 'Lifeboat', Function: 'start-run' });
  });

  test('restore calls nobody: whoever invoked it has the answer', () => {
    expect([...all.keys()].filter((name) => name.includes('restore'))).toEqual([
      'Lifeboat-lambda-errors-throttled-restore',
    ]);
  });

  test('a backup was not copied to the second region', () => {
    expect(all.has('Lifeboat-replication-failed')).toBe(false);
    const alarm = withReplica.get('Lifeboat-replication-failed');
    expect(alarm).toMatchObject({
      ...once,
      Namespace: 'AWS/S3',
      MetricName: 'OperationsFailedReplication',
    });
    expect(alarm?.['Dimensions']).toEqual([
      { Name: 'DestinationBucket', Value: 'lifeboat-dr-123456789012-eu-west-1' },
      { Name: 'RuleId', Value: 'lifeboat-replica' },
      { Name: 'SourceBucket', Value: 'backups-of-ours' },
    ]);
  });

  test.each([
    ['Lifeboat-dead-letters', '<DeadLettersEvents.QueueName>'],
    ['Lifeboat-message-undeliverable-slack', '<DeadLettersMessages.QueueName>'],
  ])('%s: something lies in a queue that should be empty', (name, queue) => {
    expect(all.get(name)).toMatchObject({
      Namespace: 'AWS/SQS',
      MetricName: 'ApproximateNumberOfMessagesVisible',
      Statistic: 'Maximum',
      Threshold: 1,
    });
    expect(dimensionsOf(all.get(name))).toEqual({ QueueName: queue });
  });

  test('a message could not be handed to a subscriber', () => {
    expect(all.get('Lifeboat-message-undeliverable-topic')).toMatchObject({
      Namespace: 'AWS/SNS',
      MetricName: 'NumberOfNotificationsFailed',
      Threshold: 1,
    });
  });

  test.each([
    ['nightly', '<ScheduleNightly>'],
    ['run-ended', '<ScheduleRunEnded>'],
    ['watch', '<ScheduleWatch>'],
  ])('the rule %s could not call its function', (name, rule) => {
    const alarm = all.get(`Lifeboat-rule-failed-${name}`);
    expect(alarm).toMatchObject({
      Namespace: 'AWS/Events',
      MetricName: 'FailedInvocations',
      Statistic: 'Sum',
    });
    expect(dimensionsOf(alarm)).toEqual({ RuleName: rule });
  });

  test('with a time zone, what EventBridge Scheduler counts stands in for the nightly rule', () => {
    const schedule = { at: '03:30', timeZone: 'Europe/Berlin' };
    const zoned = alarmsOf(synthesize(configuration({ schedule })));
    for (const metric of ['TargetErrorCount', 'InvocationDroppedCount']) {
      const alarm = zoned.get(`Lifeboat-rule-failed-schedule-${metric}`);
      expect(alarm).toMatchObject({ Namespace: 'AWS/Scheduler', MetricName: metric });
      expect(dimensionsOf(alarm)).toEqual({ ScheduleGroup: '<ScheduleGroup>' });
    }
    expect(zoned.has('Lifeboat-rule-failed-nightly')).toBe(false);
  });

  test('messages that have waited for Slack for an hour are undelivered', () => {
    const alarm = all.get('Lifeboat-message-undeliverable-slack-waiting');
    expect(alarm).toMatchObject({
      Namespace: 'AWS/SQS',
      MetricName: 'ApproximateAgeOfOldestMessage',
      Threshold: 3600,
      TreatMissingData: 'notBreaching',
    });
    expect(JSON.stringify(dimensionsOf(alarm))).toContain('SlackQueue');
  });

  test('without Slack there is none for Slack', () => {
    const names = [...alarmsOf(synthesize(configuration())).keys()];
    expect(names.filter((name) => name.includes('slack'))).toEqual([]);
  });
});

describe('every alarm', () => {
  test('of the domain’s list exists', () => {
    for (const { id } of Object.values(ALARMS))
      expect([...every.keys()].some((name) => name.startsWith(`Lifeboat-${id}`))).toBe(true);
  });

  test.each([...every])(
    '%s says what it is about and links to a section that the runbook has',
    (_name, alarm) => {
      const description = text(alarm['AlarmDescription']);
      const [first = '', link = ''] = description.split('\n');
      const [, anchor] = /^Runbook: docs\/runbook\.md#([a-z-]+)$/.exec(link) ?? [];
      expect(first.length).toBeGreaterThan(20);
      expect(description.length).toBeLessThan(1024);
      const headings = [...readFileSync('docs/runbook.md', 'utf8').matchAll(/^#+ (.*)$/gm)].map(
        ([, text = '']) => text,
      );
      expect(headings.map(runbookAnchor)).toContain(anchor);
    },
  );

  test('of the domain’s list has its own heading in the runbook, once', () => {
    const runbook = readFileSync('docs/runbook.md', 'utf8');
    for (const { runbookHeading } of Object.values(ALARMS))
      expect(runbook.match(new RegExp(`^## ${runbookHeading}$`, 'gm'))).toHaveLength(1);
  });

  test('links to where the configuration says that the runbook is', () => {
    const runbookUrl = 'https://wiki.example.com/lifeboat';
    const linked = alarmsOf(synthesize(configuration({ notifications: { runbookUrl } })));
    expect(linked.get('Lifeboat-backup-too-old-hostmaster')?.['AlarmDescription']).toBe(
      'The newest verified backup is too old. Series hostmaster.\nRunbook: https://wiki.example.com/lifeboat#alarm-backup-too-old',
    );
  });

  test('stays within what CloudWatch lets an alarm look back on', () => {
    for (const [, { Period, EvaluationPeriods }] of every)
      expect(Number(Period) * Number(EvaluationPeriods)).toBeLessThanOrEqual(86_400);
  });

  test('of a state tells its end as well; of an event it does not', () => {
    const telling = [...all].filter(([, { OKActions }]) => list(OKActions).length > 0).map(([name]) => name);
    expect(telling.toSorted()).toEqual(
      [
        ...['hostmaster', 'fleet', 'guarded'].map((app) => `Lifeboat-backup-too-old-${app}`),
        ...['recovery-behind', 'wal-silent', 'recovery-hole', 'base-too-old'].map(
          (id) => `Lifeboat-${id}-guarded`,
        ),
      ].toSorted(),
    );
  });
});

describe('many series', () => {
  const series = (count: number, recovers = false) =>
    Array.from({ length: count }, (_, index) => ({
      app: `app-${index}`,
      host: { tag: { key: 'App', value: 'shared' } },
      database: `db-${index}`,
      pointInTimeRecovery: recovers,
    }));

  function groups(
    count: number,
    recovers = false,
  ): { resources: number; alarms: Map<string, string>; nested: number[] } {
    const stack = addOperations(newApp(), configuration({ series: series(count, recovers) }));
    const template = Template.fromStack(stack);
    const nested = stack.node
      .findAll()
      .filter((each): each is NestedStack => NestedStack.isNestedStack(each));
    const templates = nested.map((each) => [each.node.id, Template.fromStack(each)] as const);
    const alarms = new Map(
      templates.flatMap(([id, each]) => [...alarmsOf(each).keys()].map((name) => [name, id] as const)),
    );
    const size = (each: Template) => Object.keys(each.toJSON()['Resources'] as object).length;
    return { resources: size(template), alarms, nested: templates.map(([, each]) => size(each)) };
  }

  test('sixty fit into the stack itself', () => {
    const { resources: count, nested } = groups(60);
    expect(nested).toEqual([]);
    expect(count).toBeLessThan(500);
  });

  test('five hundred, the most that a configuration takes, go to nested stacks, none beyond CloudFormation’s 500', () => {
    const { resources: count, nested, alarms } = groups(500, true);
    expect(alarms.size).toBe(4500);
    expect(Math.max(count, ...nested)).toBeLessThanOrEqual(500);
  });

  test('a series that comes or goes moves no other’s alarms, which have their names for themselves', () => {
    const [before, after] = [groups(61).alarms, groups(75).alarms];
    for (const [name, group] of before) expect(after.get(name)).toBe(group);
    const inline = alarmsOf(synthesize(configuration({ series: series(60) })));
    for (const name of before.keys()) expect(inline.has(name)).toBe(false);
  });

  test('are called as they are in a small deployment, up to the number of the nested stack', () => {
    const inline = [...alarmsOf(synthesize(configuration({ series: series(60) }))).keys()];
    const nested = [...groups(61).alarms.keys()];
    for (const name of nested) expect(name).toMatch(/^Lifeboat-[a-z-]+-app-\d+@\d+$/);
    const plain = nested.map((name) => name.replace(/@\d+$/, ''));
    expect(plain).toEqual(expect.arrayContaining(inline.filter((name) => /-app-\d+$/.test(name))));
    expect(new Set(plain).size).toBe(nested.length);
  });
});
