import { ComparisonOperator, Metric, TreatMissingData, type IMetric } from 'aws-cdk-lib/aws-cloudwatch';
import type { IBucket } from 'aws-cdk-lib/aws-s3';
import type { Function } from 'aws-cdk-lib/aws-lambda';
import { Duration } from 'aws-cdk-lib/core';
import type { Construct } from 'constructs';
import type { DeploymentConfig } from '../../domain/deployment/config.ts';
import { METRIC, METRIC_DIMENSION, METRIC_NAMESPACE } from '../../domain/names.ts';
import {
  OVERDUE_SHARE,
  SIZE_DROP_RATIO,
  type ALARM_METRIC,
  type RECOVERY_ALARM_METRIC,
} from '../../domain/watch/alarms.ts';
import type { FunctionName } from '../storage/principals.ts';
import { replicaBucketName } from '../storage/replica-stack.ts';
import { REPLICATION_RULE } from '../storage/replication.ts';
import type { Schedule } from './schedule.ts';

export type SeriesAlarm = keyof typeof ALARM_METRIC;
export type RecoveryAlarm = keyof typeof RECOVERY_ALARM_METRIC;

export interface AlarmSetting {
  readonly threshold: number;
  readonly comparisonOperator: ComparisonOperator;
  readonly treatMissingData: TreatMissingData;
  /** @default 1 */
  readonly evaluationPeriods?: number;
  /** @default - all of them */
  readonly datapointsToAlarm?: number;
  /** Whether its end is news as well: of a state it is, of an event it is not. */
  readonly recovery?: boolean;
}

/** Something happened that never should. */
export const ONCE: AlarmSetting = {
  threshold: 1,
  comparisonOperator: ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
  treatMissingData: TreatMissingData.NOT_BREACHING,
};

export const EVERY_FIVE_MINUTES = { statistic: 'Sum', period: Duration.minutes(5) };

/**
 * What raises a function's alarm; `undefined`: whoever invoked it is told.
 *
 * start-run is invoked by people as well, whose mistakes are errors to Lambda: it counts the others itself, and what it
 * dies of ends as a dead letter. The watch runs again in five minutes, so only what lasts is worth a call; a run that comes
 * some seconds early or late leaves one of the periods without any.
 */
export function failuresOf(
  name: FunctionName,
  made: Function,
  config: DeploymentConfig,
): (AlarmSetting & { readonly metric: IMetric }) | undefined {
  const errors = made.metricErrors(EVERY_FIVE_MINUTES);
  switch (name) {
    case 'restore':
      return undefined;
    case 'start-run':
      return { ...ONCE, metric: ownFailures(name, config) };
    case 'watch':
      return { ...ONCE, evaluationPeriods: 4, datapointsToAlarm: 3, metric: errors };
    case 'report-run':
    case 'slack':
      return { ...ONCE, metric: errors };
  }
}

function ownFailures(name: FunctionName, { name: deployment }: DeploymentConfig): IMetric {
  return new Metric({
    namespace: METRIC_NAMESPACE,
    metricName: METRIC.functionFailed,
    dimensionsMap: { [METRIC_DIMENSION.deployment]: deployment, [METRIC_DIMENSION.function]: name },
    ...EVERY_FIVE_MINUTES,
  });
}

/** Messages in a queue that should be empty. */
export const WAITING = { statistic: 'Maximum', period: Duration.minutes(5) };

const SECONDS_PER_HOUR = 3600;

/**
 * Of the age of what waits: nobody reads it any more, or Slack has been refusing for long. At a message a second the last of
 * a thousand waits for 17 minutes.
 */
export const LONG_WAIT: AlarmSetting = { ...ONCE, threshold: SECONDS_PER_HOUR };

/** When an alarm on one series' metric rings, and what silence means to it. */
export function seriesSetting(
  alarm: SeriesAlarm,
  { limits }: DeploymentConfig,
): AlarmSetting & { statistic: string; period: Duration } {
  const quiet = { treatMissingData: TreatMissingData.NOT_BREACHING };
  switch (alarm) {
    case 'backupTooOld':
      return {
        threshold: limits.maxBackupAgeHours * SECONDS_PER_HOUR,
        comparisonOperator: ComparisonOperator.GREATER_THAN_THRESHOLD,
        // Silence is an alarm: the watch itself may be dead.
        treatMissingData: TreatMissingData.BREACHING,
        statistic: 'Maximum',
        period: Duration.hours(1),
        recovery: true,
      };
    case 'sizeDrop':
      return {
        threshold: SIZE_DROP_RATIO,
        comparisonOperator: ComparisonOperator.LESS_THAN_THRESHOLD,
        ...quiet,
        statistic: 'Minimum',
        period: Duration.minutes(15),
      };
    case 'runOverdue':
      return {
        threshold: OVERDUE_SHARE,
        comparisonOperator: ComparisonOperator.GREATER_THAN_THRESHOLD,
        ...quiet,
        statistic: 'Maximum',
        period: Duration.minutes(5),
      };
    case 'backupFailed':
    case 'hostUnreachable':
      return { ...ONCE, ...EVERY_FIVE_MINUTES };
  }
}

const SECONDS_PER_MINUTE = 60;

/**
 * Of a quarter of an hour the worst of three looks counts, and one that does not take place is not missed. Silence is an alarm:
 * the configuration says that there is point-in-time recovery, so what is not measured is not there, or nobody looks.
 */
export function recoverySetting(
  alarm: RecoveryAlarm,
  { limits }: DeploymentConfig,
): AlarmSetting & { statistic: string; period: Duration } {
  const common = {
    comparisonOperator: ComparisonOperator.GREATER_THAN_THRESHOLD,
    treatMissingData: TreatMissingData.BREACHING,
    statistic: 'Maximum',
    period: Duration.minutes(15),
    recovery: true,
  };
  switch (alarm) {
    case 'recoveryBehind':
    case 'walSilent':
      return { ...common, threshold: limits.maxRestorableAgeMinutes * SECONDS_PER_MINUTE };
    case 'baseTooOld':
      return {
        ...common,
        threshold: limits.maxBackupAgeHours * SECONDS_PER_HOUR,
        period: Duration.hours(1),
      };
    case 'recoveryHole':
      // The others ring where nothing is measured.
      return { ...common, threshold: 0, treatMissingData: TreatMissingData.NOT_BREACHING };
  }
}

/** Rules count their failures by name; EventBridge Scheduler by group, in several metrics. */
export function failuresToStart({ rules, scheduleGroup }: Schedule): [string, IMetric][] {
  const ofRules = [...rules].map(([name, { ruleName }]): [string, IMetric] => [
    name,
    new Metric({
      namespace: 'AWS/Events',
      metricName: 'FailedInvocations',
      ...EVERY_FIVE_MINUTES,
      dimensionsMap: { RuleName: ruleName },
    }),
  ]);
  if (scheduleGroup === undefined) return ofRules;
  const ofSchedules = ['TargetErrorCount', 'InvocationDroppedCount'].map((metricName): [string, IMetric] => [
    `schedule-${metricName}`,
    new Metric({
      namespace: 'AWS/Scheduler',
      metricName,
      ...EVERY_FIVE_MINUTES,
      dimensionsMap: { ScheduleGroup: scheduleGroup.ref },
    }),
  ]);
  return [...ofSchedules, ...ofRules];
}

/** S3 counts this one in the region that is copied from (https://docs.aws.amazon.com/AmazonS3/latest/userguide/repl-metrics.html). */
export function failedReplications(scope: Construct, config: DeploymentConfig, bucket: IBucket): IMetric {
  return new Metric({
    namespace: 'AWS/S3',
    metricName: 'OperationsFailedReplication',
    dimensionsMap: {
      SourceBucket: bucket.bucketName,
      DestinationBucket: replicaBucketName(scope, config),
      RuleId: REPLICATION_RULE,
    },
    ...EVERY_FIVE_MINUTES,
  });
}
