import { z } from 'zod';
import type { Principal } from '../access/principal.ts';
import { AwsError } from '../http/aws-error.ts';
import type { StoredParameter } from './parameter-store.ts';
import type { SsmContext } from './service.ts';

const getInput = z.object({ Name: z.string(), WithDecryption: z.boolean().default(false) });
const getAllInput = z.object({
  Names: z.array(z.string()).min(1).max(10),
  WithDecryption: z.boolean().default(false),
});

export function getParameter(context: SsmContext, raw: unknown, caller: Principal): Record<string, unknown> {
  const { Name, WithDecryption } = parseInput(getInput, raw);
  context.access.check(caller, 'ssm:GetParameter', parameterArn(context, Name));
  return { Parameter: reveal(context, context.parameters.get(Name), caller, WithDecryption) };
}

export function getParameters(context: SsmContext, raw: unknown, caller: Principal): Record<string, unknown> {
  const { Names, WithDecryption } = parseInput(getAllInput, raw);
  for (const name of Names) context.access.check(caller, 'ssm:GetParameters', parameterArn(context, name));
  const found = Names.flatMap((name) => context.parameters.find(name) ?? []);
  return {
    Parameters: found.map((each) => reveal(context, each, caller, WithDecryption)),
    InvalidParameters: Names.filter((name) => !context.parameters.find(name)),
  };
}

/** Decrypting a SecureString needs the key as well. */
function reveal(
  { access, arn }: SsmContext,
  parameter: StoredParameter,
  caller: Principal,
  decrypts: boolean,
): Record<string, unknown> {
  const { name, type, value, keyArn } = parameter;
  const isSecret = type === 'SecureString';
  if (isSecret && decrypts && keyArn !== undefined)
    access.check(caller, 'kms:Decrypt', keyArn, {
      'kms:ViaService': `ssm.${keyArn.split(':')[3]}.amazonaws.com`,
      'kms:EncryptionContext:PARAMETER_ARN': arn('ssm', `parameter${name}`),
    });
  return {
    Name: name,
    Type: type,
    Value: isSecret && !decrypts ? Buffer.from(`encrypted ${value.length}`).toString('base64') : value,
    Version: 1,
    ARN: arn('ssm', `parameter${name}`),
    DataType: 'text',
  };
}

const parameterArn = ({ arn }: SsmContext, name: string): string =>
  arn('ssm', `parameter${name.startsWith('/') ? name : `/${name}`}`);

function parseInput<T>(schema: z.ZodType<T>, raw: unknown): T {
  const parsed = schema.safeParse(raw);
  if (parsed.success) return parsed.data;
  throw new AwsError('ValidationException', parsed.error.message);
}
