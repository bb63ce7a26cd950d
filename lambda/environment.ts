import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseDeploymentConfig, type DeploymentConfig } from '../lib/domain/deployment/config.ts';
import { LifeboatError } from '../lib/domain/errors.ts';
import { DEPLOYMENT_FILE, LAMBDA_ENV, LAMBDA_TEST_ENV } from '../lib/domain/names.ts';
import type { FunctionNames } from '../lib/domain/report/stack-commands.ts';

/** The one file of the Lambdas that reads the process' environment. */

export type LambdaVariable = keyof typeof LAMBDA_ENV;

/** @throws LifeboatError SETTINGS_INVALID naming the variable that a construct forgot */
export function requireVariable(variable: LambdaVariable): string {
  const value = optionalVariable(variable);
  if (value !== undefined) return value;
  throw new LifeboatError('SETTINGS_INVALID', `The function’s variable ${LAMBDA_ENV[variable]} is not set`, {
    hint: 'Deploy the stack again: npx cdk deploy --all',
  });
}

export function optionalVariable(variable: LambdaVariable): string | undefined {
  return process.env[LAMBDA_ENV[variable]] || undefined;
}

/** For messages, which tell people what to invoke. */
export function functionNames(): FunctionNames {
  return {
    startRun: optionalVariable('startRunFunction'),
    restore: optionalVariable('restoreFunction'),
  };
}

/** Set by Lambda itself. */
export function region(): string {
  return process.env['AWS_REGION'] || process.env['AWS_DEFAULT_REGION'] || 'us-east-1';
}

/** As the SDK finds its services' (https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html). */
export function ec2Endpoint(): string {
  const given = process.env['AWS_ENDPOINT_URL_EC2'] || process.env['AWS_ENDPOINT_URL'];
  const suffix = region().startsWith('cn-') ? 'amazonaws.com.cn' : 'amazonaws.com';
  return given || `https://ec2.${region()}.${suffix}`;
}

/** Only tests and the local loop set it, to the origin of what stands in for Slack on this machine. */
export function slackOriginOfTests(): string | undefined {
  return process.env[LAMBDA_TEST_ENV.slackOrigin] || undefined;
}

/** @throws LifeboatError SETTINGS_INVALID when the file is missing or wrong */
export function readDeployment(folder: string = import.meta.dirname): DeploymentConfig {
  const file = join(folder, DEPLOYMENT_FILE);
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    throw new LifeboatError('SETTINGS_INVALID', `${file} cannot be read: ${(cause as Error).message}`, {
      hint: 'Deploy the stack again: npx cdk deploy --all',
      cause,
    });
  }
  return parseDeploymentConfig(value, DEPLOYMENT_FILE);
}
