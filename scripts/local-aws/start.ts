import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { AccessControl } from './access/access-control.ts';
import { authorizeS3 } from './access/s3-access.ts';
import { decideBySynthesizedPolicies } from './access/synthesized-policies.ts';
import { readAssembly } from './cloudformation/assembly.ts';
import { deployStacks, type Account, type DeployedResource } from './cloudformation/deployed-stacks.ts';
import { keysOfBuckets, makeBuckets, publishAssets } from './deployment/buckets.ts';
import { deploy } from './deployment/deploy.ts';
import type { LocalAwsOptions } from './deployment/options.ts';
import { makePrincipals, type Principals } from './deployment/principals.ts';
import { LocalAws } from './local-aws.ts';
import { startLocalS3, type LocalS3 } from './s3/server.ts';

const DEFAULT_ACCOUNT: Account = { accountId: '111122223333', region: 'eu-west-1' };

/** Deploys the synthesized stacks on this machine: what is in the templates is there, nothing else is. */
export async function startLocalAws(options: LocalAwsOptions): Promise<LocalAws> {
  const account = options.account ?? DEFAULT_ACCOUNT;
  const assembly = readAssembly(options.cdkOut);
  const resources = deployStacks(assembly, account);
  const principals = makePrincipals(resources, account);
  const { operator, roles } = principals;
  const decide = decideBySynthesizedPolicies(
    resources,
    roles.map(({ arn }) => arn),
  );
  const access = new AccessControl(roles, operator, decide);
  const s3 = await startS3(options, account, { access, principals, resources });
  await makeBuckets(s3, resources);
  await publishAssets(s3, assembly.files, account);
  const deployment = await deploy({
    options,
    account,
    resources,
    principals,
    access,
    s3,
    files: assembly.files,
  });
  return new LocalAws(deployment);
}

async function startS3(
  { folder, clockOfS3 = Date.now }: LocalAwsOptions,
  { region }: Account,
  {
    access,
    principals,
    resources,
  }: { access: AccessControl; principals: Principals; resources: readonly DeployedResource[] },
): Promise<LocalS3> {
  const keys = keysOfBuckets(resources);
  const s3Folder = path.join(folder, 's3');
  mkdirSync(s3Folder, { recursive: true });
  return await startLocalS3({
    folder: s3Folder,
    region,
    now: clockOfS3,
    etags: 'random',
    credentials: [principals.operator, ...principals.roles].map(({ credentials }) => credentials),
    authorize: authorizeS3(access, (bucket) => keys.get(bucket), region),
  });
}
