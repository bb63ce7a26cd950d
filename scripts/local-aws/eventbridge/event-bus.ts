import { randomUUID } from 'node:crypto';
import type { AccessControl } from '../access/access-control.ts';
import type { MetricStore } from '../cloudwatch/metric-store.ts';
import { AwsError } from '../http/aws-error.ts';
import type { LambdaFunction } from '../lambda/lambda-function.ts';
import type { Queue } from '../sqs/queue.ts';
import { eventTime, type AwsEvent } from './event.ts';
import { matchesPattern } from './pattern.ts';
import { isDue } from './schedule.ts';
import { renderTargetInput, type TargetInput } from './target-input.ts';

export interface Rule {
  readonly logicalId: string;
  readonly name: string;
  readonly arn: string;
  readonly pattern: unknown;
  readonly schedule: string | undefined;
  readonly targets: readonly RuleTarget[];
}

interface RuleTarget {
  readonly function: LambdaFunction;
  readonly input: TargetInput;
  readonly deadLetters: Queue | undefined;
}

interface Options {
  readonly accountId: string;
  readonly region: string;
  readonly access: AccessControl;
  readonly metrics: MetricStore;
  readonly tell: (who: string, what: string) => void;
  readonly follow: (work: Promise<void>) => void;
}

/** The default event bus with its rules. Events are best effort: a test may lose, repeat or hold them. */
export class EventBus {
  readonly rules: Rule[] = [];
  /** Every event so far, delivered or not. */
  readonly events: AwsEvent[] = [];
  /** What becomes of an event: none, itself, or several. */
  transform: (event: AwsEvent) => readonly AwsEvent[] = (event) => [event];
  readonly #options: Options;
  #held: AwsEvent[] | undefined;

  constructor(options: Options) {
    this.#options = options;
  }

  emit(parts: Pick<AwsEvent, 'source' | 'detail-type' | 'detail' | 'resources'>): void {
    const event = this.#complete(parts, new Date());
    this.events.push(event);
    for (const each of this.transform(event)) {
      if (this.#held) this.#held.push(each);
      else this.deliver(each);
    }
  }

  /** Keeps what is emitted from now on. */
  hold(): void {
    this.#held ??= [];
  }

  /** Delivers what was held, in this order. */
  release(order: (events: readonly AwsEvent[]) => readonly AwsEvent[] = (events) => events): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const event of order(held)) this.deliver(event);
  }

  /** To every rule whose pattern it matches; once more if it was delivered before. */
  deliver(event: AwsEvent): void {
    for (const rule of this.rules) {
      if (rule.pattern !== undefined && matchesPattern(rule.pattern, event)) this.#deliverTo(rule, event);
    }
  }

  /** @throws Error when the rule's schedule does not fire at that time */
  fire(rule: Rule, time: Date): AwsEvent {
    if (rule.schedule === undefined || !isDue(rule.schedule, time))
      throw new Error(
        `${rule.logicalId} does not fire at ${time.toISOString()}: ${rule.schedule ?? 'no schedule'}`,
      );
    const event = this.#complete(
      { source: 'aws.events', 'detail-type': 'Scheduled Event', detail: {}, resources: [rule.arn] },
      time,
    );
    this.events.push(event);
    this.#deliverTo(rule, event);
    return event;
  }

  #complete(parts: Pick<AwsEvent, 'source' | 'detail-type' | 'detail' | 'resources'>, time: Date): AwsEvent {
    const { accountId: account, region } = this.#options;
    return {
      version: '0',
      id: randomUUID(),
      account,
      region,
      time: eventTime(time),
      ...structuredClone(parts),
    };
  }

  #deliverTo(rule: Rule, event: AwsEvent): void {
    for (const target of rule.targets) this.#options.follow(this.#deliverToTarget(rule, target, event));
  }

  async #deliverToTarget(rule: Rule, target: RuleTarget, event: AwsEvent): Promise<void> {
    const { access, metrics } = this.#options;
    const input = renderTargetInput(target.input, event, rule);
    try {
      const source = { 'aws:SourceArn': rule.arn, 'aws:SourceAccount': this.#options.accountId };
      access.checkService(
        'events.amazonaws.com',
        'lambda:InvokeFunction',
        target.function.specification.arn,
        source,
      );
    } catch (error) {
      if (!(error instanceof AwsError)) throw error;
      const point = {
        namespace: 'AWS/Events',
        name: 'FailedInvocations',
        dimensions: { RuleName: rule.name },
      };
      metrics.put({ ...point, unit: 'Count', value: 1, time: new Date() });
      if (!target.deadLetters) return;
      access.checkService('events.amazonaws.com', 'sqs:SendMessage', target.deadLetters.arn, {
        'aws:SourceArn': rule.arn,
      });
      target.deadLetters.put(event, { ERROR_CODE: error.code, RULE_ARN: rule.arn });
      return;
    }
    this.#options.tell('EventBridge', `${describe(event)} → ${target.function.label}`);
    await target.function.invokeAsynchronously(input);
  }
}

function describe({ source, detail, time, 'detail-type': type }: AwsEvent): string {
  return source === 'aws.events' ? `the schedule of ${time}` : `${type}: ${String(detail['status'])}`;
}
