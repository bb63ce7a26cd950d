import { Queue, QueueEncryption } from 'aws-cdk-lib/aws-sqs';
import { Duration } from 'aws-cdk-lib/core';
import { Construct } from 'constructs';
import { acknowledge } from './statements.ts';

/** Where what nobody could deliver waits for a person, for as long as SQS keeps anything. */
export class DeadLetters extends Construct {
  /** Events and invocations that EventBridge or Lambda gave up. */
  readonly events: Queue;
  /** Messages that did not reach Slack. */
  readonly messages: Queue;

  constructor(scope: Construct, id: string) {
    super(scope, id);
    this.events = this.#queue('Events');
    this.messages = this.#queue('Messages');
  }

  #queue(id: string): Queue {
    const queue = new Queue(this, id, {
      encryption: QueueEncryption.SQS_MANAGED,
      enforceSSL: true,
      retentionPeriod: Duration.days(14),
    });
    acknowledge(queue, {
      'AwsSolutions-SQS3':
        'It is a dead-letter queue itself: of EventBridge, Lambda and SNS, which the rule does not see.',
    });
    return queue;
  }
}
