import { AwsSolutionsChecks } from 'cdk-nag';
import type { App } from 'aws-cdk-lib/core';

/**
 * Everything that cdk-nag's AwsSolutions rules find, acknowledged or not: one acknowledgement counts for all of a construct's
 * resources with a wildcard, and a new one must not slip in beneath it.
 * @returns `AwsSolutions-IAM5[Resource::*] LifeboatOperations/Functions/Watch/Role/Resource`, sorted
 */
export function findingsOf(app: App): string[] {
  const { violations } = new AwsSolutionsChecks(app).validateScope(app);
  return violations
    .flatMap(({ ruleName, violatingResources }) =>
      violatingResources.map(({ constructPath }) => `${ruleName} ${constructPath}`),
    )
    .toSorted();
}
