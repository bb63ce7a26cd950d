import { z } from 'zod';
import type { DataPoint } from './metric-store.ts';

/** https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html */
const directiveSchema = z.object({
  Namespace: z.string().min(1),
  Dimensions: z.array(z.array(z.string()).max(30)),
  Metrics: z
    .array(
      z.object({
        Name: z.string().min(1),
        Unit: z.string().optional(),
        StorageResolution: z.int().optional(),
      }),
    )
    .max(100),
});

const recordSchema = z.looseObject({
  _aws: z.object({ Timestamp: z.number(), CloudWatchMetrics: z.array(directiveSchema) }),
});

/**
 * The data points that one line of a log holds; none for a line that is no embedded metric.
 * @throws Error for a line that means to be one and would be dropped by CloudWatch without a word
 */
export function readEmbeddedMetrics(line: string): DataPoint[] {
  if (!line.includes('"_aws"')) return [];
  const record = recordSchema.parse(JSON.parse(line.slice(line.indexOf('{'))));
  const time = new Date(record._aws.Timestamp);
  return record._aws.CloudWatchMetrics.flatMap(({ Namespace: namespace, Dimensions, Metrics }) =>
    Dimensions.flatMap((names) => {
      const dimensions = Object.fromEntries(names.map((name) => [name, dimensionValue(record, name)]));
      return Metrics.flatMap(({ Name: name, Unit: unit = 'None' }) =>
        metricValues(record, name).map((value) => ({ namespace, name, dimensions, unit, value, time })),
      );
    }),
  );
}

function dimensionValue(record: Readonly<Record<string, unknown>>, name: string): string {
  const value = record[name];
  if (typeof value === 'string' && value !== '') return value;
  throw new Error(`the embedded metric has no text for its dimension ${name}: ${JSON.stringify(value)}`);
}

/** Numbers; one that the record does not hold has no data point. */
function metricValues(record: Readonly<Record<string, unknown>>, name: string): number[] {
  const value = record[name];
  if (value === undefined) return [];
  const values = [value].flat();
  if (values.every((each) => typeof each === 'number' && Number.isFinite(each))) return values as number[];
  throw new Error(`the embedded metric’s ${name} is no number: ${JSON.stringify(value)}`);
}
