import { Validations, type App, type Environment } from 'aws-cdk-lib/core';
import type { DeploymentConfig } from '../domain/deployment/config.ts';
import type { OperationsAssets } from './operations/built-assets.ts';
import { OperationsStack } from './operations/operations-stack.ts';
import { SecurityChecks } from './security-checks.ts';
import { ReplicaStack } from './storage/replica-stack.ts';
import { StorageStack } from './storage/storage-stack.ts';

export interface StorageStacks {
  readonly storage: StorageStack;
  /** With `storage.drRegion` only. */
  readonly replica: ReplicaStack | undefined;
}

export interface Deployment extends StorageStacks {
  readonly operations: OperationsStack;
}

/**
 * All stacks of one configuration, checked by cdk-nag at synth.
 * @param env without account and region the templates fit any
 * @param assets what the operations stack delivers; left out: what `npm run build` made
 * @throws LifeboatError SETTINGS_INVALID for what contradicts the account or region, or was not built
 */
export function addStacks(
  app: App,
  config: DeploymentConfig,
  env: Environment,
  assets?: OperationsAssets,
): Deployment {
  const stacks = addStorageStacks(app, config, env);
  const { bucket, stateBucket } = stacks.storage;
  const operations = new OperationsStack(app, `${config.name}Operations`, {
    config,
    description: `${config.name}: starts, watches and tells of database backups`,
    env,
    bucket,
    stateBucket,
    ...(assets === undefined ? {} : { assets }),
  });
  // A weak reference is read when the stack is deployed: what it names has to be there.
  operations.addStackDependency(stacks.storage);
  Validations.of(app).addPlugins(new SecurityChecks(app));
  return { ...stacks, operations };
}

/** The stateful half, which needs nothing built. */
export function addStorageStacks(app: App, config: DeploymentConfig, env: Environment): StorageStacks {
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
  if (replica) storage.addStackDependency(replica, 'the replica bucket must exist before it is copied to');
  return { storage, replica };
}
