import { ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import type { IFunction } from 'aws-cdk-lib/aws-lambda';
import { Subscription, SubscriptionProtocol, type ITopic } from 'aws-cdk-lib/aws-sns';
import type { IQueue } from 'aws-cdk-lib/aws-sqs';
import { Construct } from 'constructs';

export interface SlackSubscriptionProps {
  readonly topic: ITopic;
  readonly slack: IFunction;
  /** For messages that SNS cannot hand to the function; those that the function fails at go there by its own setting. */
  readonly deadLetters: IQueue;
}

/** SNS → the slack function. */
export class SlackSubscription extends Construct {
  constructor(scope: Construct, id: string, { topic, slack, deadLetters }: SlackSubscriptionProps) {
    super(scope, id);
    new Subscription(this, 'Subscription', {
      topic,
      protocol: SubscriptionProtocol.LAMBDA,
      endpoint: slack.functionArn,
      deadLetterQueue: deadLetters,
    });
    slack.addPermission('Messages', {
      principal: new ServicePrincipal('sns.amazonaws.com'),
      sourceArn: topic.topicArn,
    });
  }
}
