import { AnyPrincipal, Effect, PolicyStatement, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { Alias, Key } from 'aws-cdk-lib/aws-kms';
import { Topic, TopicPolicy, Subscription, SubscriptionProtocol } from 'aws-cdk-lib/aws-sns';
import { Duration, RemovalPolicy, Stack } from 'aws-cdk-lib/core';
import { Construct } from 'constructs';
import type { DeploymentConfig } from '../../domain/deployment/config.ts';
import { hostRoleArns } from '../storage/principals.ts';

export interface NotificationsProps {
  readonly config: DeploymentConfig;
}

/**
 * The topic that everything is told through, and the key of its messages, which encrypts the Slack webhook too. It must be
 * a key of our own: alarms cannot use alias/aws/sns, and a host's SSM policy reads every parameter under alias/aws/ssm.
 */
export class Notifications extends Construct {
  readonly key: Key;
  readonly topic: Topic;
  /** For the command that creates the webhook's parameter. */
  readonly keyAlias: string;

  constructor(scope: Construct, id: string, { config }: NotificationsProps) {
    super(scope, id);
    this.keyAlias = `alias/${config.name}-messages`;
    this.key = this.#newKey(config);
    new Alias(this, 'KeyAlias', { aliasName: this.keyAlias, targetKey: this.key });
    this.topic = new Topic(this, 'Topic', { masterKey: this.key, displayName: config.name });
    this.#allowPublishing();
    for (const email of new Set(config.notifications.emails)) this.#subscribe(email);
  }

  #newKey(config: DeploymentConfig): Key {
    const { account } = Stack.of(this);
    const key = new Key(this, 'Key', {
      description: `${config.name}: messages in the topic, and the Slack webhook`,
      enableKeyRotation: true,
      removalPolicy: RemovalPolicy.DESTROY,
      pendingWindow: Duration.days(30),
    });
    const use = { actions: ['kms:Decrypt', 'kms:GenerateDataKey*'], resources: ['*'] };
    key.addToResourcePolicy(
      new PolicyStatement({
        sid: 'AlarmsPublish',
        principals: [new ServicePrincipal('cloudwatch.amazonaws.com')],
        ...use,
        conditions: { StringEquals: { 'aws:SourceAccount': account } },
      }),
    );
    // No aws:Source… condition: EventBridge does not send it to KMS, and the message would be dropped without a word.
    key.addToResourcePolicy(
      new PolicyStatement({
        sid: 'EventBridgePublishes',
        principals: [new ServicePrincipal('events.amazonaws.com')],
        ...use,
      }),
    );
    key.addToResourcePolicy(
      new PolicyStatement({
        sid: 'HostsReadNothing',
        effect: Effect.DENY,
        principals: [new AnyPrincipal()],
        actions: ['kms:*'],
        resources: ['*'],
        conditions: { ArnLike: { 'aws:PrincipalArn': hostRoleArns(this, config) } },
      }),
    );
    return key;
  }

  /**
   * A topic policy of any kind replaces SNS' own, which let the account's alarms publish: so it is all said here.
   * The Lambdas publish by their roles' policies, which suffices within an account.
   */
  #allowPublishing(): void {
    const { partition, region, account } = Stack.of(this);
    const policy = new TopicPolicy(this, 'TopicPolicy', { topics: [this.topic] });
    const publish = { actions: ['sns:Publish'], resources: [this.topic.topicArn] };
    policy.document.addStatements(
      new PolicyStatement({
        sid: 'AlarmsPublish',
        principals: [new ServicePrincipal('cloudwatch.amazonaws.com')],
        ...publish,
        conditions: { StringEquals: { 'aws:SourceAccount': account } },
      }),
      // Unlike KMS, SNS is told the rule.
      new PolicyStatement({
        sid: 'EventBridgePublishes',
        principals: [new ServicePrincipal('events.amazonaws.com')],
        ...publish,
        conditions: { ArnLike: { 'aws:SourceArn': `arn:${partition}:events:${region}:${account}:rule/*` } },
      }),
      new PolicyStatement({
        sid: 'OnlyOverTls',
        effect: Effect.DENY,
        principals: [new AnyPrincipal()],
        ...publish,
        conditions: { Bool: { 'aws:SecureTransport': 'false' } },
      }),
    );
  }

  #subscribe(email: string): void {
    new Subscription(this, `Email-${email}`, {
      topic: this.topic,
      protocol: SubscriptionProtocol.EMAIL,
      endpoint: email,
    });
  }
}
