import {
  Dashboard as CloudWatchDashboard,
  GraphWidget,
  MathExpression,
  Metric,
  TextWidget,
  type IMetric,
  type IWidget,
} from 'aws-cdk-lib/aws-cloudwatch';
import type { IBucket } from 'aws-cdk-lib/aws-s3';
import { Duration, Stack } from 'aws-cdk-lib/core';
import { Construct } from 'constructs';
import type { DeploymentConfig } from '../../domain/deployment/config.ts';
import { METRIC, METRIC_DIMENSION, METRIC_NAMESPACE } from '../../domain/names.ts';
import { ALARMS, runbookAnchor, type AlarmRule } from '../../domain/watch/alarms.ts';
import type { Functions } from './functions.ts';

const HEIGHT = 6;
const HALF = 12;
const FULL = 24;

export interface DashboardProps {
  readonly config: DeploymentConfig;
  readonly bucket: IBucket;
  readonly functions: Functions;
}

/** Dashboards are the account's, not the region's: hence the region in the name. */
function dashboardName(scope: Construct, { name }: DeploymentConfig): string {
  return `${name}-${Stack.of(scope).region}`;
}

/** In the AWS console; a token until the stack is deployed. */
export function dashboardUrl(scope: Construct, config: DeploymentConfig): string {
  const { region } = Stack.of(scope);
  const page = `https://${region}.console.aws.amazon.com/cloudwatch/home?region=${region}`;
  return `${page}#dashboards/dashboard/${dashboardName(scope, config)}`;
}

/** How the backups are, at a glance. Searches instead of lists: a new series or host appears without a deployment. */
export class Dashboard extends Construct {
  constructor(scope: Construct, id: string, { config, bucket, functions }: DashboardProps) {
    super(scope, id);
    const days = Duration.days(1);
    new CloudWatchDashboard(this, 'Dashboard', {
      dashboardName: dashboardName(this, config),
      defaultInterval: Duration.days(30),
      widgets: [
        [new TextWidget({ markdown: overview(config), width: FULL, height: 5 })],
        [
          graph('Since the newest verified backup was finished (s)', [
            search(config, METRIC.backupAge, 'Maximum', Duration.hours(1)),
          ]),
          graph('What would be lost: since it was begun (s)', [
            search(config, METRIC.recoveryPointAge, 'Maximum', Duration.hours(1)),
          ]),
        ],
        ...(config.series.some(({ pointInTimeRecovery }) => pointInTimeRecovery)
          ? recoveryGraphs(config)
          : []),
        [
          graph('Backup size (bytes)', [search(config, METRIC.backupBytes, 'Maximum', days)]),
          graph('Size of the bucket (bytes)', bucketSizes(bucket)),
        ],
        [
          graph('Backup duration (s)', [search(config, METRIC.backupSeconds, 'Maximum', days)]),
          graph('Restore duration (s)', [search(config, METRIC.restoreSeconds, 'Maximum', days)]),
        ],
        [
          graph('Runs that succeeded', [search(config, METRIC.runSucceeded, 'Sum', days)]),
          graph('Runs that failed', [search(config, METRIC.runFailed, 'Sum', days)]),
        ],
        [graph('Function errors', functionErrors(functions))],
      ],
    });
  }
}

/** Told by what lies in S3: not by the host. */
function recoveryGraphs(config: DeploymentConfig): IWidget[][] {
  const often = Duration.minutes(5);
  const hour = Duration.hours(1);
  return [
    [
      graph('Since the latest restorable instant (s)', [
        search(config, METRIC.restorableAge, 'Maximum', often),
      ]),
      graph('From the earliest to the latest restorable instant (s)', [
        search(config, METRIC.restorableWindow, 'Minimum', hour),
      ]),
    ],
    [
      graph('Since the newest base backup was finished (s)', [
        search(config, METRIC.baseBackupAge, 'Maximum', hour),
      ]),
      graph('Since S3 received WAL (s)', [search(config, METRIC.walSilence, 'Maximum', often)]),
    ],
    [
      graph('Holes without a base backup behind them', [
        search(config, METRIC.recoveryHoles, 'Maximum', often),
      ]),
    ],
  ];
}

function graph(title: string, left: IMetric[]): IWidget {
  return new GraphWidget({
    title,
    left,
    width: HALF,
    height: HEIGHT,
    leftYAxis: { min: 0, showUnits: false },
  });
}

/** One line for each series; the hosts of one that is chosen by tag are shown by their worst. */
function search({ name }: DeploymentConfig, metric: string, statistic: string, period: Duration): IMetric {
  const schema = `{${METRIC_NAMESPACE},${METRIC_DIMENSION.deployment},${METRIC_DIMENSION.app}}`;
  const query = `${schema} MetricName="${metric}" ${METRIC_DIMENSION.deployment}="${name}"`;
  return new MathExpression({
    expression: `SEARCH('${query}', '${statistic}', ${period.toSeconds()})`,
    label: '',
    period,
    usingMetrics: {},
  });
}

function functionErrors(functions: Functions): IMetric[] {
  return functions
    .all()
    .map(([name, made]) => made.metricErrors({ label: name, statistic: 'Sum', period: Duration.hours(1) }));
}

/** S3 counts once a day. */
function bucketSizes({ bucketName }: IBucket): IMetric[] {
  return ['StandardStorage', 'StandardIAStorage'].map(
    (storage) =>
      new Metric({
        namespace: 'AWS/S3',
        metricName: 'BucketSizeBytes',
        dimensionsMap: { BucketName: bucketName, StorageType: storage },
        statistic: 'Average',
        period: Duration.days(1),
        label: storage,
      }),
  );
}

function overview({ name, limits, series, notifications, storage }: DeploymentConfig): string {
  const { runbookUrl } = notifications;
  const isLink = /^https?:\/\//.test(runbookUrl);
  const { replicationFailed, ...others } = ALARMS;
  const recovers = series.some(({ pointInTimeRecovery }) => pointInTimeRecovery);
  const always: AlarmRule[] = Object.values(others).filter(({ per }) => recovers || per !== 'recovery');
  const rules = [...always, ...(storage.drRegion === undefined ? [] : [replicationFailed])];
  const alarms = rules.map(({ title, runbookHeading }) =>
    isLink ? `[${title}](${runbookUrl}#${runbookAnchor(runbookHeading)})` : `${title}: “${runbookHeading}”`,
  );
  return [
    `# ${name}`,
    `${series.length} series; a newest backup that was finished more than ${limits.maxBackupAgeHours} h ago raises the alarm. All times are UTC.`,
    `${isLink ? `[Runbook](${runbookUrl})` : `Runbook: ${runbookUrl}`}, by alarm: ${alarms.join(' · ')}`,
  ].join('\n\n');
}
