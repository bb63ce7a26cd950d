import type { DeployedResource } from '../cloudformation/deployed-stacks.ts';
import { evaluateAccess } from '../iam/evaluate.ts';
import { parsePolicy, type Policy } from '../iam/policy.ts';
import type { Decide } from './access-control.ts';
import { awsManagedPolicy } from './aws-managed-policies.ts';

interface PolicySet {
  /** By the role's ARN. */
  readonly identity: ReadonlyMap<string, readonly Policy[]>;
  /** By the ARN of the bucket, topic, queue, key or function. */
  readonly resource: ReadonlyMap<string, Policy>;
}

/**
 * Decides by the policies of the templates.
 * @param foreignRoles ARNs of roles that are attached to by name and are made by somebody else
 */
export function decideBySynthesizedPolicies(
  resources: readonly DeployedResource[],
  foreignRoles: readonly string[],
): Decide {
  const policies: PolicySet = {
    identity: identityPolicies(resources, foreignRoles),
    resource: resourcePolicies(resources),
  };
  return ({ caller, action, resource, conditions }) => {
    const attached = 'roleArn' in caller ? (policies.identity.get(caller.roleArn) ?? []) : [];
    const own = policies.resource.get(policyHolder(resource));
    const { outcome, by } = evaluateAccess(
      { caller, action, resource, context: conditions },
      {
        identity: attached,
        ...(own && { resource: own }),
        resourceDecidesAlone: own !== undefined && resource.includes(':kms:'),
      },
    );
    const reason = by
      ? `${by.policy}${by.statement.Sid === undefined ? '' : `/${by.statement.Sid}`} says ${by.statement.Effect}`
      : 'no policy allows it';
    return { allowed: outcome === 'allowed', reason };
  };
}

/** A bucket's policy speaks for its objects. */
function policyHolder(resource: string): string {
  return resource.startsWith('arn:aws:s3:::') ? (resource.split('/')[0] ?? resource) : resource;
}

function identityPolicies(
  resources: readonly DeployedResource[],
  foreignRoles: readonly string[],
): Map<string, Policy[]> {
  const found = new Map<string, Policy[]>(foreignRoles.map((arn) => [arn, []]));
  const roles = resources.filter(({ type }) => type === 'AWS::IAM::Role');
  const arnOf = (name: string): string | undefined =>
    roles.find(({ ref }) => ref === name)?.arn ?? foreignRoles.find((arn) => arn.endsWith(`/${name}`));
  for (const role of roles) {
    const inline = asList(role.properties['Policies']) as { PolicyName: string; PolicyDocument: unknown }[];
    const managed = asList(role.properties['ManagedPolicyArns']).map(String);
    found.set(role.arn, [
      ...inline.map(({ PolicyName, PolicyDocument }) => parsePolicy(PolicyName, PolicyDocument)),
      ...managed.filter((arn) => arn.startsWith('arn:aws:iam::aws:')).map((arn) => awsManagedPolicy(arn)),
    ]);
  }
  for (const { type, logicalId, properties, arn } of resources) {
    if (type !== 'AWS::IAM::Policy' && type !== 'AWS::IAM::ManagedPolicy') continue;
    const policy = parsePolicy(logicalId, properties['PolicyDocument']);
    const attachedBy = roles.filter((role) => asList(role.properties['ManagedPolicyArns']).includes(arn));
    const named = asList(properties['Roles']).map((name) => arnOf(String(name)));
    for (const roleArn of new Set([...named, ...attachedBy.map((role) => role.arn)])) {
      if (roleArn === undefined) throw new Error(`${logicalId} is attached to a role that is not there`);
      found.set(roleArn, [...(found.get(roleArn) ?? []), policy]);
    }
  }
  return found;
}

function resourcePolicies(resources: readonly DeployedResource[]): Map<string, Policy> {
  const found = new Map<string, Policy>();
  const add = (holder: string, policy: Policy): void => {
    const before = found.get(holder);
    found.set(
      holder,
      before ? { ...before, statements: [...before.statements, ...policy.statements] } : policy,
    );
  };
  for (const { type, logicalId, properties, arn } of resources) {
    const document = (): Policy => parsePolicy(logicalId, properties['PolicyDocument']);
    if (type === 'AWS::S3::BucketPolicy') add(`arn:aws:s3:::${String(properties['Bucket'])}`, document());
    if (type === 'AWS::SNS::TopicPolicy')
      for (const topic of asList(properties['Topics'])) add(String(topic), document());
    if (type === 'AWS::SQS::QueuePolicy')
      for (const url of asList(properties['Queues'])) add(queueArn(resources, String(url)), document());
    if (type === 'AWS::KMS::Key') add(arn, parsePolicy(logicalId, properties['KeyPolicy']));
    if (type === 'AWS::Lambda::Permission') add(...permission(resources, logicalId, properties));
  }
  return found;
}

function permission(
  resources: readonly DeployedResource[],
  logicalId: string,
  { FunctionName, Principal, Action, SourceArn, SourceAccount }: Readonly<Record<string, unknown>>,
): [holder: string, policy: Policy] {
  const name = String(FunctionName);
  const arn =
    resources.find(({ type, ref }) => type === 'AWS::Lambda::Function' && ref === name)?.arn ?? name;
  return [
    arn,
    parsePolicy(logicalId, {
      Version: '2012-10-17',
      Statement: {
        Effect: 'Allow',
        Principal: { Service: Principal },
        Action,
        Resource: arn,
        Condition: {
          ...(SourceArn !== undefined && { ArnLike: { 'aws:SourceArn': SourceArn } }),
          ...(SourceAccount !== undefined && { StringEquals: { 'aws:SourceAccount': SourceAccount } }),
        },
      },
    }),
  ];
}

function queueArn(resources: readonly DeployedResource[], url: string): string {
  return resources.find(({ type, ref }) => type === 'AWS::SQS::Queue' && ref === url)?.arn ?? url;
}

const asList = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
