import { Annotations } from 'aws-cdk-lib/core';
import type { Construct } from 'constructs';
import type { DeploymentConfig } from '../../domain/deployment/config.ts';
import { OBJECT_TAG } from '../../domain/names.ts';

const EXISTING_BUCKET_PAGE = 'docs/existing-bucket.md';

/** Printed at synth: what an existing bucket needs, which no stack can set on a bucket that is not its own. */
export function sayWhatItNeeds(scope: Construct, { storage }: DeploymentConfig): void {
  const { bucketName, objectLock, lockDays, transitionDays, expirationDays, noncurrentDays, prefix } =
    storage;
  const lock =
    objectLock === 'off'
      ? []
      : [`Object Lock with a default retention of ${lockDays} days, ${objectLock.toUpperCase()} mode`];
  const needs = [
    'versioning',
    'Block Public Access, all four settings',
    ...lock,
    storage.kmsKeyArn === undefined ? 'default encryption' : `default encryption with ${storage.kmsKeyArn}`,
    `lifecycle rules under ${prefix}/: to STANDARD_IA at ${transitionDays} days, expiry at ${expirationDays} days of what is tagged ${OBJECT_TAG.expirable.key}=${OBJECT_TAG.expirable.value}, non-current versions after ${noncurrentDays} days, unfinished uploads after 3`,
    'a policy that refuses plain http, and every delete, overwrite, tag and setting to the host’s role',
  ];
  Annotations.of(scope).addWarningV2(
    'lifeboat:existing-bucket',
    `The bucket ${bucketName} exists already, so this stack cannot set it up. It needs:\n${needs
      .map((need) => `- ${need}`)
      .join('\n')}\n${EXISTING_BUCKET_PAGE} has each as a command.`,
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
