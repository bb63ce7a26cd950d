import type { PolicyStatement } from 'aws-cdk-lib/aws-iam';
import type { IKey } from 'aws-cdk-lib/aws-kms';
import type { IBucket } from 'aws-cdk-lib/aws-s3';
import type { CfnDocument } from 'aws-cdk-lib/aws-ssm';
import type { ITopic } from 'aws-cdk-lib/aws-sns';
import { Stack } from 'aws-cdk-lib/core';
import type { Construct } from 'constructs';
import type { DeploymentConfig } from '../../domain/deployment/config.ts';
import { hasTaggedHosts } from '../../domain/watch/places.ts';
import type { FunctionName } from '../storage/principals.ts';
import { walStateFolders } from '../storage/wal-state.ts';
import { parameterArn } from './host-access.ts';
import type { RunDocuments } from './run-documents.ts';
import { allow } from './statements.ts';

export interface Surroundings {
  readonly config: DeploymentConfig;
  readonly bucket: IBucket;
  readonly stateBucket: IBucket;
  readonly documents: RunDocuments;
  readonly topic: ITopic;
  readonly messageKey: IKey;
}

/** What each function may do, besides writing its own log. */
export function functionRights(
  scope: Construct,
  name: FunctionName,
  surroundings: Surroundings,
): PolicyStatement[] {
  const { documents } = surroundings;
  switch (name) {
    case 'start-run':
      return [
        ...sendRights(scope, documents.backup, surroundings),
        ...findRights(surroundings),
        ...stateRights(surroundings, ['request', 'command']),
        ...publishRights(surroundings),
        ...storageKeyRights(surroundings),
      ];
    case 'restore':
      return [
        ...sendRights(scope, documents.restore, surroundings),
        ...stateRights(surroundings, ['request', 'command']),
        ...planRights(surroundings),
        ...catalogRights(surroundings),
        ...measureRights(surroundings),
        ...storageKeyRights(surroundings),
      ];
    case 'report-run':
      return [
        allow('ReadInvocations', ['ssm:GetCommandInvocation', 'ssm:ListCommandInvocations'], ['*']),
        ...tellingRights(surroundings),
        ...catalogRights(surroundings),
        ...storageKeyRights(surroundings),
      ];
    case 'watch':
      return [
        ...findRights(surroundings),
        ...tellingRights(surroundings),
        ...catalogRights(surroundings),
        ...taggingRights(surroundings),
        ...measureRights(surroundings),
        ...removalRights(surroundings),
        ...storageKeyRights(surroundings),
      ];
    case 'slack':
      return slackRights(scope, surroundings);
  }
}

/**
 * Two statements, never one: a condition on instances in the statement that names the document would be a condition on the
 * document as well (https://docs.aws.amazon.com/systems-manager/latest/userguide/run-command-setting-up.html).
 */
function sendRights(scope: Construct, document: CfnDocument, { config, documents }: Surroundings) {
  return [
    allow('SendOwnDocument', ['ssm:SendCommand'], [documents.arnOf(document)]),
    ...targetRights(scope, config),
    allow('FindCommands', ['ssm:ListCommands'], ['*']),
  ];
}

/** Who carries a series' tag. Neither action knows a resource. */
function findRights({ config }: Surroundings): PolicyStatement[] {
  return hasTaggedHosts(config.series)
    ? [allow('FindTaggedHosts', ['ssm:DescribeInstanceInformation', 'ec2:DescribeInstances'], ['*'])]
    : [];
}

function targetRights(scope: Construct, { series }: DeploymentConfig): PolicyStatement[] {
  const { partition, region, account } = Stack.of(scope);
  const instances = `arn:${partition}:ec2:${region}:${account}:instance/`;
  // A host outside of EC2 that has the tag by mistake is sent the command, and its agent says why it refuses.
  const others = `arn:${partition}:ssm:${region}:${account}:managed-instance/*`;
  const { named, tags } = targetsOf(series);
  return [
    ...(named.length === 0
      ? []
      : [
          allow(
            'SendToNamedHosts',
            ['ssm:SendCommand'],
            named.map((id) => `${instances}${id}`),
          ),
        ]),
    ...[...tags].map(([key, values], index) =>
      allow(`SendToTaggedHosts${index}`, ['ssm:SendCommand'], [`${instances}*`, others], {
        StringEquals: { [`ssm:resourceTag/${key}`]: [...values] },
      }),
    ),
  ];
}

interface Targets {
  /** Instance ids, each once. */
  readonly named: readonly string[];
  /** Values by key. */
  readonly tags: ReadonlyMap<string, ReadonlySet<string>>;
}

function targetsOf(series: DeploymentConfig['series']): Targets {
  const hosts = series.map(({ host }) => host);
  const named = new Set(hosts.flatMap((host) => ('instanceId' in host ? [host.instanceId] : [])));
  const tags = new Map<string, Set<string>>();
  for (const host of hosts)
    if ('tag' in host) tags.set(host.tag.key, new Set([...(tags.get(host.tag.key) ?? []), host.tag.value]));
  return { named: [...named], tags };
}

/** What to do about rights that IAM finds too long: all that has no bound of its own is the hosts. */
export function howToShorten({ series }: DeploymentConfig): string {
  const { named, tags } = targetsOf(series);
  const values = [...tags.values()].reduce((sum, each) => sum + each.size, 0);
  const known = [
    ...(named.length > 0 ? [`${named.length} instance ids`] : []),
    ...(values > 0 ? [`${values} values of ${tags.size} tags`] : []),
  ];
  return (
    `series: they name their hosts by ${known.join(' and ')}. Let several hosts of a series share one tag, shorten ` +
    'keys and values, or divide the series into two deployments with a name each.'
  );
}

/**
 * Reads all about runs, and writes those of its own objects. To whom may not list, S3 calls a missing object denied; a read
 * carries no prefix, so a condition on it would not let anybody learn of absence.
 */
function stateRights({ config, stateBucket }: Surroundings, writes: string[]): PolicyStatement[] {
  const runs = `${config.storage.prefix}/runs`;
  return [
    allow('ReadRuns', ['s3:GetObject'], [stateBucket.arnForObjects(`${runs}/*`)]),
    allow('ListRuns', ['s3:ListBucket'], [stateBucket.bucketArn]),
    allow(
      'WriteRuns',
      ['s3:PutObject'],
      writes.map((object) => stateBucket.arnForObjects(`${runs}/*/${object}.json`)),
    ),
  ];
}

function planRights({ config, stateBucket }: Surroundings): PolicyStatement[] {
  const plans = stateBucket.arnForObjects(`${config.storage.prefix}/plans/*`);
  return [allow('KeepPlans', ['s3:GetObject', 's3:PutObject'], [plans])];
}

/** Which backups there are, from their names and manifests; never their contents. */
function catalogRights({ config, bucket }: Surroundings): PolicyStatement[] {
  const { prefix } = config.storage;
  return [
    allow('ListBackups', ['s3:ListBucket'], [bucket.bucketArn], {
      StringLike: { 's3:prefix': [prefix, `${prefix}/*`] },
    }),
    allow(
      'ReadManifests',
      ['s3:GetObject'],
      [`${prefix}/*.manifest.json`, `${prefix}/*/manifest.json`].map((key) => bucket.arnForObjects(key)),
    ),
  ];
}

function taggingRights({ config, bucket }: Surroundings): PolicyStatement[] {
  const backups = [bucket.arnForObjects(`${config.storage.prefix}/*`)];
  return [allow('TagExpirable', ['s3:GetObjectTagging', 's3:PutObjectTagging'], backups)];
}

/** How far WAL reaches is told by its objects' metadata, which S3 hands out to whoever may read them. */
function measureRights(surroundings: Surroundings): PolicyStatement[] {
  const { config, bucket } = surroundings;
  const wal = bucket.arnForObjects(`${config.storage.prefix}/*/wal/*`);
  return [allow('MeasureWal', ['s3:GetObject'], [wal, ...walStateObjects(surroundings)])];
}

/** What the journal held is complete in the backup bucket by the time it is removed, and its versions stay for a week. */
function removalRights(surroundings: Surroundings): PolicyStatement[] {
  return [allow('RemoveSupersededWal', ['s3:DeleteObject'], walStateObjects(surroundings))];
}

/** Pieces of open segments, and records of holes. */
function walStateObjects({ config, stateBucket }: Surroundings): string[] {
  return walStateFolders(config).map((folder) => stateBucket.arnForObjects(`${folder}/*`));
}

function tellingRights(surroundings: Surroundings): PolicyStatement[] {
  return [...stateRights(surroundings, ['report', 'reported']), ...publishRights(surroundings)];
}

function publishRights({ topic, messageKey }: Surroundings): PolicyStatement[] {
  return [
    allow('Tell', ['sns:Publish'], [topic.topicArn]),
    allow('EncryptMessages', ['kms:Decrypt', 'kms:GenerateDataKey'], [messageKey.keyArn]),
  ];
}

function slackRights(scope: Construct, { config, messageKey }: Surroundings): PolicyStatement[] {
  const { slackParameter } = config.notifications;
  if (slackParameter === undefined) return [];
  const arn = parameterArn(scope, slackParameter);
  return [
    allow('ReadWebhook', ['ssm:GetParameter'], [arn]),
    // The context is the parameter's ARN: the same key's messages stay closed to this function.
    allow('DecryptWebhook', ['kms:Decrypt'], [messageKey.keyArn], {
      StringEquals: { 'kms:EncryptionContext:PARAMETER_ARN': arn },
    }),
  ];
}

function storageKeyRights({ config }: Surroundings): PolicyStatement[] {
  const { kmsKeyArn } = config.storage;
  return kmsKeyArn === undefined
    ? []
    : [allow('UseStorageKey', ['kms:Decrypt', 'kms:GenerateDataKey'], [kmsKeyArn])];
}
