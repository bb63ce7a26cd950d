import { createHash } from 'node:crypto';
import { cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PolicyDocument, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { Architecture, Code, EventInvokeConfig, Function, Runtime } from 'aws-cdk-lib/aws-lambda';
import { LogGroup, RetentionDays, type ILogGroup } from 'aws-cdk-lib/aws-logs';
import type { IQueue } from 'aws-cdk-lib/aws-sqs';
import { AssetHashType, DockerImage, Duration, RemovalPolicy } from 'aws-cdk-lib/core';
import { Construct } from 'constructs';
import { DEPLOYMENT_FILE, LAMBDA_ENV } from '../../domain/names.ts';
import { functionRolePath, type FunctionName } from '../storage/principals.ts';
import type { OperationsAssets } from './built-assets.ts';
import type { DeadLetters } from './dead-letters.ts';
import { functionRights, howToShorten, type Surroundings } from './function-rights.ts';
import { LONGEST_POLICY, refuseLongPolicy } from './policy-size.ts';
import { acknowledge, allow } from './statements.ts';

interface FunctionSize {
  readonly description: string;
  readonly timeout: Duration;
  /** Lambda's share of a CPU grows with the memory: 1769 MB is a whole one. */
  readonly memoryMb: number;
}

export const WATCH_INTERVAL = Duration.minutes(5);

/**
 * The watch ends before its next run begins; start-run may send to a thousand hosts; a plan of a recovery lists all the WAL of a
 * cluster, a million objects in a few minutes; the others answer one question.
 */
const SIZE: Readonly<Record<FunctionName, FunctionSize>> = {
  'start-run': {
    description: 'Starts backups and other runs on the database hosts',
    timeout: Duration.minutes(15),
    memoryMb: 512,
  },
  restore: {
    description: 'Lists backups, plans restores and starts what was planned and confirmed',
    timeout: Duration.minutes(15),
    memoryMb: 1769,
  },
  'report-run': {
    description: 'Tells how a run ended',
    timeout: Duration.minutes(2),
    memoryMb: 512,
  },
  watch: {
    description: 'Looks at what lies in S3: how old, how large, what is lost, what may expire',
    timeout: Duration.seconds(270),
    memoryMb: 1024,
  },
  slack: {
    description: 'Passes messages on to Slack',
    timeout: Duration.minutes(1),
    memoryMb: 256,
  },
};

export interface FunctionsProps extends Surroundings {
  readonly assets: OperationsAssets;
  readonly deadLetters: DeadLetters;
  readonly commandLog: ILogGroup;
  readonly dashboardUrl: string;
}

/** The Lambda functions, each with a role, a log and rights of its own. */
export class Functions extends Construct {
  readonly startRun: Function;
  readonly restore: Function;
  readonly reportRun: Function;
  readonly watch: Function;
  /** Only where the configuration names a Slack parameter. */
  readonly slack: Function | undefined;

  constructor(scope: Construct, id: string, props: FunctionsProps) {
    super(scope, id);
    const { events, messages } = props.deadLetters;
    const { slackParameter } = props.config.notifications;
    this.startRun = this.#make('StartRun', 'start-run', props, events);
    this.restore = this.#make('Restore', 'restore', props, events);
    // For messages, which tell people what to invoke.
    const named = {
      [LAMBDA_ENV.startRunFunction]: this.startRun.functionName,
      [LAMBDA_ENV.restoreFunction]: this.restore.functionName,
    };
    this.reportRun = this.#make('ReportRun', 'report-run', props, events, named);
    // Its next run, in five minutes, does what this one could not: a dead letter would only have to be thrown away.
    this.watch = this.#make('Watch', 'watch', props, undefined, named);
    this.slack = slackParameter === undefined ? undefined : this.#make('Slack', 'slack', props, messages);
  }

  /** By the names of their folders. */
  all(): [FunctionName, Function][] {
    const { startRun, restore, reportRun, watch, slack } = this;
    return [
      ['start-run', startRun],
      ['restore', restore],
      ['report-run', reportRun],
      ['watch', watch],
      ...(slack === undefined ? [] : ([['slack', slack]] as [FunctionName, Function][])),
    ];
  }

  /** @param failures for what it could not do; `undefined`: that needs nobody */
  #make(
    id: string,
    name: FunctionName,
    props: FunctionsProps,
    failures: IQueue | undefined,
    variables: Readonly<Record<string, string>> = {},
  ): Function {
    const scope = new Construct(this, id);
    const { config } = props;
    const { description, timeout, memoryMb } = SIZE[name];
    const logGroup = new LogGroup(scope, 'Log', {
      retention: RetentionDays.THREE_MONTHS,
      removalPolicy: RemovalPolicy.DESTROY,
    });
    const made = new Function(scope, 'Function', {
      description: `${config.name}: ${description}`,
      runtime: Runtime.NODEJS_24_X,
      architecture: Architecture.ARM_64,
      handler: 'index.handler',
      code: bundleWithConfig(props, name),
      role: this.#role(scope, name, props, logGroup, failures),
      logGroup,
      timeout,
      memorySize: memoryMb,
      environment: { ...environmentOf(name, props), ...variables },
      ...(name === 'watch' && config.limits.reserveConcurrency && { reservedConcurrentExecutions: 1 }),
    });
    // A second try of the watch would be late: the next one comes by itself.
    new EventInvokeConfig(scope, 'Retries', {
      function: made,
      maxEventAge: Duration.hours(1),
      retryAttempts: name === 'watch' ? 0 : 2,
      ...(failures && { onFailure: { bind: () => ({ destination: failures.queueArn }) } }),
    });
    return made;
  }

  #role(
    scope: Construct,
    name: FunctionName,
    props: FunctionsProps,
    logGroup: ILogGroup,
    failures: IQueue | undefined,
  ): Role {
    const { config } = props;
    const rights = new PolicyDocument({
      statements: [
        allow('WriteLog', ['logs:CreateLogStream', 'logs:PutLogEvents'], [logGroup.logGroupArn]),
        ...(failures ? [allow('KeepFailures', ['sqs:SendMessage'], [failures.queueArn])] : []),
        ...functionRights(this, name, props),
      ],
    });
    refuseLongPolicy(this, rights, {
      whose: name,
      most: LONGEST_POLICY.inline,
      hint: howToShorten(config),
    });
    const role = new Role(scope, 'Role', {
      path: functionRolePath(config, name),
      assumedBy: new ServicePrincipal('lambda.amazonaws.com'),
      description: `${config.name}: ${name}`,
      inlinePolicies: { Rights: rights },
    });
    acknowledge(role, {
      'AwsSolutions-IAM5':
        'Streams of its own log, objects under the deployment’s prefix, and calls of SSM and EC2 that know no resource; no ' +
        'action has a wildcard. Hosts chosen by tag are narrowed by the condition on the tag.',
    });
    return role;
  }
}

/** The bundle, and beside it the configuration, so that a handler needs no call to know what it works for. */
function bundleWithConfig({ assets, config }: FunctionsProps, name: FunctionName): Code {
  const deployment = `${JSON.stringify(config, null, 2)}\n`;
  return Code.fromAsset(join(assets.lambdas, name), {
    assetHashType: AssetHashType.OUTPUT,
    bundling: {
      image: DockerImage.fromRegistry('unused'),
      // The CDK remembers what it bundled by these options: another configuration is another bundle.
      environment: { DEPLOYMENT: createHash('sha256').update(deployment).digest('hex') },
      local: {
        tryBundle(folder) {
          cpSync(join(assets.lambdas, name), folder, { recursive: true });
          writeFileSync(join(folder, DEPLOYMENT_FILE), deployment);
          return true;
        },
      },
    },
  });
}

function environmentOf(name: FunctionName, props: FunctionsProps): Record<string, string> {
  const { bucket, stateBucket, documents, topic, commandLog, dashboardUrl, config } = props;
  if (name === 'slack')
    return {
      [LAMBDA_ENV.slackParameter]: config.notifications.slackParameter ?? '',
      [LAMBDA_ENV.dashboardUrl]: dashboardUrl,
    };
  const both = { [LAMBDA_ENV.bucket]: bucket.bucketName, [LAMBDA_ENV.stateBucket]: stateBucket.bucketName };
  const telling = { ...both, [LAMBDA_ENV.topicArn]: topic.topicArn, [LAMBDA_ENV.dashboardUrl]: dashboardUrl };
  const commanding = { ...both, [LAMBDA_ENV.commandLogGroup]: commandLog.logGroupName };
  switch (name) {
    case 'start-run':
      return { ...telling, ...commanding, [LAMBDA_ENV.backupDocument]: documents.backup.ref };
    case 'restore':
      return { ...commanding, [LAMBDA_ENV.restoreDocument]: documents.restore.ref };
    case 'report-run':
      return {
        ...telling,
        [LAMBDA_ENV.backupDocument]: documents.backup.ref,
        [LAMBDA_ENV.restoreDocument]: documents.restore.ref,
      };
    case 'watch':
      return telling;
  }
}
