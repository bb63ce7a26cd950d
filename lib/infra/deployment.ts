import { Validations, type App, type Environment } from 'aws-cdk-lib/core';
import { AwsSolutionsChecks } from 'cdk-nag';
import type { DeploymentConfig } from '../domain/deployment/config.ts';
import { ReplicaStack } from './storage/replica-stack.ts';
import { StorageStack } from './storage/storage-stack.ts';

export interface Deployment {
  readonly storage: StorageStack;
  /** With `storage.drRegion` only. */
  readonly replica: ReplicaStack | undefined;
}

/**
 * All stacks of one configuration, checked by cdk-nag at synth.
 * @param env without account and region the templates fit any
 * @throws LifeboatError SETTINGS_INVALID for what contradicts the account or region
 */
export function addStacks(app: App, config: DeploymentConfig, env: Environment): Deployment {
  const { name, storage: settings } = config;
  const replica =
    settings.drRegion === undefined
      ? undefined
      : new ReplicaStack(app, `${name}Dr`, {
          config,
          description: `${name}: the backups’ copy in a second region`,
          env: { ...env, region: settings.drRegion },
        });
  const storage = new StorageStack(app, `${name}Storage`, {
    config,
    description: `${name}: where the database backups lie`,
    env,
  });
  // S3 refuses a replication rule whose other bucket is not there yet.
  if (replica)
    storage.addStackDependency(replica, 'the replica bucket must exist before anything is copied to it');
  Validations.of(app).addPlugins(new AwsSolutionsChecks(app));
  return { storage, replica };
}
