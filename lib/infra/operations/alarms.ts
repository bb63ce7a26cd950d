import { Alarm, Metric, type IMetric } from 'aws-cdk-lib/aws-cloudwatch';
import { SnsAction } from 'aws-cdk-lib/aws-cloudwatch-actions';
import type { IBucket } from 'aws-cdk-lib/aws-s3';
import type { ITopic } from 'aws-cdk-lib/aws-sns';
import type { IQueue } from 'aws-cdk-lib/aws-sqs';
import { NestedStack } from 'aws-cdk-lib/core';
import { Construct } from 'constructs';
import type { DeploymentConfig, SeriesConfig } from '../../domain/deployment/config.ts';
import { hashName } from '../../domain/name-hash.ts';
import { METRIC_DIMENSION, METRIC_NAMESPACE } from '../../domain/names.ts';
import {
  ALARM_METRIC,
  alarmName,
  ALARMS,
  APP_HERE,
  RECOVERY_ALARM_METRIC,
  runbookAnchor,
  type AlarmRule,
} from '../../domain/watch/alarms.ts';
import {
  EVERY_FIVE_MINUTES,
  failedReplications,
  failuresOf,
  failuresToStart,
  LONG_WAIT,
  ONCE,
  recoverySetting,
  seriesSetting,
  WAITING,
  type AlarmSetting,
  type RecoveryAlarm,
  type SeriesAlarm,
} from './alarm-settings.ts';
import type { DeadLetters } from './dead-letters.ts';
import type { Functions } from './functions.ts';
import type { Schedule } from './schedule.ts';

/**
 * A CloudFormation stack holds 500 resources and each series has five alarms, or nine; the rest of the stack has about a
 * hundred. More go to nested stacks, each series always to the same, whatever is added before it in the configuration.
 */
const MOST_ALARMS_INLINE = 300;
const NESTED_STACKS = 20;

export interface AlarmsProps {
  readonly config: DeploymentConfig;
  /** The backups. */
  readonly bucket: IBucket;
  readonly topic: ITopic;
  readonly functions: Functions;
  readonly schedule: Schedule;
  readonly deadLetters: DeadLetters;
  /** Of messages that wait for Slack. */
  readonly slackQueue: IQueue | undefined;
}

/** Every alarm, each to the topic, each with its section of the runbook. */
export class Alarms extends Construct {
  readonly #config: DeploymentConfig;
  readonly #action: SnsAction;

  constructor(scope: Construct, id: string, { config, topic, ...parts }: AlarmsProps) {
    super(scope, id);
    this.#config = config;
    this.#action = new SnsAction(topic);
    this.#seriesAlarms();
    this.#functionAlarms(parts.functions);
    this.#startAlarms(parts.schedule, parts.deadLetters);
    this.#messageAlarms(parts, topic);
    this.#replicationAlarm(parts.bucket);
  }

  #seriesAlarms(): void {
    const { series } = this.#config;
    const nested = new Map<number, NestedStack>();
    const count = series.reduce((sum, each) => sum + keysOf(each).length, 0);
    for (const each of series) {
      const { app } = each;
      if (count <= MOST_ALARMS_INLINE) {
        this.#alarmsOf(new Construct(this, `Series-${app}`), each);
        continue;
      }
      const group = groupOf(app);
      const stack = nested.get(group) ?? new NestedStack(this, `Group${group}`);
      nested.set(group, stack);
      this.#alarmsOf(new Construct(stack, `Series-${app}`), each, group);
    }
  }

  #alarmsOf(scope: Construct, series: SeriesConfig, nest?: number): void {
    const { app } = series;
    for (const key of keysOf(series)) {
      const { statistic, period, ...setting } = isRecoveryAlarm(key)
        ? recoverySetting(key, this.#config)
        : seriesSetting(key, this.#config);
      const metric = new Metric({
        namespace: METRIC_NAMESPACE,
        metricName: { ...ALARM_METRIC, ...RECOVERY_ALARM_METRIC }[key],
        // Of hosts chosen by tag, all values stand under these two dimensions: the statistic shows the worst host.
        dimensionsMap: {
          [METRIC_DIMENSION.deployment]: this.#config.name,
          [METRIC_DIMENSION.app]: app,
        },
        statistic,
        period,
      });
      const common = { id: key, rule: ALARMS[key], label: app, of: `Series ${app}`, metric };
      this.#alarm(scope, { ...common, ...setting, ...(nest !== undefined && { nest }) });
    }
  }

  /** Errors and throttles apart: a sum of the two has no value while one of them is missing. */
  #functionAlarms(functions: Functions): void {
    for (const [name, made] of functions.all()) {
      const common = { rule: ALARMS.lambdaErrors, of: `Function ${name}` };
      const failures = failuresOf(name, made, this.#config);
      if (failures) this.#alarm(this, { id: `Errors-${name}`, label: name, ...common, ...failures });
      this.#alarm(this, {
        id: `Throttles-${name}`,
        label: `throttled-${name}`,
        metric: made.metricThrottles(EVERY_FIVE_MINUTES),
        ...common,
        ...ONCE,
      });
    }
  }

  #startAlarms(schedule: Schedule, { events }: DeadLetters): void {
    this.#alarm(this, {
      id: 'DeadLetters',
      rule: ALARMS.deadLetters,
      of: `Queue ${events.queueName}`,
      ...ONCE,
      metric: events.metricApproximateNumberOfMessagesVisible(WAITING),
    });
    for (const [name, metric] of failuresToStart(schedule))
      this.#alarm(this, {
        id: `Rule-${name}`,
        rule: ALARMS.ruleFailed,
        label: name,
        of: `Rule ${name}`,
        ...ONCE,
        metric,
      });
  }

  #messageAlarms(
    { deadLetters, slackQueue }: Pick<AlarmsProps, 'deadLetters' | 'slackQueue'>,
    topic: ITopic,
  ): void {
    this.#alarm(this, {
      id: 'Undelivered-topic',
      rule: ALARMS.undeliverable,
      label: 'topic',
      of: 'The topic',
      ...ONCE,
      metric: topic.metricNumberOfNotificationsFailed(EVERY_FIVE_MINUTES),
    });
    if (slackQueue === undefined) return;
    const slack = { rule: ALARMS.undeliverable, of: 'Slack' };
    this.#alarm(this, {
      id: 'Undelivered-slack',
      label: 'slack',
      ...slack,
      ...ONCE,
      metric: deadLetters.messages.metricApproximateNumberOfMessagesVisible(WAITING),
    });
    this.#alarm(this, {
      id: 'Undelivered-slack-waiting',
      label: 'slack-waiting',
      ...slack,
      ...LONG_WAIT,
      metric: slackQueue.metricApproximateAgeOfOldestMessage(WAITING),
    });
  }

  #replicationAlarm(bucket: IBucket): void {
    const { drRegion } = this.#config.storage;
    if (drRegion === undefined) return;
    this.#alarm(this, {
      id: 'ReplicationFailed',
      rule: ALARMS.replicationFailed,
      of: `Region ${drRegion}`,
      ...ONCE,
      metric: failedReplications(this, this.#config, bucket),
    });
  }

  #alarm(
    scope: Construct,
    { id, rule, label, nest, of, metric, recovery = false, ...setting }: AlarmDetails,
  ): void {
    const { name, notifications } = this.#config;
    const alarm = new Alarm(scope, id, {
      alarmName: alarmName(name, rule, label, nest),
      alarmDescription: describeAlarm(rule, { of, app: label }, notifications.runbookUrl),
      metric,
      evaluationPeriods: 1,
      ...setting,
    });
    alarm.addAlarmAction(this.#action);
    if (recovery) alarm.addOkAction(this.#action);
  }
}

interface AlarmDetails extends AlarmSetting {
  readonly id: string;
  readonly rule: AlarmRule;
  /** The name's last part, where the rule has several alarms. */
  readonly label?: string;
  /** The nested stack that it is in. */
  readonly nest?: number;
  readonly of: string;
  readonly metric: IMetric;
}

/** What the message shows: `The newest verified backup is too old. Series hostmaster.` and the link, on its own line. */
function describeAlarm(
  { title, runbookHeading, next }: AlarmRule,
  { of, app = '' }: { readonly of: string; readonly app: string | undefined },
  runbookUrl: string,
): string {
  const todo = next === undefined ? '' : ` ${next.replaceAll(APP_HERE, app)}`;
  return `${title}. ${of}.${todo}\nRunbook: ${runbookUrl}#${runbookAnchor(runbookHeading)}`;
}

function keysOf({ pointInTimeRecovery }: SeriesConfig): (SeriesAlarm | RecoveryAlarm)[] {
  const always = Object.keys(ALARM_METRIC) as SeriesAlarm[];
  return pointInTimeRecovery
    ? [...always, ...(Object.keys(RECOVERY_ALARM_METRIC) as RecoveryAlarm[])]
    : always;
}

function isRecoveryAlarm(key: SeriesAlarm | RecoveryAlarm): key is RecoveryAlarm {
  return key in RECOVERY_ALARM_METRIC;
}

/** The same for an app for ever: neighbours that come and go do not move it. */
function groupOf(app: string): number {
  return hashName(app) % NESTED_STACKS;
}
