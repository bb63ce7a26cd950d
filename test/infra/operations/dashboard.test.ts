import { METRIC } from '../../../lib/domain/names.ts';
import { ALARMS } from '../../../lib/domain/watch/alarms.ts';
import { resource, text } from './resources.ts';
import { configuration, fullConfiguration, synthesize } from './stage.ts';

interface Widget {
  readonly type: string;
  readonly properties: {
    readonly title?: string;
    readonly markdown?: string;
    readonly metrics?: unknown[][];
  };
}

const URL = 'https://wiki.example.com/runbook';
const template = synthesize(
  fullConfiguration({ notifications: { runbookUrl: URL, slackParameter: '/slack' } }),
);
const { properties } = resource(template, 'AWS::CloudWatch::Dashboard');
const { widgets } = JSON.parse(text(properties['DashboardBody'])) as { widgets: Widget[] };
const widget = (title: string): Widget | undefined =>
  widgets.find(({ properties: { title: found } }) => found === title);

test('it is named after the deployment and the region, for dashboards are the whole account’s', () => {
  expect(properties['DashboardName']).toBe('Lifeboat-eu-central-1');
  expect(text(template.findOutputs('*')['DashboardUrl']?.['Value'])).toBe(
    'https://eu-central-1.console.aws.amazon.com/cloudwatch/home?region=eu-central-1#dashboards/dashboard/Lifeboat-eu-central-1',
  );
});

test.each([
  ['Since the newest verified backup was finished (s)', METRIC.backupAge],
  ['What would be lost: since it was begun (s)', METRIC.recoveryPointAge],
  ['Backup size (bytes)', METRIC.backupBytes],
  ['Backup duration (s)', METRIC.backupSeconds],
  ['Restore duration (s)', METRIC.restoreSeconds],
  ['Since the latest restorable instant (s)', METRIC.restorableAge],
  ['From the earliest to the latest restorable instant (s)', METRIC.restorableWindow],
  ['Since the newest base backup was finished (s)', METRIC.baseBackupAge],
  ['Since S3 received WAL (s)', METRIC.walSilence],
  ['Holes without a base backup behind them', METRIC.recoveryHoles],
  ['Runs that succeeded', METRIC.runSucceeded],
  ['Runs that failed', METRIC.runFailed],
])('%s is searched for, so that a new series appears by itself', (title, metric) => {
  const [[found] = []] = widget(title)?.properties.metrics ?? [];
  const { expression } = found as { expression: string };
  expect(expression).toMatch(
    new RegExp(
      `^SEARCH\\('\\{Lifeboat,Deployment,App\\} MetricName="${metric}" Deployment="Lifeboat"', '(Maximum|Minimum|Sum)', \\d+\\)$`,
    ),
  );
});

test('it shows every function’s errors', () => {
  expect(widget('Function errors')?.properties.metrics).toHaveLength(5);
});

test('it shows the bucket’s size in both storage classes', () => {
  const metrics = JSON.stringify(widget('Size of the bucket (bytes)')?.properties.metrics);
  for (const part of ['backups-of-ours', 'StandardStorage', 'StandardIAStorage'])
    expect(metrics).toContain(part);
});

test('it links to every alarm’s section of the runbook', () => {
  const markdown = widgets.find(({ type }) => type === 'text')?.properties.markdown ?? '';
  expect(markdown).toContain(`[Runbook](${URL})`);
  expect(markdown).toContain(`(${URL}#alarm-backup-too-old)`);
  expect(markdown.match(/#alarm-/g)).toHaveLength(Object.keys(ALARMS).length - 1);
  expect(markdown).not.toContain('#alarm-replication-failed'); // there is no second region
});

test('it makes no dead links where the runbook’s address is not known', () => {
  const body = text(
    resource(synthesize(configuration()), 'AWS::CloudWatch::Dashboard').properties['DashboardBody'],
  );
  expect(body).not.toContain('](docs/');
  expect(body).toContain('docs/runbook.md');
});

test('its body is far below the megabyte that CloudWatch takes, however many series there are', () => {
  expect(text(properties['DashboardBody']).length).toBeLessThan(20_000);
});
