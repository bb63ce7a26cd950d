import { setTimeout as sleep } from 'node:timers/promises';
import { readEmbeddedMetrics } from '../cloudwatch/embedded-metrics.ts';
import type { MetricStore } from '../cloudwatch/metric-store.ts';
import type { Queue } from '../sqs/queue.ts';
import { FunctionProcess, type FunctionSpecification, type Outcome } from './function-process.ts';

export interface AsyncSettings {
  readonly maximumRetries: number;
  readonly onFailure: Queue | undefined;
}

export interface InvocationRecord {
  readonly functionId: string;
  readonly event: unknown;
  readonly startedAt: Date;
  readonly milliseconds: number;
  readonly outcome: Outcome;
}

export interface FunctionSurroundings {
  readonly metrics: MetricStore;
  readonly retryDelayMilliseconds: number;
  /** Asked as the function’s role before what Lambda does in its name. @throws AwsError */
  readonly check: (action: string, resource: string) => void;
  readonly logGroupArn: string;
  readonly onInvocation: (record: InvocationRecord) => void;
  /** A line that CloudWatch would silently take no metric from, though it looks like one. */
  readonly onDefect: (defect: string) => void;
}

/** A function with its execution environments, its log and its metrics. */
export class LambdaFunction {
  readonly specification: FunctionSpecification;
  readonly asynchronous: AsyncSettings;
  /** Every line that it printed. */
  readonly log: string[] = [];
  readonly #surroundings: FunctionSurroundings;
  readonly #processes: FunctionProcess[] = [];
  #isClosed = false;

  constructor(
    specification: FunctionSpecification,
    asynchronous: AsyncSettings,
    surroundings: FunctionSurroundings,
  ) {
    this.specification = specification;
    this.asynchronous = asynchronous;
    this.#surroundings = surroundings;
  }

  /** `StartRun`: the logical id without what every function’s has. */
  get label(): string {
    return this.specification.logicalId.replace(/^Functions(\w+?)Function[0-9A-F]{8}$/, '$1');
  }

  /** Waits for the answer; nothing is tried again. */
  async invoke(event: unknown): Promise<Outcome> {
    const startedAt = new Date();
    const outcome = await this.#free().invoke(structuredClone(event));
    const milliseconds = Date.now() - startedAt.getTime();
    this.#measure('Invocations', 1, startedAt);
    this.#measure('Errors', outcome.ok ? 0 : 1, startedAt);
    this.#surroundings.onInvocation({ functionId: this.label, event, startedAt, milliseconds, outcome });
    return outcome;
  }

  /** As an event source does it: two more tries, then the place for what failed. */
  async invokeAsynchronously(event: unknown): Promise<Outcome> {
    const { maximumRetries, onFailure } = this.asynchronous;
    let outcome = await this.invoke(event);
    for (let retry = 1; retry <= maximumRetries && !outcome.ok; retry += 1) {
      await sleep(this.#surroundings.retryDelayMilliseconds * retry);
      outcome = await this.invoke(event);
    }
    if (!outcome.ok && onFailure) {
      this.#surroundings.check('sqs:SendMessage', onFailure.arn);
      onFailure.put({
        version: '1.0',
        requestContext: { functionArn: this.specification.arn, condition: 'RetriesExhausted' },
        requestPayload: event,
        responsePayload: outcome.error,
      });
    }
    return outcome;
  }

  /** Also forgets what its modules had kept in memory. */
  end(): void {
    for (const each of this.#processes.splice(0)) each.end();
  }

  /** For good: who still wants to invoke it, after its deployment has gone, must not start a process that nobody ends. */
  close(): void {
    this.#isClosed = true;
    this.end();
  }

  #free(): FunctionProcess {
    if (this.#isClosed) throw new Error(`${this.label} is invoked, but its deployment is gone`);
    const free = this.#processes.find((each) => each.isFree && !each.hasEnded);
    if (free) return free;
    const { check, logGroupArn } = this.#surroundings;
    check('logs:CreateLogStream', logGroupArn);
    check('logs:PutLogEvents', logGroupArn);
    const started = new FunctionProcess(this.specification, (line) => this.#takeLine(line));
    this.#processes.push(started);
    return started;
  }

  #takeLine(line: string): void {
    this.log.push(line);
    try {
      for (const point of readEmbeddedMetrics(line)) this.#surroundings.metrics.put(point);
    } catch (error) {
      this.#surroundings.onDefect(`${this.specification.logicalId}: ${(error as Error).message}`);
    }
  }

  #measure(name: string, value: number, time: Date): void {
    const dimensions = { FunctionName: this.specification.name };
    this.#surroundings.metrics.put({ namespace: 'AWS/Lambda', name, dimensions, unit: 'Count', value, time });
  }
}
