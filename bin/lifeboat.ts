import { App, Errors, type Environment } from 'aws-cdk-lib/core';
import { LifeboatError } from '../lib/domain/errors.ts';
import { readConfiguration } from '../lib/infra/configuration.ts';
import { addStacks } from '../lib/infra/deployment.ts';

/** The CDK app: configuration → stacks. It runs on the Node that the `cdk` command brings, 20 or later. */
function main(): void {
  // Without autoSynth: an app that failed leaves no half of an assembly behind.
  const app = new App({ autoSynth: false });
  addStacks(app, readConfiguration(app), readTarget());
  app.synth();
}

/** Account and region as the CDK's command line found them: the profile's; without one the templates fit any. */
function readTarget(): Environment {
  const { CDK_DEFAULT_ACCOUNT: account, CDK_DEFAULT_REGION: region } = process.env;
  return account === undefined || region === undefined ? {} : { account, region };
}

/** What people can mend is told in words; only a defect needs its stack. */
function explain(error: unknown): string {
  if (error instanceof LifeboatError) return `${error.message}\n${error.hint}`;
  if (Errors.isConstructError(error)) return error.message;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

try {
  main();
} catch (error) {
  console.error(explain(error));
  process.exitCode = error instanceof LifeboatError ? error.exitStatus : 1;
}
