import { decideBySynthesizedPolicies } from '../../../scripts/local-aws/access/synthesized-policies.ts';
import { readAssembly } from '../../../scripts/local-aws/cloudformation/assembly.ts';
import {
  deployStacks,
  type DeployedResource,
} from '../../../scripts/local-aws/cloudformation/deployed-stacks.ts';
import type { ContextKeys } from '../../../scripts/local-aws/iam/conditions.ts';
import { evaluateAccess, type Caller } from '../../../scripts/local-aws/iam/evaluate.ts';
import { parsePolicy } from '../../../scripts/local-aws/iam/policy.ts';
import { ACCOUNT, REGION, synthesize, synthesizeStorage } from '../synthesize.ts';

/** One action on one resource, as IAM sees a call. */
export interface Call {
  readonly action: string;
  readonly resource: string;
  readonly context?: ContextKeys;
}

/** Who may do what, by the policies of the synthesized templates. */
export interface Authority {
  readonly resources: readonly DeployedResource[];
  /** @returns `allowed`, or why not */
  ask(caller: Caller, call: Call): string;
  /** The same for a role that also has AdministratorAccess: what the bucket's policy alone stops. */
  askAsAdministrator(caller: Caller, call: Call): string;
  /** The one resource of that type whose logical id begins so. */
  find(type: string, logicalId: string): DeployedResource;
  role(logicalId: string): Caller;
}

/** TLS, as every call has it. */
const ALWAYS: ContextKeys = { 'aws:SecureTransport': 'true', 's3:TlsVersion': '1.3' };

const ADMINISTRATOR = parsePolicy('AdministratorAccess', {
  Version: '2012-10-17',
  Statement: { Effect: 'Allow', Action: '*', Resource: '*' },
});

/** @param foreignRole the ARN of `hostRoleName`'s role */
export function readAuthority(settings: Record<string, unknown> = {}, foreignRole?: string): Authority {
  return authorityOf(synthesize(settings).assembly.directory, REGION, foreignRole);
}

/** Of the storage stacks alone, in one of the regions. */
export function readStorageAuthority(settings: Record<string, unknown>, region = REGION): Authority {
  return authorityOf(synthesizeStorage(settings).assembly.directory, region);
}

function authorityOf(folder: string, region: string, foreignRole?: string): Authority {
  const resources = deployStacks(readAssembly(folder), { accountId: ACCOUNT, region });
  const decide = decideBySynthesizedPolicies(resources, foreignRole === undefined ? [] : [foreignRole]);
  const find = (type: string, logicalId: string): DeployedResource => {
    const [found, ...others] = resources.filter(
      (each) => each.type === type && each.logicalId.startsWith(logicalId),
    );
    if (!found || others.length > 0)
      throw new Error(`${found ? 'several' : 'no'} ${type} whose logical id begins with ${logicalId}`);
    return found;
  };
  return {
    resources,
    find,
    role: (logicalId) => ({ roleArn: find('AWS::IAM::Role', logicalId).arn }),
    ask: (caller, { action, resource, context = {} }) => {
      const { allowed, reason } = decide({ caller, action, resource, conditions: { ...ALWAYS, ...context } });
      return allowed ? 'allowed' : reason;
    },
    askAsAdministrator: (caller, { action, resource, context = {} }) => {
      const bucket = resource.replace('arn:aws:s3:::', '').split('/')[0];
      const policy = resources.find(
        ({ type, properties }) => type === 'AWS::S3::BucketPolicy' && properties['Bucket'] === bucket,
      );
      const { outcome } = evaluateAccess(
        { caller, action, resource, context: { ...ALWAYS, ...context } },
        {
          identity: [ADMINISTRATOR],
          ...(policy && { resource: parsePolicy(policy.logicalId, policy.properties['PolicyDocument']) }),
        },
      );
      return outcome;
    },
  };
}

/** S3's requests as the agent and the Lambdas send them, on one bucket; keys are whole. */
export function s3Calls({ arn }: { readonly arn: string }) {
  const on = (action: string, key: string, context: ContextKeys = {}): Call => ({
    action: `s3:${action}`,
    resource: key === '' ? arn : `${arn}/${key}`,
    context,
  });
  const once = { 's3:if-none-match': '*', 's3:ObjectCreationOperation': 'true' };
  return {
    on,
    /** PutObject and CompleteMultipartUpload, with `If-None-Match: *`. */
    put: (key: string) => on('PutObject', key, once),
    overwrite: (key: string) => on('PutObject', key, { 's3:ObjectCreationOperation': 'true' }),
    /** CreateMultipartUpload and UploadPart, which cannot carry the header. */
    part: (key: string) => on('PutObject', key, { 's3:ObjectCreationOperation': 'false' }),
    get: (key: string) => on('GetObject', key),
    list: (prefix: string) => on('ListBucket', '', { 's3:prefix': prefix }),
    /** What S3 looks at before it admits that an object is not there: a read carries no prefix. */
    learnOfAbsence: () => on('ListBucket', ''),
  };
}
