/** Metrics: data points by namespace, name and dimensions. */

type Dimensions = Readonly<Record<string, string>>;

export interface DataPoint {
  readonly namespace: string;
  readonly name: string;
  readonly dimensions: Dimensions;
  readonly unit: string;
  readonly value: number;
  readonly time: Date;
}

export type MetricId = Pick<DataPoint, 'namespace' | 'name' | 'dimensions'>;

export class MetricStore {
  readonly points: DataPoint[] = [];

  put(point: DataPoint): void {
    this.points.push(point);
  }

  /** A metric is its namespace, its name and exactly its dimensions. */
  find(id: MetricId, from: Date, to: Date): DataPoint[] {
    const wanted = identify(id);
    return this.points.filter((point) => point.time >= from && point.time < to && identify(point) === wanted);
  }

  /** Every metric that there is, for `SEARCH` expressions and for people. */
  list(): MetricId[] {
    return [...new Map(this.points.map((point) => [identify(point), point])).values()].map(
      ({ namespace, name, dimensions }) => ({ namespace, name, dimensions }),
    );
  }
}

function identify({ namespace, name, dimensions }: MetricId): string {
  const sorted = Object.entries(dimensions).sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([namespace, name, sorted]);
}

export type Statistic = 'Average' | 'Maximum' | 'Minimum' | 'Sum' | 'SampleCount';

/** `undefined` for no values. */
export function summarise(values: readonly number[], statistic: Statistic): number | undefined {
  if (values.length === 0) return undefined;
  const sum = values.reduce((total, value) => total + value, 0);
  switch (statistic) {
    case 'Average':
      return sum / values.length;
    case 'Maximum':
      return Math.max(...values);
    case 'Minimum':
      return Math.min(...values);
    case 'SampleCount':
      return values.length;
    case 'Sum':
      return sum;
  }
}
