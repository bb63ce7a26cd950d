import { z } from 'zod';
import { summarise, type MetricStore, type Statistic } from './metric-store.ts';

const dimensionsSchema = z.array(z.object({ Name: z.string(), Value: z.string() })).default([]);

const metricSchema = z.object({
  Namespace: z.string(),
  MetricName: z.string(),
  Dimensions: dimensionsSchema,
});

/** The properties of an AWS::CloudWatch::Alarm, resolved. */
export const alarmSchema = z.object({
  AlarmName: z.string().optional(),
  AlarmDescription: z.string().default(''),
  Namespace: z.string().optional(),
  MetricName: z.string().optional(),
  Dimensions: dimensionsSchema,
  Statistic: z.enum(['Average', 'Maximum', 'Minimum', 'Sum', 'SampleCount']).optional(),
  Period: z.number().optional(),
  Metrics: z
    .array(
      z.object({
        Id: z.string(),
        Expression: z.string().optional(),
        ReturnData: z.boolean().default(true),
        MetricStat: z
          .object({
            Metric: metricSchema,
            Period: z.number(),
            Stat: z.enum(['Average', 'Maximum', 'Minimum', 'Sum', 'SampleCount']),
          })
          .optional(),
      }),
    )
    .optional(),
  EvaluationPeriods: z.int().min(1),
  DatapointsToAlarm: z.int().optional(),
  Threshold: z.number(),
  ComparisonOperator: z.enum([
    'GreaterThanOrEqualToThreshold',
    'GreaterThanThreshold',
    'LessThanThreshold',
    'LessThanOrEqualToThreshold',
  ]),
  TreatMissingData: z.enum(['breaching', 'notBreaching', 'ignore', 'missing']).default('missing'),
  ActionsEnabled: z.boolean().default(true),
  AlarmActions: z.array(z.string()).default([]),
  OKActions: z.array(z.string()).default([]),
  InsufficientDataActions: z.array(z.string()).default([]),
});

export type AlarmProperties = z.infer<typeof alarmSchema>;
export type AlarmState = 'OK' | 'ALARM' | 'INSUFFICIENT_DATA';

export interface Evaluation {
  readonly state: AlarmState;
  readonly reason: string;
}

/**
 * The alarm's state at `now`, from the last periods
 * (https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html).
 * @param before the state until now, which missing data can leave as it is
 */
export function evaluateAlarm(
  alarm: AlarmProperties,
  metrics: MetricStore,
  now: Date,
  before: AlarmState,
): Evaluation {
  const { EvaluationPeriods: periods, DatapointsToAlarm = periods, Threshold, TreatMissingData } = alarm;
  const values = Array.from({ length: periods }, (_, index) => valueOf(alarm, metrics, now, index));
  const present = values.filter((value) => value !== undefined);
  if (present.length === 0) return withoutData(TreatMissingData, before);
  const breaching = values.filter((value) =>
    value === undefined ? TreatMissingData === 'breaching' : breaches(alarm, value),
  ).length;
  const shown = present.map((value) => String(value)).join(', ');
  const comparison = describeComparison(alarm.ComparisonOperator);
  if (breaching >= DatapointsToAlarm)
    return {
      state: 'ALARM',
      reason: `Threshold Crossed: ${breaching} out of the last ${periods} datapoints [${shown}] was ${comparison} the threshold (${Threshold}).`,
    };
  return {
    state: 'OK',
    reason: `Threshold Crossed: ${periods - breaching} out of the last ${periods} datapoints [${shown}] was not ${comparison} the threshold (${Threshold}).`,
  };
}

function withoutData(treatment: AlarmProperties['TreatMissingData'], before: AlarmState): Evaluation {
  const reason = 'no datapoints were received';
  if (treatment === 'breaching')
    return {
      state: 'ALARM',
      reason: `Threshold Crossed: ${reason} and missing data is treated as breaching.`,
    };
  if (treatment === 'notBreaching')
    return {
      state: 'OK',
      reason: `Threshold Crossed: ${reason} and missing data is treated as non-breaching.`,
    };
  if (treatment === 'ignore') return { state: before, reason };
  return { state: 'INSUFFICIENT_DATA', reason: `Insufficient Data: ${reason}.` };
}

/** @param age 0 is the newest period: the one that ends now */
function valueOf(alarm: AlarmProperties, metrics: MetricStore, now: Date, age: number): number | undefined {
  const only = (alarm.Metrics ?? []).filter(({ ReturnData }) => ReturnData);
  if (alarm.Metrics && only[0]?.Expression !== undefined)
    return evaluateExpression(alarm, only[0].Expression, (id) => metricValue(alarm, metrics, now, age, id));
  return metricValue(alarm, metrics, now, age, only[0]?.Id);
}

function metricValue(
  alarm: AlarmProperties,
  metrics: MetricStore,
  now: Date,
  age: number,
  id: string | undefined,
): number | undefined {
  const stat = alarm.Metrics?.find((each) => each.Id === id)?.MetricStat;
  const { Namespace = '', MetricName = '', Dimensions } = stat?.Metric ?? alarm;
  const period = (stat?.Period ?? alarm.Period ?? 60) * 1000;
  const statistic: Statistic = stat?.Stat ?? alarm.Statistic ?? 'Average';
  const end = now.getTime() + 1 - age * period;
  const dimensions = Object.fromEntries(Dimensions.map(({ Name, Value }) => [Name, Value]));
  const points = metrics.find(
    { namespace: Namespace, name: MetricName, dimensions },
    new Date(end - period),
    new Date(end),
  );
  return summarise(
    points.map(({ value }) => value),
    statistic,
  );
}

/** Sums and FILLs are all that our alarms need of metric math. */
function evaluateExpression(
  alarm: AlarmProperties,
  expression: string,
  valueOfId: (id: string) => number | undefined,
): number | undefined {
  const sum = /^SUM\(METRICS\(\)\)$/.test(expression);
  const max = /^MAX\(METRICS\(\)\)$/.test(expression);
  const ids = (alarm.Metrics ?? []).filter(({ MetricStat }) => MetricStat).map(({ Id }) => Id);
  const terms = sum || max ? ids : expression.split('+').map((term) => term.trim());
  const values = terms.map((term) => {
    const [, filled, filler] = /^FILL\((\w+), ?(\d+)\)$/.exec(term) ?? [];
    const id = filled ?? term;
    if (!ids.includes(id))
      throw new Error(`metric math that the local CloudWatch does not know: ${expression}`);
    return valueOfId(id) ?? (filler === undefined ? undefined : Number(filler));
  });
  const present = values.filter((value) => value !== undefined);
  return summarise(present, max ? 'Maximum' : 'Sum');
}

function breaches({ ComparisonOperator, Threshold }: AlarmProperties, value: number): boolean {
  switch (ComparisonOperator) {
    case 'GreaterThanOrEqualToThreshold':
      return value >= Threshold;
    case 'GreaterThanThreshold':
      return value > Threshold;
    case 'LessThanThreshold':
      return value < Threshold;
    case 'LessThanOrEqualToThreshold':
      return value <= Threshold;
  }
}

function describeComparison(operator: AlarmProperties['ComparisonOperator']): string {
  const words = operator.replace('ToThreshold', '').replace('Threshold', '');
  return words.replaceAll(/(?<=[a-z])(?=[A-Z])/g, ' ').toLowerCase();
}
