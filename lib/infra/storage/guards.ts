import { AnyPrincipal, Effect, PolicyStatement, type PolicyStatementProps } from 'aws-cdk-lib/aws-iam';
import type { Construct } from 'constructs';
import type { DeploymentConfig } from '../../domain/deployment/config.ts';
import { functionRoleArns, hostRoleArns } from './principals.ts';
import { walStateFolders } from './wal-state.ts';

/**
 * What the buckets' policies deny. They say it to whoever asks, so that a role that was given too much elsewhere (an
 * existing host role with S3FullAccess) still can only add.
 */

/** Everything that the host may ever ask of a bucket of ours; what is not here it may not, new actions of S3's included. */
const HOST_ACTIONS = [
  's3:AbortMultipartUpload',
  's3:GetObject',
  's3:ListBucket',
  's3:ListBucketMultipartUploads',
  's3:ListMultipartUploadParts',
  's3:PutObject',
];

interface Guarded {
  readonly bucketArn: string;
}

/** No delete, no overwrite, no tag, ACL, lock or setting by the host, and nothing outside of the deployment's prefix. */
export function backupGuards(
  scope: Construct,
  config: DeploymentConfig,
  { bucketArn }: Guarded,
): PolicyStatement[] {
  const own = `${bucketArn}/${config.storage.prefix}/*`;
  return [...hostGuards(scope, config, { bucketArn, readable: [own], writable: [own] }), writeOnce(own)];
}

/** Who writes what about a run; the same for everybody, so that not even an administrator forges a request by mistake. */
export function stateGuards(
  scope: Construct,
  config: DeploymentConfig,
  { bucketArn }: Guarded,
): PolicyStatement[] {
  const folder = `${bucketArn}/${config.storage.prefix}`;
  const host = hostRoleArns(scope, config);
  const stream = walStateFolders(config).map((each) => `${bucketArn}/${each}/*`);
  const hosts = [`${folder}/runs/*/result.json`, `${folder}/drills/*`, ...stream];
  const starters = functionRoleArns(scope, config, 'start-run', 'restore');
  const reporters = functionRoleArns(scope, config, 'report-run', 'watch');
  const writers: [sid: string, keys: string[], roles: string[]][] = [
    ['OnlyTheHostWritesResults', hosts, host],
    ['OnlyLambdasAskForRuns', [`${folder}/runs/*/request.json`, `${folder}/runs/*/command.json`], starters],
    ['OnlyLambdasReport', [`${folder}/runs/*/report.json`, `${folder}/runs/*/reported.json`], reporters],
    ['OnlyTheRestorePlans', [`${folder}/plans/*`], functionRoleArns(scope, config, 'restore')],
  ];
  return [
    // Not the requests: a host that knew another's nonce could write that one's result.
    ...hostGuards(scope, config, {
      bucketArn,
      readable: [`${folder}/runs/*/result.json`, ...stream],
      writable: hosts,
    }),
    ...writers.map(([sid, resources, roles]) =>
      deny(sid, {
        actions: ['s3:PutObject'],
        resources,
        conditions: { ArnNotLike: { 'aws:PrincipalArn': roles } },
      }),
    ),
    deny('NothingElseIsWritten', {
      actions: ['s3:PutObject'],
      notResources: writers.flatMap(([, keys]) => keys),
    }),
    writeOnce(`${folder}/*`),
  ];
}

/** The copy in the second region is S3's own to write; the host has no business there. */
export function replicaGuards(
  scope: Construct,
  config: DeploymentConfig,
  { bucketArn }: Guarded,
): PolicyStatement[] {
  return [
    deny('HostStaysAway', {
      actions: ['s3:*'],
      resources: [bucketArn, `${bucketArn}/*`],
      conditions: { ArnLike: { 'aws:PrincipalArn': hostRoleArns(scope, config) } },
    }),
  ];
}

interface HostReach extends Guarded {
  readonly readable: string[];
  readonly writable: string[];
}

function hostGuards(
  scope: Construct,
  config: DeploymentConfig,
  { bucketArn, readable, writable }: HostReach,
): PolicyStatement[] {
  const conditions = { ArnLike: { 'aws:PrincipalArn': hostRoleArns(scope, config) } };
  return [
    deny('HostOnlyAdds', {
      notActions: HOST_ACTIONS,
      resources: [bucketArn, `${bucketArn}/*`],
      conditions,
    }),
    deny('HostReadsItsOwn', { actions: ['s3:GetObject'], notResources: readable, conditions }),
    deny('HostWritesItsOwn', { actions: ['s3:PutObject'], notResources: writable, conditions }),
  ];
}

/**
 * Nothing is replaced: a write must say `If-None-Match`. The parts of an upload cannot say it; completing it can, and is
 * the operation that creates the object.
 * https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes-enforce.html
 */
function writeOnce(resource: string): PolicyStatement {
  return deny('WriteOnce', {
    actions: ['s3:PutObject'],
    resources: [resource],
    conditions: { Null: { 's3:if-none-match': 'true' }, Bool: { 's3:ObjectCreationOperation': 'true' } },
  });
}

function deny(sid: string, props: PolicyStatementProps): PolicyStatement {
  return new PolicyStatement({ sid, effect: Effect.DENY, principals: [new AnyPrincipal()], ...props });
}
