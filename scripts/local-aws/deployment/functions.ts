import { z } from 'zod';
import type { Principal } from '../access/principal.ts';
import type { AssetFile } from '../cloudformation/assembly.ts';
import type { DeployedResource } from '../cloudformation/deployed-stacks.ts';
import { LambdaFunction, type AsyncSettings, type FunctionSurroundings } from '../lambda/lambda-function.ts';
import type { Queue } from '../sqs/queue.ts';
import { codeFolder } from './buckets.ts';

const functionSchema = z.object({
  Handler: z.string(),
  Runtime: z.literal('nodejs24.x'),
  Role: z.string(),
  Code: z.object({ S3Key: z.string() }),
  Timeout: z.number().default(3),
  MemorySize: z.number().default(128),
  Environment: z.object({ Variables: z.record(z.string(), z.string()) }).optional(),
  LoggingConfig: z
    .object({ LogGroup: z.string().optional(), LogFormat: z.enum(['Text', 'JSON']).optional() })
    .optional(),
});

const invokeConfigSchema = z.object({
  FunctionName: z.string(),
  MaximumRetryAttempts: z.number().default(2),
  DestinationConfig: z.object({ OnFailure: z.object({ Destination: z.string() }).optional() }).optional(),
});

export interface FunctionGround {
  readonly files: readonly AssetFile[];
  readonly folder: string;
  readonly region: string;
  readonly principalOf: (roleArn: string) => Principal;
  /** `AWS_ENDPOINT_URL` and the like, and what a test adds to a function’s own variables. */
  readonly environment: Readonly<Record<string, string>>;
  readonly queues: readonly Queue[];
  readonly connect: (principal: Principal, logGroup: string) => FunctionSurroundings;
}

/** The templates’ functions, from their assets, each with the keys of its role. */
export async function makeFunctions(
  resources: readonly DeployedResource[],
  surroundings: FunctionGround,
): Promise<LambdaFunction[]> {
  const made: LambdaFunction[] = [];
  for (const resource of resources) {
    if (resource.type === 'AWS::Lambda::Function')
      made.push(await makeFunction(resource, resources, surroundings));
  }
  return made;
}

async function makeFunction(
  { logicalId, ref, arn, properties }: DeployedResource,
  resources: readonly DeployedResource[],
  surroundings: FunctionGround,
): Promise<LambdaFunction> {
  const parsed = functionSchema.parse(properties);
  const principal = surroundings.principalOf(parsed.Role);
  const asynchronous = asyncSettings(ref, resources, surroundings.queues);
  const specification = {
    logicalId,
    name: ref,
    arn,
    codeFolder: await codeFolder(surroundings.files, parsed.Code.S3Key, surroundings.folder),
    handler: parsed.Handler,
    timeoutSeconds: parsed.Timeout,
    memoryMegabytes: parsed.MemorySize,
    logFormat: parsed.LoggingConfig?.LogFormat ?? ('Text' as const),
    environment: {
      ...environmentOf(ref, parsed, principal, surroundings),
      ...parsed.Environment?.Variables,
      ...surroundings.environment,
    },
  };
  const logGroup = specification.environment['AWS_LAMBDA_LOG_GROUP_NAME'] ?? '';
  return new LambdaFunction(specification, asynchronous, surroundings.connect(principal, logGroup));
}

/** What Lambda itself sets: https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html */
function environmentOf(
  name: string,
  { Handler, MemorySize, LoggingConfig }: z.infer<typeof functionSchema>,
  { credentials }: Principal,
  { region }: FunctionGround,
): Record<string, string> {
  return {
    PATH: '/usr/local/bin:/usr/bin:/bin',
    LANG: 'en_US.UTF-8',
    TZ: ':UTC',
    _HANDLER: Handler,
    AWS_REGION: region,
    AWS_DEFAULT_REGION: region,
    AWS_EXECUTION_ENV: 'AWS_Lambda_nodejs24.x',
    AWS_LAMBDA_FUNCTION_NAME: name,
    AWS_LAMBDA_FUNCTION_VERSION: '$LATEST',
    AWS_LAMBDA_FUNCTION_MEMORY_SIZE: String(MemorySize),
    AWS_LAMBDA_LOG_GROUP_NAME: LoggingConfig?.LogGroup ?? `/aws/lambda/${name}`,
    AWS_LAMBDA_LOG_STREAM_NAME: 'local',
    AWS_ACCESS_KEY_ID: credentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
    AWS_SESSION_TOKEN: credentials.sessionToken,
  };
}

function asyncSettings(
  name: string,
  resources: readonly DeployedResource[],
  queues: readonly Queue[],
): AsyncSettings {
  const config = resources
    .filter(({ type }) => type === 'AWS::Lambda::EventInvokeConfig')
    .map(({ properties }) => invokeConfigSchema.parse(properties))
    .find(({ FunctionName }) => FunctionName === name);
  const destination = config?.DestinationConfig?.OnFailure?.Destination;
  return {
    maximumRetries: config?.MaximumRetryAttempts ?? 2,
    onFailure: queues.find(({ arn }) => arn === destination),
  };
}
