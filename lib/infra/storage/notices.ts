import { Annotations } from 'aws-cdk-lib/core';
import type { Construct } from 'constructs';
import { bucketNeeds } from '../../domain/deployment/bucket-needs.ts';
import type { DeploymentConfig } from '../../domain/deployment/config.ts';

const EXISTING_BUCKET_PAGE = 'docs/existing-bucket.md';

/** Printed at synth: what an existing bucket needs, which no stack can set on a bucket that is not its own. */
export function sayWhatItNeeds(scope: Construct, { storage }: DeploymentConfig): void {
  const needs = bucketNeeds(storage).map(({ text }) => `- ${text}`);
  Annotations.of(scope).addWarningV2(
    'lifeboat:existing-bucket',
    `The bucket ${storage.bucketName} exists already, so this stack cannot set it up. It needs:\n${needs.join('\n')}\n` +
      `${EXISTING_BUCKET_PAGE} has each as a command; npm run check-bucket says which it lacks.`,
  );
}

/** Printed at synth: settings that nobody can take back. */
export function sayWhatIsFinal(scope: Construct, { storage }: DeploymentConfig): void {
  if (storage.objectLock !== 'compliance') return;
  Annotations.of(scope).addWarningV2(
    'lifeboat:compliance-lock',
    `storage.objectLock is "compliance": for ${storage.lockDays} days nobody can delete a backup, not even the account’s root user. "governance" leaves that to whoever has s3:BypassGovernanceRetention.`,
  );
}
