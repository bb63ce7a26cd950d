import type { AccessControl } from '../access/access-control.ts';
import type { AssetFile } from '../cloudformation/assembly.ts';
import type { Account, DeployedResource } from '../cloudformation/deployed-stacks.ts';
import type { LocalS3 } from '../s3/server.ts';
import type { LocalAwsOptions } from './options.ts';
import type { Principals } from './principals.ts';

/** What everything else is built on. */
export interface Ground {
  readonly options: LocalAwsOptions;
  readonly account: Account;
  readonly resources: readonly DeployedResource[];
  readonly principals: Principals;
  readonly access: AccessControl;
  readonly s3: LocalS3;
  readonly files: readonly AssetFile[];
}

export const arnIn =
  ({ accountId, region }: Account) =>
  (service: string, resource: string): string =>
    `arn:aws:${service}:${region}:${accountId}:${resource}`;
