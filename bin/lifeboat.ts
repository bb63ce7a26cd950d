import { App, Validations, type Environment } from 'aws-cdk-lib/core';
import { AwsSolutionsChecks } from 'cdk-nag';
import { asLifeboatError } from '../lib/domain/errors.ts';
import { readConfiguration } from '../lib/infra/configuration.ts';
import { StorageStack } from '../lib/infra/storage/storage-stack.ts';

/** The CDK app: configuration → stacks. */
function main(): void {
  const app = new App();
  const config = readConfiguration(app);
  const env = readTarget();
  new StorageStack(app, `${config.name}Storage`, { config, env });
  Validations.of(app).addPlugins(new AwsSolutionsChecks(app));
  app.synth();
}

/** Account and region as the CDK's command line found them: the profile's; without one the templates fit any. */
function readTarget(): Environment {
  const { CDK_DEFAULT_ACCOUNT: account, CDK_DEFAULT_REGION: region } = process.env;
  return account === undefined || region === undefined ? {} : { account, region };
}

try {
  main();
} catch (error) {
  const { message, hint, exitStatus } = asLifeboatError(error);
  console.error(`${message}\n${hint}`);
  process.exitCode = exitStatus;
}
