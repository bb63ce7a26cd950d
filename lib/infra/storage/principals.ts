import { Stack } from 'aws-cdk-lib/core';
import type { Construct } from 'constructs';
import type { DeploymentConfig } from '../../domain/deployment/config.ts';

/** The Lambda functions, by the names of their folders under lambda/. */
export type FunctionName = 'start-run' | 'restore' | 'report-run' | 'watch' | 'slack';

/**
 * Bucket policies must know roles that another stack makes, and go on knowing them when a role is made anew: a policy
 * that names a role's ARN as its principal keeps the id of the role that was, and matches no longer. So every role of a
 * deployment gets an IAM path that says what it is, and policies match `aws:PrincipalArn` by path: no reference between
 * the stacks, no cycle, and the roles' names are left to CloudFormation.
 * @returns for `path` of the function's role
 */
export function functionRolePath({ name }: DeploymentConfig, functionName: FunctionName): string {
  return `/lifeboat/${name}/${functionName}/`;
}

/** For `path` of the host's role, where one is made. */
export function hostRolePath({ name }: DeploymentConfig): string {
  return `/lifeboat/${name}/host/`;
}

/** What `aws:PrincipalArn` of a function looks like, for ArnLike. */
export function functionRoleArns(
  scope: Construct,
  config: DeploymentConfig,
  ...names: readonly FunctionName[]
): string[] {
  return names.map((name) => roleArn(scope, `${functionRolePath(config, name)}*`));
}

/** What `aws:PrincipalArn` of the host looks like; the path of a role that we did not make is not known. */
export function hostRoleArns(scope: Construct, config: DeploymentConfig): string[] {
  const { hostRoleName } = config;
  return hostRoleName === undefined
    ? [roleArn(scope, `${hostRolePath(config)}*`)]
    : [roleArn(scope, `/${hostRoleName}`), roleArn(scope, `/*/${hostRoleName}`)];
}

function roleArn(scope: Construct, pathAndName: string): string {
  const { partition, account } = Stack.of(scope);
  return `arn:${partition}:iam::${account}:role${pathAndName}`;
}
