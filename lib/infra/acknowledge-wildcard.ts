import { Stack, Validations } from 'aws-cdk-lib/core';
import { flattenCfnReference } from 'cdk-nag/lib/utils/flatten-cfn-reference.js';
import type { Construct } from 'constructs';

/**
 * cdk-nag wants a reason for every single resource with a wildcard in an Allow, named as it prints it; a reason for the
 * rule as a whole counts for none of them.
 * @param scope the role or policy. @param resource the very ARN of the statement, tokens and all
 */
export function acknowledgeWildcard(scope: Construct, resource: string, reason: string): void {
  const flat = flattenCfnReference(Stack.of(scope).resolve(resource));
  Validations.of(scope).acknowledge({ id: `AwsSolutions-IAM5[Resource::${flat}]`, reason });
}
