import { App, type Environment } from 'aws-cdk-lib/core';
import { asLifeboatError } from '../lib/domain/errors.ts';
import { readConfiguration } from '../lib/infra/configuration.ts';
import { addStacks } from '../lib/infra/deployment.ts';

/** The CDK app: configuration → stacks. It runs on the Node that the `cdk` command brings, 20 or later. */
function main(): void {
  const app = new App();
  addStacks(app, readConfiguration(app), readTarget());
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
  const { code, message, hint, exitStatus } = asLifeboatError(error);
  // The CDK's own refusals are written to be read; only a defect needs its stack.
  const isDefect =
    code === 'BUG' && !(error instanceof Error && /^(\w*ValidationError|ConstructError)$/.test(error.name));
  console.error(isDefect ? (error as Error).stack : message);
  if (isDefect || code !== 'BUG') console.error(hint);
  process.exitCode = exitStatus;
}
