import { Validations } from 'aws-cdk-lib/core';
import { Effect, PolicyStatement, type PolicyStatementProps } from 'aws-cdk-lib/aws-iam';
import type { IConstruct } from 'constructs';

/** A statement of our own instead of a `grant…()`: those give more than their name says (retention, whole buckets). */
export function allow(
  sid: string,
  actions: string[],
  resources: string[],
  conditions?: Record<string, Record<string, string | string[]>>,
): PolicyStatement {
  return new PolicyStatement({ sid, actions, resources, ...(conditions && { conditions }) });
}

export function deny(sid: string, props: PolicyStatementProps): PolicyStatement {
  return new PolicyStatement({ sid, effect: Effect.DENY, ...props });
}

/** Tells cdk-nag why a finding is meant to be so; each of IAM5's is acknowledged by its exact text or by the rule's name. */
export function acknowledge(construct: IConstruct, reasons: Readonly<Record<string, string>>): void {
  for (const [id, reason] of Object.entries(reasons)) Validations.of(construct).acknowledge({ id, reason });
}
