import { readEmbeddedMetrics } from '../../../scripts/local-aws/cloudwatch/embedded-metrics.ts';

const line = (more: Record<string, unknown> = {}): string =>
  JSON.stringify({
    _aws: {
      Timestamp: 1_768_615_200_000,
      CloudWatchMetrics: [
        { Namespace: 'Lifeboat', Dimensions: [['App']], Metrics: [{ Name: 'RunFailed', Unit: 'Count' }] },
      ],
    },
    App: 'hostmaster',
    RunFailed: 1,
    ...more,
  });

describe('readEmbeddedMetrics', () => {
  it('finds the values with their dimensions and their time', () => {
    expect(readEmbeddedMetrics(line())).toEqual([
      {
        namespace: 'Lifeboat',
        name: 'RunFailed',
        dimensions: { App: 'hostmaster' },
        unit: 'Count',
        value: 1,
        time: new Date('2026-01-17T02:00:00Z'),
      },
    ]);
  });

  it('takes a list of values for several', () => {
    expect(readEmbeddedMetrics(line({ RunFailed: [1, 2] })).map(({ value }) => value)).toEqual([1, 2]);
  });

  it('reads past what Lambda puts before a line of text', () => {
    expect(readEmbeddedMetrics(`2026-01-17T02:00:00.000Z\tid\tINFO\t${line()}`)).toHaveLength(1);
  });

  it('finds nothing in other lines', () => {
    expect(readEmbeddedMetrics('{"level":"info"}')).toEqual([]);
  });

  it.each([
    ['a dimension without a value', { App: undefined }],
    ['a value that is no number', { RunFailed: 'one' }],
  ])('refuses %s, which CloudWatch would drop without a word', (_, more) => {
    expect(() => readEmbeddedMetrics(line(more))).toThrow();
  });
});
