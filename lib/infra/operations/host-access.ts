import {
  CfnInstanceProfile,
  ManagedPolicy,
  Role,
  ServicePrincipal,
  type IManagedPolicy,
  type IRole,
  type PolicyStatement,
} from 'aws-cdk-lib/aws-iam';
import type { IKey } from 'aws-cdk-lib/aws-kms';
import type { ILogGroup } from 'aws-cdk-lib/aws-logs';
import type { IBucket } from 'aws-cdk-lib/aws-s3';
import { ArnFormat, CfnOutput, RemovalPolicy, Stack } from 'aws-cdk-lib/core';
import { Construct } from 'constructs';
import type { DeploymentConfig } from '../../domain/deployment/config.ts';
import { hostRolePath } from '../storage/principals.ts';
import { walStateFolders } from '../storage/wal-state.ts';
import type { AgentDelivery } from './agent-delivery.ts';
import { LONGEST_POLICY, refuseLongPolicy } from './policy-size.ts';
import type { RunDocuments } from './run-documents.ts';
import { acknowledge, allow, deny } from './statements.ts';

export interface HostAccessProps {
  readonly config: DeploymentConfig;
  readonly bucket: IBucket;
  readonly stateBucket: IBucket;
  readonly delivery: AgentDelivery;
  readonly documents: RunDocuments;
  /** Where SSM writes the commands' output, with the host's credentials. */
  readonly commandLog: ILogGroup;
  /** Of messages and of the Slack webhook: nothing that a host may read. */
  readonly messageKey: IKey;
}

/**
 * What a database host may do: add backups and read its own. One managed policy holds it all, on a new role with an instance
 * profile, or on the role that the hosts have already. Denies stand beside the allows, because the role may have been
 * given more elsewhere; AmazonSSMManagedInstanceCore alone reads every parameter of the account.
 */
export class HostAccess extends Construct {
  readonly role: IRole;
  readonly policy: IManagedPolicy;

  constructor(scope: Construct, id: string, props: HostAccessProps) {
    super(scope, id);
    const { hostRoleName } = props.config;
    this.role =
      hostRoleName === undefined
        ? this.#newRole(props.config)
        : Role.fromRoleName(this, 'Role', hostRoleName);
    const policy = new ManagedPolicy(this, 'Policy', {
      description: `${props.config.name}: what the Lifeboat agent may do on a database host`,
      roles: [this.role],
      statements: [...storageRights(props), ...this.#otherRights(props), ...this.#denials(props)],
    });
    refuseLongPolicy(this, policy.document, {
      whose: 'the hosts',
      most: LONGEST_POLICY.managed,
      hint: howToShorten(props.config),
    });
    this.policy = policy;
    acknowledge(policy, {
      'AwsSolutions-IAM5':
        'The names of objects under the deployment’s prefix are not known beforehand; what has a wildcard as its resource ' +
        'is a denial, or the listing of log groups, which has no narrower one.',
    });
    const stack = Stack.of(this);
    new CfnOutput(stack, 'HostPolicyArn', {
      value: this.policy.managedPolicyArn,
      description: 'Already attached; for a further role of yours: aws iam attach-role-policy',
    });
    new CfnOutput(stack, 'HostRoleName', { value: this.role.roleName });
  }

  #newRole(config: DeploymentConfig): Role {
    const role = new Role(this, 'Role', {
      path: hostRolePath(config),
      assumedBy: new ServicePrincipal('ec2.amazonaws.com'),
      description: `${config.name}: the role of the database hosts`,
      managedPolicies: [ManagedPolicy.fromAwsManagedPolicyName('AmazonSSMManagedInstanceCore')],
    });
    acknowledge(role, {
      'AwsSolutions-IAM4':
        'AWS’ own policy for managed instances, kept by AWS in step with the SSM agent; our denials narrow it.',
    });
    const profile = new CfnInstanceProfile(this, 'Profile', {
      path: hostRolePath(config),
      roles: [role.roleName],
    });
    // Whoever destroys the stack ends the backups, but does not take the hosts out of SSM's hands.
    for (const kept of [role, profile]) kept.applyRemovalPolicy(RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE);
    new CfnOutput(Stack.of(this), 'HostInstanceProfile', { value: profile.ref });
    new CfnOutput(Stack.of(this), 'AttachCommand', {
      description: 'Gives a host without an instance profile this one',
      value: `aws ec2 associate-iam-instance-profile --instance-id INSTANCE_ID --iam-instance-profile Name=${profile.ref}`,
    });
    return role;
  }

  #otherRights({ config, delivery, commandLog }: HostAccessProps): PolicyStatement[] {
    const secrets = secretsOf(config);
    const { kmsKeyArn } = config.storage;
    return [
      allow('FetchAgent', ['s3:GetObject'], [delivery.x64.objectArn, delivery.arm64.objectArn]),
      allow(
        'WriteCommandLog',
        ['logs:CreateLogStream', 'logs:DescribeLogStreams', 'logs:PutLogEvents'],
        // With `:*` for its streams, as CloudFormation gives the ARN, and without for the group itself.
        [commandLog.logGroupArn, logGroupArn(this, commandLog)],
      ),
      allow('FindCommandLog', ['logs:DescribeLogGroups'], ['*']),
      ...(secrets.length === 0
        ? []
        : [allow('ReadDatabasePasswords', ['secretsmanager:GetSecretValue'], secrets)]),
      ...(kmsKeyArn === undefined
        ? []
        : [allow('UseStorageKey', ['kms:Decrypt', 'kms:GenerateDataKey'], [kmsKeyArn])]),
    ];
  }

  #denials(props: HostAccessProps): PolicyStatement[] {
    const { config, bucket, stateBucket, messageKey } = props;
    const { slackParameter } = config.notifications;
    const buckets = [bucket, stateBucket].flatMap(({ bucketArn }) => [bucketArn, `${bucketArn}/*`]);
    return [
      deny('TakeNothingAway', { actions: TAKING_AWAY, resources: buckets }),
      deny('ReadNoMessages', { actions: ['kms:*'], resources: [messageKey.keyArn] }),
      commandNobody(props),
      ...(slackParameter === undefined
        ? []
        : [
            deny('ReadNoWebhook', {
              actions: ['ssm:GetParameter*'],
              resources: [parameterArn(this, slackParameter)],
            }),
          ]),
    ];
  }
}

/**
 * A host that was broken into must not become root on the others. A role of ours needs no command at all; one that was there
 * before may be a bastion's, which commands other hosts by other documents: those are not ours to forbid.
 */
function commandNobody({ config, documents }: HostAccessProps): PolicyStatement {
  return config.hostRoleName === undefined
    ? deny('CommandNobody', { actions: ['ssm:SendCommand', 'ssm:StartSession'], resources: ['*'] })
    : deny('StartNoRun', {
        actions: ['ssm:SendCommand'],
        resources: [documents.arnOf(documents.backup), documents.arnOf(documents.restore)],
      });
}

function secretsOf({ series }: DeploymentConfig): string[] {
  return [...new Set(series.flatMap(({ passwordSecretArn }) => passwordSecretArn ?? []))];
}

function howToShorten(config: DeploymentConfig): string {
  const secrets = secretsOf(config).length;
  return secrets === 0
    ? 'Shorten storage.prefix and notifications.slackParameter.'
    : `series: they name ${secrets} different passwordSecretArn. Use peer authentication over the local socket, which ` +
        'needs none, or divide the series into two deployments with a name each.';
}

/** Deletes, what undoes the lock, and what changes the buckets themselves. */
const TAKING_AWAY = [
  's3:Delete*',
  's3:BypassGovernanceRetention',
  's3:PutBucket*',
  's3:PutEncryptionConfiguration',
  's3:PutLifecycleConfiguration',
  's3:PutObjectAcl',
  's3:PutObjectLegalHold',
  's3:PutObjectRetention',
  's3:PutObjectTagging',
  's3:PutObjectVersionAcl',
  's3:PutObjectVersionTagging',
  's3:PutReplicationConfiguration',
];

/**
 * Nothing outside of the prefix, not even its names. The state bucket’s condition says `IfExists`, because a read carries no
 * prefix: to who may not list, S3 calls a missing object denied, and the agent asks for a result that is not there.
 */
function storageRights({ config, bucket, stateBucket }: HostAccessProps): PolicyStatement[] {
  const { prefix } = config.storage;
  const stream = walStateFolders(config);
  return [
    allow(
      'AddAndReadBackups',
      ['s3:AbortMultipartUpload', 's3:GetObject', 's3:ListMultipartUploadParts', 's3:PutObject'],
      [bucket.arnForObjects(`${prefix}/*`)],
    ),
    allow('ListBackups', ['s3:ListBucket'], [bucket.bucketArn], {
      StringLike: { 's3:prefix': [prefix, `${prefix}/*`] },
    }),
    allow('ListUploads', ['s3:ListBucketMultipartUploads'], [bucket.bucketArn]),
    allow('WriteResults', ['s3:PutObject'], [stateBucket.arnForObjects(`${prefix}/runs/*/result.json`)]),
    // Its own result read back; no request, whose nonce is what tells its result from a forged one.
    allow('ReadResults', ['s3:GetObject'], [stateBucket.arnForObjects(`${prefix}/runs/*/result.json`)]),
    allow(
      'KeepJournal',
      ['s3:AbortMultipartUpload', 's3:GetObject', 's3:PutObject'],
      stream.map((folder) => stateBucket.arnForObjects(`${folder}/*`)),
    ),
    allow('ListRunsAndJournal', ['s3:ListBucket'], [stateBucket.bucketArn], {
      StringLikeIfExists: {
        's3:prefix': [`${prefix}/runs`, `${prefix}/runs/*`, ...stream.map((folder) => `${folder}/*`)],
      },
    }),
  ];
}

function logGroupArn(scope: Construct, { logGroupName }: ILogGroup): string {
  return Stack.of(scope).formatArn({
    service: 'logs',
    resource: 'log-group',
    resourceName: logGroupName,
    arnFormat: ArnFormat.COLON_RESOURCE_NAME,
  });
}

/** @param name begins with a slash */
export function parameterArn(scope: Construct, name: string): string {
  const where = {
    service: 'ssm',
    resource: 'parameter',
    resourceName: name.slice(1),
    arnFormat: ArnFormat.SLASH_RESOURCE_NAME,
  };
  return Stack.of(scope).formatArn(where);
}
