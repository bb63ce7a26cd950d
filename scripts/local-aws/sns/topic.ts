import { randomUUID } from 'node:crypto';
import type { AccessControl } from '../access/access-control.ts';
import type { MetricStore } from '../cloudwatch/metric-store.ts';
import { AwsError } from '../http/aws-error.ts';
import type { LambdaFunction } from '../lambda/lambda-function.ts';
import type { Queue } from '../sqs/queue.ts';

export interface Mail {
  readonly to: string;
  readonly subject: string;
  readonly text: string;
  readonly at: Date;
}

export interface PublishedMessage {
  readonly topicArn: string;
  readonly messageId: string;
  readonly subject: string;
  readonly message: string;
  readonly at: Date;
}

export interface Subscription {
  readonly arn: string;
  readonly deadLetters: Queue | undefined;
  readonly target:
    | { readonly kind: 'lambda'; readonly function: LambdaFunction }
    | { readonly kind: 'email'; readonly address: string };
}

interface TopicOptions {
  readonly arn: string;
  readonly kmsKeyArn: string | undefined;
  readonly subscriptions: readonly Subscription[];
  readonly metrics: MetricStore;
  readonly access: AccessControl;
  readonly deliverMail: (mail: Mail) => void;
  readonly follow: (work: Promise<void>) => void;
}

/** A topic: what is published goes to every subscriber. */
export class Topic {
  readonly messages: PublishedMessage[] = [];
  readonly #options: TopicOptions;

  constructor(options: TopicOptions) {
    this.#options = options;
  }

  get arn(): string {
    return this.#options.arn;
  }

  get kmsKeyArn(): string | undefined {
    return this.#options.kmsKeyArn;
  }

  publish(subject: string, message: string): PublishedMessage {
    const published = { topicArn: this.arn, messageId: randomUUID(), subject, message, at: new Date() };
    this.messages.push(published);
    for (const subscription of this.#options.subscriptions)
      this.#options.follow(this.#deliver(subscription, published));
    return published;
  }

  async #deliver(subscription: Subscription, published: PublishedMessage): Promise<void> {
    const { target, deadLetters } = subscription;
    if (target.kind === 'email') {
      const { subject, message, at } = published;
      this.#options.deliverMail({
        to: target.address,
        subject: subject || 'AWS Notification Message',
        text: message,
        at,
      });
      return;
    }
    const event = notification(subscription, published);
    const source = { 'aws:SourceArn': this.arn };
    try {
      const { arn } = target.function.specification;
      this.#options.access.checkService('sns.amazonaws.com', 'lambda:InvokeFunction', arn, source);
    } catch (error) {
      if (!(error instanceof AwsError)) throw error;
      this.#countFailure();
      if (!deadLetters) return;
      this.#options.access.checkService('sns.amazonaws.com', 'sqs:SendMessage', deadLetters.arn, source);
      deadLetters.put(event);
      return;
    }
    // SNS has handed it over: from here on it is Lambda that tries again, and keeps what failed.
    await target.function.invokeAsynchronously(event);
  }

  #countFailure(): void {
    const dimensions = { TopicName: this.arn.split(':').at(-1) ?? '' };
    const point = { namespace: 'AWS/SNS', name: 'NumberOfNotificationsFailed', dimensions, unit: 'Count' };
    this.#options.metrics.put({ ...point, value: 1, time: new Date() });
  }
}

/** What Lambda gets of it: https://docs.aws.amazon.com/lambda/latest/dg/with-sns.html */
function notification(subscription: Subscription, published: PublishedMessage): Record<string, unknown> {
  const { topicArn, messageId, subject, message, at } = published;
  return {
    Records: [
      {
        EventVersion: '1.0',
        EventSubscriptionArn: subscription.arn,
        EventSource: 'aws:sns',
        Sns: {
          Type: 'Notification',
          MessageId: messageId,
          TopicArn: topicArn,
          Subject: subject === '' ? null : subject,
          Message: message,
          Timestamp: at.toISOString(),
          SignatureVersion: '1',
          MessageAttributes: {},
        },
      },
    ],
  };
}
