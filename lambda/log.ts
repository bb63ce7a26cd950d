import { METRIC_DIMENSION, METRIC_NAMESPACE } from '../lib/domain/names.ts';

export interface Log {
  info(message: string, fields?: Readonly<Record<string, unknown>>): void;
  error(message: string, fields?: Readonly<Record<string, unknown>>): void;
  /** Values of one series at one moment; several of a metric are several hosts'. */
  metrics(app: string, values: Readonly<Record<string, number | readonly number[]>>): void;
  /** The same of a function, by its folder's name. */
  functionMetrics(name: string, values: Readonly<Record<string, number>>): void;
}

/** CloudWatch takes at most a hundred values of a metric from one line. */
const VALUES_PER_LINE = 100;

export interface LogOptions {
  readonly deployment: string;
  readonly now: () => Date;
  readonly write?: (line: string) => void;
}

/**
 * JSON lines; metrics in CloudWatch's embedded format
 * (https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html).
 * A series' have the dimensions Deployment and App, and none for the host: a custom metric costs per combination, and a
 * thousand hosts would cost a thousand times as much as the alarm needs.
 */
export function openLog({ deployment, now, write = writeLine }: LogOptions): Log {
  const say = (level: string, message: string, fields: Readonly<Record<string, unknown>> = {}): void =>
    write(JSON.stringify({ time: now().toISOString(), level, message, ...fields }));
  const measure = (dimension: string, of: string, values: Slice): void => {
    for (const slice of slices(values)) {
      const metric = {
        Namespace: METRIC_NAMESPACE,
        Dimensions: [[METRIC_DIMENSION.deployment, dimension]],
        Metrics: Object.keys(slice).map((Name) => ({ Name, Unit: unitOf(Name) })),
      };
      const _aws = { Timestamp: now().getTime(), CloudWatchMetrics: [metric] };
      write(JSON.stringify({ _aws, [METRIC_DIMENSION.deployment]: deployment, [dimension]: of, ...slice }));
    }
  };
  return {
    info: (message, fields) => say('info', message, fields),
    error: (message, fields) => say('error', message, fields),
    metrics: (app, values) => measure(METRIC_DIMENSION.app, app, values),
    functionMetrics: (name, values) => measure(METRIC_DIMENSION.function, name, values),
  };
}

type Slice = Record<string, number | readonly number[]>;

function slices(values: Slice): Slice[] {
  const lines: Slice[] = [];
  for (const [name, value] of Object.entries(values)) {
    const all = typeof value === 'number' ? [value] : value;
    for (let from = 0; from < all.length; from += VALUES_PER_LINE) {
      const part = all.slice(from, from + VALUES_PER_LINE);
      (lines[from / VALUES_PER_LINE] ??= {})[name] = part.length === 1 ? part[0]! : part;
    }
  }
  return lines;
}

function unitOf(metric: string): string {
  if (metric.endsWith('Seconds')) return 'Seconds';
  if (metric.endsWith('Bytes')) return 'Bytes';
  return /Ratio|Share/.test(metric) ? 'None' : 'Count';
}

/** Not by console: where a function logs as JSON, Lambda wraps the console's lines and no metric is found in them. */
function writeLine(line: string): void {
  process.stdout.write(`${line}\n`);
}
