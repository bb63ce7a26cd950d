import { Policy, PolicyStatement, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { EventSourceMapping, type Function } from 'aws-cdk-lib/aws-lambda';
import { Subscription, SubscriptionProtocol, type ITopic } from 'aws-cdk-lib/aws-sns';
import { Queue, QueueEncryption, type IQueue } from 'aws-cdk-lib/aws-sqs';
import { Duration } from 'aws-cdk-lib/core';
import { Construct } from 'constructs';
import { allow } from './statements.ts';

/** The fewest that SQS lets at a function at once. */
const READERS = 2;
/** https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html: six times the function's time-out, five tries. */
const VISIBILITY_TIMEOUTS = 6;
const TRIES = 5;

export interface SlackSubscriptionProps {
  readonly topic: ITopic;
  readonly slack: Function;
  /** For what SNS cannot put into the queue, and what the function has failed at often enough. */
  readonly deadLetters: IQueue;
}

/**
 * SNS → a queue → the slack function. Slack takes about a message a second of a webhook
 * (https://docs.slack.dev/apis/web-api/rate-limits), and the night of a thousand hosts ends in as many messages within
 * minutes: subscribed itself, the function would be started for all of them at once. From the queue two read at a time, each as
 * patient as Slack asks it to be, and the others wait without being tried.
 */
export class SlackSubscription extends Construct {
  readonly queue: IQueue;

  constructor(scope: Construct, id: string, { topic, slack, deadLetters }: SlackSubscriptionProps) {
    super(scope, id);
    const queue = new Queue(this, 'Queue', {
      encryption: QueueEncryption.SQS_MANAGED,
      enforceSSL: true,
      visibilityTimeout: Duration.seconds((slack.timeout?.toSeconds() ?? 60) * VISIBILITY_TIMEOUTS),
      retentionPeriod: Duration.days(4),
      deadLetterQueue: { queue: deadLetters, maxReceiveCount: TRIES },
    });
    this.queue = queue;
    queue.addToResourcePolicy(
      new PolicyStatement({
        sid: 'TopicFills',
        actions: ['sqs:SendMessage'],
        resources: [queue.queueArn],
        principals: [new ServicePrincipal('sns.amazonaws.com')],
        conditions: { ArnEquals: { 'aws:SourceArn': topic.topicArn } },
      }),
    );
    new Subscription(this, 'Subscription', {
      topic,
      protocol: SubscriptionProtocol.SQS,
      endpoint: queue.queueArn,
      deadLetterQueue: deadLetters,
    });
    this.#connect(slack, queue);
  }

  #connect(slack: Function, queue: Queue): void {
    const rights = new Policy(this, 'Rights', {
      statements: [
        allow(
          'ReadMessages',
          ['sqs:ReceiveMessage', 'sqs:DeleteMessage', 'sqs:GetQueueAttributes'],
          [queue.queueArn],
        ),
      ],
    });
    slack.role?.attachInlinePolicy(rights);
    const mapping = new EventSourceMapping(this, 'Mapping', {
      target: slack,
      eventSourceArn: queue.queueArn,
      // One by one: a message that fails does not bring others back with it.
      batchSize: 1,
      maxConcurrency: READERS,
    });
    // Lambda makes no mapping for a role that may not read the queue yet.
    mapping.node.addDependency(rights);
  }
}
