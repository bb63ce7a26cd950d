import { randomUUID } from 'node:crypto';
import type { AccessControl } from '../access/access-control.ts';
import type { MetricStore } from '../cloudwatch/metric-store.ts';
import { AwsError } from '../http/aws-error.ts';
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
    { readonly kind: 'queue'; readonly queue: Queue } | { readonly kind: 'email'; readonly address: string };
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

  async #deliver({ target, deadLetters }: Subscription, published: PublishedMessage): Promise<void> {
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
    const body = notification(published);
    if (this.#maySend(target.queue)) target.queue.put(body);
    else {
      this.#countFailure();
      if (deadLetters && this.#maySend(deadLetters)) deadLetters.put(body);
    }
  }

  #maySend({ arn }: Queue): boolean {
    try {
      const source = { 'aws:SourceArn': this.arn };
      this.#options.access.checkService('sns.amazonaws.com', 'sqs:SendMessage', arn, source);
      return true;
    } catch (error) {
      if (error instanceof AwsError) return false;
      throw error;
    }
  }

  #countFailure(): void {
    const dimensions = { TopicName: this.arn.split(':').at(-1) ?? '' };
    const point = { namespace: 'AWS/SNS', name: 'NumberOfNotificationsFailed', dimensions, unit: 'Count' };
    this.#options.metrics.put({ ...point, value: 1, time: new Date() });
  }
}

/** What a queue gets of it: https://docs.aws.amazon.com/sns/latest/dg/sns-sqs-as-subscriber.html */
function notification(published: PublishedMessage): Record<string, unknown> {
  const { topicArn, messageId, subject, message, at } = published;
  return {
    Type: 'Notification',
    MessageId: messageId,
    TopicArn: topicArn,
    ...(subject !== '' && { Subject: subject }),
    Message: message,
    Timestamp: at.toISOString(),
    SignatureVersion: '1',
  };
}
