import { Validations } from 'aws-cdk-lib/core';
import { AwsSolutionsChecks } from 'cdk-nag';
import type { IConstruct } from 'constructs';

type Report = ReturnType<AwsSolutionsChecks['validateScope']>;

/** `AwsSolutions-IAM5[Resource::<Backups.Arn>/database/*]`, `AwsSolutions-IAM4[Policy::arn:…]` */
const FINDING = /^([\w-]+)\[(?:Resource|Policy)::/;

/**
 * cdk-nag's AwsSolutions rules. It wants every resource with a wildcard acknowledged by its full text, which for a resource
 * of another stack is only known once everything is synthesized. Here a reason given for the rule, on the construct that
 * has the wildcard, counts for its resources and managed policies. A wildcard in an action still needs its own.
 */
export class SecurityChecks extends AwsSolutionsChecks {
  override validateScope(scope: IConstruct): Report {
    const report = super.validateScope(scope);
    const violations = report.violations
      .map((violation) => {
        const [, rule] = FINDING.exec(violation.ruleName) ?? [];
        const violatingResources = violation.violatingResources.filter(
          ({ constructPath }) =>
            rule === undefined || constructPath === undefined || !isAcknowledged(scope, constructPath, rule),
        );
        return { ...violation, violatingResources };
      })
      .filter(({ violatingResources }) => violatingResources.length > 0);
    return { ...report, success: violations.length === 0, violations };
  }
}

/** On the construct itself or on what it is a part of. */
function isAcknowledged(scope: IConstruct, path: string, rule: string): boolean {
  const ids = scope.node.root.node
    .findAll()
    .filter(({ node }) => node.path !== '' && (path === node.path || path.startsWith(`${node.path}/`)))
    .flatMap(({ node }) => node.metadata)
    .filter(({ type }) => type === Validations.ACKNOWLEDGED_RULES_METADATA_KEY)
    .flatMap(({ data }) => Object.keys(data as object));
  return ids.some((id) => id === rule || id.endsWith(`::${rule}`));
}
