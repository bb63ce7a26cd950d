import {
  Alarm,
  ComparisonOperator,
  Metric,
  TreatMissingData,
  type IMetric,
} from 'aws-cdk-lib/aws-cloudwatch';
import { SnsAction } from 'aws-cdk-lib/aws-cloudwatch-actions';
import type { ITopic } from 'aws-cdk-lib/aws-sns';
import type { IQueue } from 'aws-cdk-lib/aws-sqs';
import { Duration, NestedStack } from 'aws-cdk-lib/core';
import { Construct } from 'constructs';
import type { DeploymentConfig } from '../../domain/deployment/config.ts';
import { hashName } from '../../domain/name-hash.ts';
import { METRIC_DIMENSION, METRIC_NAMESPACE } from '../../domain/names.ts';
import {
  ALARM_METRIC,
  ALARMS,
  OVERDUE_SHARE,
  runbookAnchor,
  SIZE_DROP_RATIO,
  type AlarmRule,
} from '../../domain/watch/alarms.ts';
import type { DeadLetters } from './dead-letters.ts';
import type { Functions } from './functions.ts';
import type { Schedule } from './schedule.ts';

type SeriesAlarm = keyof typeof ALARM_METRIC;

/**
 * A CloudFormation stack holds 500 resources and each series has five alarms; the rest of the stack has about a hundred.
 * More series go to nested stacks, each always to the same, whatever is added before it in the configuration.
 */
const MOST_SERIES_INLINE = 60;
const NESTED_STACKS = 10;

export interface AlarmsProps {
  readonly config: DeploymentConfig;
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
  }

  #seriesAlarms(): void {
    const { series } = this.#config;
    const nested = new Map<number, NestedStack>();
    for (const { app } of series) {
      if (series.length <= MOST_SERIES_INLINE) {
        this.#alarmsOf(new Construct(this, `Series-${app}`), app, app);
        continue;
      }
      const group = groupOf(app);
      const stack = nested.get(group) ?? new NestedStack(this, `Group${group}`);
      nested.set(group, stack);
      // Another name than inline: CloudFormation makes the new alarms before it removes the old.
      this.#alarmsOf(new Construct(stack, `Series-${app}`), app, `${group}-${app}`);
    }
  }

  #alarmsOf(scope: Construct, app: string, label: string): void {
    for (const key of Object.keys(ALARM_METRIC) as SeriesAlarm[]) {
      const { statistic, period, ...setting } = seriesSetting(key, this.#config);
      const metric = new Metric({
        namespace: METRIC_NAMESPACE,
        metricName: ALARM_METRIC[key],
        // Of hosts chosen by tag, all values stand under these two dimensions: the statistic shows the worst host.
        dimensionsMap: {
          [METRIC_DIMENSION.deployment]: this.#config.name,
          [METRIC_DIMENSION.app]: app,
        },
        statistic,
        period,
      });
      this.#alarm(scope, { id: key, rule: ALARMS[key], label, of: `Series ${app}`, metric, ...setting });
    }
  }

  /** Errors and throttles apart: a sum of the two has no value while one of them is missing. */
  #functionAlarms(functions: Functions): void {
    for (const [name, made] of functions.all()) {
      const common = { rule: ALARMS.lambdaErrors, of: `Function ${name}`, ...ONCE };
      const statistic = { statistic: 'Sum', period: Duration.minutes(5) };
      const [errors, throttles] = [made.metricErrors(statistic), made.metricThrottles(statistic)];
      this.#alarm(this, { id: `Errors-${name}`, label: name, metric: errors, ...common });
      this.#alarm(this, {
        id: `Throttles-${name}`,
        label: `throttled-${name}`,
        metric: throttles,
        ...common,
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
      metric: topic.metricNumberOfNotificationsFailed({ statistic: 'Sum', period: Duration.minutes(5) }),
    });
    if (slackQueue === undefined) return;
    const slack = { rule: ALARMS.undeliverable, of: 'Slack', ...ONCE };
    this.#alarm(this, {
      id: 'Undelivered-slack',
      label: 'slack',
      ...slack,
      metric: deadLetters.messages.metricApproximateNumberOfMessagesVisible(WAITING),
    });
    // Nobody reads them any more, or Slack has been refusing for long.
    this.#alarm(this, {
      id: 'Undelivered-slack-waiting',
      label: 'slack-waiting',
      ...slack,
      threshold: LONGEST_WAIT.toSeconds(),
      metric: slackQueue.metricApproximateAgeOfOldestMessage(WAITING),
    });
  }

  #alarm(
    scope: Construct,
    { id, rule, label, of, metric, recovery = false, ...setting }: AlarmDetails,
  ): void {
    const { name, notifications } = this.#config;
    const alarm = new Alarm(scope, id, {
      alarmName: [name, rule.id, ...(label === undefined ? [] : [label])].join('-'),
      alarmDescription: describeAlarm(rule, of, notifications.runbookUrl),
      metric,
      evaluationPeriods: 1,
      ...setting,
    });
    alarm.addAlarmAction(this.#action);
    if (recovery) alarm.addOkAction(this.#action);
  }
}

interface AlarmSetting {
  readonly threshold: number;
  readonly comparisonOperator: ComparisonOperator;
  readonly treatMissingData: TreatMissingData;
  /** Whether its end is news as well: of a state it is, of an event it is not. */
  readonly recovery?: boolean;
}

interface AlarmDetails extends AlarmSetting {
  readonly id: string;
  readonly rule: AlarmRule;
  /** The name's last part, where the rule has several alarms. */
  readonly label?: string;
  readonly of: string;
  readonly metric: IMetric;
}

/** Something happened that never should. */
const ONCE: AlarmSetting = {
  threshold: 1,
  comparisonOperator: ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
  treatMissingData: TreatMissingData.NOT_BREACHING,
};

/** Messages in a queue that should be empty. */
const WAITING = { statistic: 'Maximum', period: Duration.minutes(5) };

/** At a message a second the last of a thousand waits for 17 minutes. */
const LONGEST_WAIT = Duration.hours(1);

const SECONDS_PER_HOUR = 3600;

function seriesSetting(
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
      return { ...ONCE, statistic: 'Sum', period: Duration.minutes(5) };
  }
}

/** Rules count their failures by name; EventBridge Scheduler by group, in several metrics. */
function failuresToStart({ rules, scheduleGroup }: Schedule): [string, IMetric][] {
  const sum = { statistic: 'Sum', period: Duration.minutes(5) };
  const ofRules = [...rules].map(([name, { ruleName }]): [string, IMetric] => [
    name,
    new Metric({
      namespace: 'AWS/Events',
      metricName: 'FailedInvocations',
      ...sum,
      dimensionsMap: { RuleName: ruleName },
    }),
  ]);
  if (scheduleGroup === undefined) return ofRules;
  const ofSchedules = ['TargetErrorCount', 'InvocationDroppedCount'].map((metricName): [string, IMetric] => [
    `schedule-${metricName}`,
    new Metric({
      namespace: 'AWS/Scheduler',
      metricName,
      ...sum,
      dimensionsMap: { ScheduleGroup: scheduleGroup.ref },
    }),
  ]);
  return [...ofSchedules, ...ofRules];
}

/** What the message shows: `The newest verified backup is too old. Series hostmaster.` and the link, on its own line. */
function describeAlarm({ title, runbookHeading }: AlarmRule, of: string, runbookUrl: string): string {
  return `${title}. ${of}.\nRunbook: ${runbookUrl}#${runbookAnchor(runbookHeading)}`;
}

/** The same for an app for ever: neighbours that come and go do not move it. */
function groupOf(app: string): number {
  return hashName(app) % NESTED_STACKS;
}
