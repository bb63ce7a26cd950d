import { alarmSchema, evaluateAlarm } from '../../../scripts/local-aws/cloudwatch/alarm.ts';
import { MetricStore } from '../../../scripts/local-aws/cloudwatch/metric-store.ts';

const NOW = new Date('2026-01-17T12:00:00Z');

const alarm = (more: Record<string, unknown> = {}) =>
  alarmSchema.parse({
    Namespace: 'Lifeboat',
    MetricName: 'BackupAgeSeconds',
    Dimensions: [{ Name: 'App', Value: 'hostmaster' }],
    Statistic: 'Maximum',
    Period: 3600,
    EvaluationPeriods: 1,
    Threshold: 93_600,
    ComparisonOperator: 'GreaterThanThreshold',
    TreatMissingData: 'breaching',
    ...more,
  });

function metrics(...points: [minutesAgo: number, value: number, app?: string][]): MetricStore {
  const store = new MetricStore();
  for (const [minutesAgo, value, app = 'hostmaster'] of points)
    store.put({
      namespace: 'Lifeboat',
      name: 'BackupAgeSeconds',
      dimensions: { App: app },
      unit: 'Seconds',
      value,
      time: new Date(NOW.getTime() - minutesAgo * 60_000),
    });
  return store;
}

const state = (properties: ReturnType<typeof alarm>, store: MetricStore, before: 'OK' | 'ALARM' = 'OK') =>
  evaluateAlarm(properties, store, NOW, before).state;

describe('evaluateAlarm', () => {
  it('takes the statistic of the newest period', () => {
    expect(state(alarm(), metrics([10, 93_601], [20, 5]))).toBe('ALARM');
    expect(state(alarm(), metrics([10, 93_600], [20, 5]))).toBe('OK');
    expect(state(alarm({ Statistic: 'Minimum' }), metrics([10, 93_601], [20, 5]))).toBe('OK');
  });

  it('does not take what is older, or another metric’s', () => {
    expect(state(alarm({ TreatMissingData: 'notBreaching' }), metrics([61, 93_601]))).toBe('OK');
    expect(state(alarm({ TreatMissingData: 'notBreaching' }), metrics([1, 93_601, 'other']))).toBe('OK');
  });

  it.each([
    ['breaching', 'ALARM'],
    ['notBreaching', 'OK'],
    ['missing', 'INSUFFICIENT_DATA'],
    ['ignore', 'ALARM'],
  ] as const)('without data, %s means %s', (TreatMissingData, expected) => {
    expect(state(alarm({ TreatMissingData }), metrics(), 'ALARM')).toBe(expected);
  });

  it('needs as many data points as it says', () => {
    const twoOfThree = alarm({
      EvaluationPeriods: 3,
      DatapointsToAlarm: 2,
      TreatMissingData: 'notBreaching',
    });
    expect(state(twoOfThree, metrics([10, 93_601]))).toBe('OK');
    expect(state(twoOfThree, metrics([10, 93_601], [130, 93_601]))).toBe('ALARM');
  });

  it('adds metrics up, and refuses metric math that it does not know', () => {
    const stat = (MetricName: string) => ({
      Metric: { Namespace: 'Lifeboat', MetricName, Dimensions: [{ Name: 'App', Value: 'hostmaster' }] },
      Period: 3600,
      Stat: 'Sum',
    });
    const sum = (Expression: string) =>
      alarm({
        Threshold: 10,
        Metrics: [
          { Id: 'e', Expression },
          { Id: 'a', ReturnData: false, MetricStat: stat('BackupAgeSeconds') },
          { Id: 'b', ReturnData: false, MetricStat: stat('Other') },
        ],
      });
    expect(state(sum('FILL(a, 0) + FILL(b, 0)'), metrics([1, 11]))).toBe('ALARM');
    expect(() => state(sum('RATE(a)'), metrics([1, 11]))).toThrow(/metric math/);
  });
});
