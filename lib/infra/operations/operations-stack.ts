import { LogGroup, RetentionDays } from 'aws-cdk-lib/aws-logs';
import type { IBucket } from 'aws-cdk-lib/aws-s3';
import type { IQueue } from 'aws-cdk-lib/aws-sqs';
import { CfnOutput, RemovalPolicy, Stack, type StackProps } from 'aws-cdk-lib/core';
import type { Construct } from 'constructs';
import type { DeploymentConfig } from '../../domain/deployment/config.ts';
import { refuseSkippedNights } from '../../domain/deployment/daylight-saving.ts';
import { AgentDelivery } from './agent-delivery.ts';
import { Alarms } from './alarms.ts';
import { findBuiltAssets, type OperationsAssets } from './built-assets.ts';
import { Dashboard, dashboardUrl } from './dashboard.ts';
import { DeadLetters } from './dead-letters.ts';
import { Functions } from './functions.ts';
import { HostAccess } from './host-access.ts';
import { sayWhoHearsNothing } from './notices.ts';
import { Notifications } from './notifications.ts';
import { RunDocuments } from './run-documents.ts';
import { Schedule } from './schedule.ts';
import { SlackSubscription } from './slack-subscription.ts';

export interface OperationsStackProps extends StackProps {
  readonly config: DeploymentConfig;
  /** The backups. */
  readonly bucket: IBucket;
  /** Requests, results and plans. */
  readonly stateBucket: IBucket;
  /** @default - what `npm run build` made in dist/ */
  readonly assets?: OperationsAssets;
}

/** Everything that acts. It holds no data: it can be removed and deployed again. */
export class OperationsStack extends Stack {
  readonly hostAccess: HostAccess;
  readonly documents: RunDocuments;
  readonly functions: Functions;
  readonly notifications: Notifications;
  readonly deadLetters: DeadLetters;
  readonly schedule: Schedule;

  constructor(scope: Construct, id: string, props: OperationsStackProps) {
    const { config, bucket, stateBucket, assets = findBuiltAssets(), ...stackProps } = props;
    super(scope, id, stackProps);
    refuseSkippedNights(config.schedule, new Date());
    const storage = { config, bucket, stateBucket };
    const commandLog = new LogGroup(this, 'CommandLog', {
      retention: RetentionDays.THREE_MONTHS,
      removalPolicy: RemovalPolicy.DESTROY,
    });
    this.notifications = new Notifications(this, 'Notifications', { config });
    const { topic, key: messageKey } = this.notifications;
    const delivery = new AgentDelivery(this, 'Agent', { assets });
    const documents = new RunDocuments(this, 'Documents', { config, delivery });
    this.documents = documents;
    this.hostAccess = new HostAccess(this, 'Host', {
      ...storage,
      delivery,
      documents,
      commandLog,
      messageKey,
    });
    this.deadLetters = new DeadLetters(this, 'DeadLetters');
    this.functions = new Functions(this, 'Functions', {
      ...storage,
      assets,
      commandLog,
      topic,
      messageKey,
      documents: this.documents,
      deadLetters: this.deadLetters,
      dashboardUrl: dashboardUrl(this, config),
    });
    this.schedule = new Schedule(this, 'Schedule', {
      config,
      functions: this.functions,
      documents: this.documents,
      deadLetters: this.deadLetters.events,
    });
    const slackQueue = this.#connectSlack();
    new Alarms(this, 'Alarms', {
      config,
      bucket,
      topic,
      functions: this.functions,
      schedule: this.schedule,
      deadLetters: this.deadLetters,
      slackQueue,
    });
    new Dashboard(this, 'Dashboard', { config, bucket, functions: this.functions });
    this.#sayWhatToUse(config);
    sayWhoHearsNothing(this, config);
  }

  /** The queue of messages for Slack, where the configuration has one. */
  #connectSlack(): IQueue | undefined {
    const { slack } = this.functions;
    if (slack === undefined) return undefined;
    const { topic } = this.notifications;
    return new SlackSubscription(this, 'Slack', { topic, slack, deadLetters: this.deadLetters.messages })
      .queue;
  }

  /** What a person types after the deployment. */
  #sayWhatToUse(config: DeploymentConfig): void {
    const outputs: Record<string, string> = {
      TopicArn: this.notifications.topic.topicArn,
      // The webhook's parameter is encrypted with it; `--key-id alias/<this>`.
      MessageKeyAlias: this.notifications.keyAlias.slice('alias/'.length),
      DashboardUrl: dashboardUrl(this, config),
      StartRunFunction: this.functions.startRun.functionName,
      RestoreFunction: this.functions.restore.functionName,
    };
    const { slackParameter } = config.notifications;
    if (slackParameter !== undefined)
      outputs['SlackParameterCommand'] =
        `aws ssm put-parameter --type SecureString --key-id ${this.notifications.keyAlias} --name ${slackParameter} --value file://webhook-url.txt`;
    for (const [id, value] of Object.entries(outputs)) new CfnOutput(this, id, { value });
  }
}
