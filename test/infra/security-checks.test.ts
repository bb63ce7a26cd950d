import { PolicyStatement, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { App, Stack, Validations } from 'aws-cdk-lib/core';
import 'aws-cdk-lib/testhelpers/jest-autoclean';
import { SecurityChecks } from '../../lib/infra/security-checks.ts';

/** What the checks find in a role with one statement. */
function findings(actions: string[], resource: string, acknowledged: string[]): string[] {
  const app = new App();
  const role = new Role(new Stack(app, 'Stack'), 'Role', {
    assumedBy: new ServicePrincipal('ec2.amazonaws.com'),
  });
  role.addToPolicy(new PolicyStatement({ actions, resources: [resource] }));
  for (const id of acknowledged) Validations.of(role).acknowledge({ id, reason: 'for the test' });
  const neighbour = new Role(Stack.of(role), 'Roles', {
    assumedBy: new ServicePrincipal('ec2.amazonaws.com'),
  });
  Validations.of(neighbour).acknowledge({ id: 'AwsSolutions-IAM5', reason: 'for another role' });
  const { success, violations } = new SecurityChecks(app).validateScope(app);
  expect(success).toBe(violations.length === 0);
  return violations.map(({ ruleName }) => ruleName);
}

const BUCKET = 'arn:aws:s3:::bucket';

describe('The security checks', () => {
  it('find a resource with a wildcard that nobody gave a reason for', () => {
    expect(findings(['s3:GetObject'], `${BUCKET}/*`, [])).toEqual([
      `AwsSolutions-IAM5[Resource::${BUCKET}/*]`,
    ]);
    expect(findings(['s3:GetObject'], `${BUCKET}/*`, ['AwsSolutions-IAM4'])).toHaveLength(1);
  });

  it('take one reason for the rule as enough for the construct’s resources', () => {
    expect(findings(['s3:GetObject'], `${BUCKET}/*`, ['AwsSolutions-IAM5'])).toEqual([]);
  });

  it('want a reason of its own for every action with a wildcard', () => {
    expect(findings(['s3:*'], BUCKET, ['AwsSolutions-IAM5'])).toEqual(['AwsSolutions-IAM5[Action::s3:*]']);
    expect(findings(['s3:*'], BUCKET, ['AwsSolutions-IAM5[Action::s3:*]'])).toEqual([]);
  });
});
