import { alarmSchema, evaluateAlarm, type AlarmProperties, type AlarmState } from './alarm.ts';
import { MetricStore } from './metric-store.ts';

export interface AlarmView {
  readonly name: string;
  readonly logicalId: string;
  readonly arn: string;
  readonly state: AlarmState;
  readonly reason: string;
  readonly description: string;
  readonly properties: AlarmProperties;
}

interface Alarm {
  readonly name: string;
  readonly logicalId: string;
  readonly arn: string;
  readonly properties: AlarmProperties;
  state: AlarmState;
  reason: string;
}

interface Options {
  readonly accountId: string;
  readonly region: string;
  /** An action of an alarm: SNS. */
  readonly act: (actionArn: string, alarmArn: string, subject: string, message: string) => void;
}

/** Metrics and the alarms on them. Alarms are evaluated when somebody asks, at a time of their choice. */
export class CloudWatch {
  readonly metrics = new MetricStore();
  readonly #alarms: Alarm[] = [];
  readonly #options: Options;

  constructor(options: Options) {
    this.#options = options;
  }

  addAlarm(identity: Pick<Alarm, 'logicalId' | 'name' | 'arn'>, properties: unknown): void {
    const parsed = alarmSchema.parse(properties);
    this.#alarms.push({
      ...identity,
      properties: parsed,
      state: 'INSUFFICIENT_DATA',
      reason: 'Unchecked: Initial alarm creation',
    });
  }

  alarms(): AlarmView[] {
    return this.#alarms.map((alarm) => ({ ...alarm, description: alarm.properties.AlarmDescription }));
  }

  /** Returns the alarms whose state changed; their actions have been taken. */
  evaluate(now: Date): AlarmView[] {
    const changed: Alarm[] = [];
    for (const alarm of this.#alarms) {
      const { state, reason } = evaluateAlarm(alarm.properties, this.metrics, now, alarm.state);
      const before = alarm.state;
      if (state === before) continue;
      alarm.state = state;
      alarm.reason = reason;
      changed.push(alarm);
      this.#act(alarm, before, now);
    }
    return changed.map((alarm) => ({ ...alarm, description: alarm.properties.AlarmDescription }));
  }

  #act(alarm: Alarm, before: AlarmState, now: Date): void {
    const { AlarmActions, OKActions, InsufficientDataActions, ActionsEnabled } = alarm.properties;
    if (!ActionsEnabled) return;
    const actions = { ALARM: AlarmActions, OK: OKActions, INSUFFICIENT_DATA: InsufficientDataActions };
    const subject = `${alarm.state}: "${alarm.name}" in ${this.#options.region}`;
    const message = JSON.stringify(this.#describe(alarm, before, now));
    for (const action of actions[alarm.state]) this.#options.act(action, alarm.arn, subject, message);
  }

  /** What CloudWatch publishes: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Notify_Users_Alarm_Changes.html */
  #describe(alarm: Alarm, before: AlarmState, now: Date): Record<string, unknown> {
    const { properties } = alarm;
    const stamp = now.toISOString().replace('Z', '+0000');
    return {
      AlarmName: alarm.name,
      AlarmDescription: properties.AlarmDescription === '' ? null : properties.AlarmDescription,
      AWSAccountId: this.#options.accountId,
      AlarmConfigurationUpdatedTimestamp: stamp,
      NewStateValue: alarm.state,
      NewStateReason: alarm.reason,
      StateChangeTime: stamp,
      Region: 'US East (N. Virginia)',
      AlarmArn: alarm.arn,
      OldStateValue: before,
      OKActions: properties.OKActions,
      AlarmActions: properties.AlarmActions,
      InsufficientDataActions: properties.InsufficientDataActions,
      Trigger: {
        MetricName: properties.MetricName,
        Namespace: properties.Namespace,
        StatisticType: 'Statistic',
        Statistic: properties.Statistic?.toUpperCase(),
        Unit: null,
        Dimensions: properties.Dimensions.map(({ Name, Value }) => ({ value: Value, name: Name })),
        Period: properties.Period,
        EvaluationPeriods: properties.EvaluationPeriods,
        ...(properties.DatapointsToAlarm === undefined
          ? {}
          : { DatapointsToAlarm: properties.DatapointsToAlarm }),
        ComparisonOperator: properties.ComparisonOperator,
        Threshold: properties.Threshold,
        TreatMissingData: properties.TreatMissingData,
        EvaluateLowSampleCountPercentile: '',
      },
    };
  }
}
