import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import 'aws-cdk-lib/testhelpers/jest-autoclean';
import { Template } from 'aws-cdk-lib/assertions';
import { Bucket } from 'aws-cdk-lib/aws-s3';
import { App, CfnWaitConditionHandle, Stack, Validations } from 'aws-cdk-lib/core';
import { parseDeploymentConfig, type DeploymentConfig } from '../../../lib/domain/deployment/config.ts';
import { FUNCTION_NAMES, type OperationsAssets } from '../../../lib/infra/operations/built-assets.ts';
import { OperationsStack } from '../../../lib/infra/operations/operations-stack.ts';

const ENV = { account: '123456789012', region: 'eu-central-1' };

const SERIES = {
  app: 'hostmaster',
  host: { instanceId: 'i-0123456789abcdef0' },
  database: 'hostmaster_prod',
};

/** The configuration with everything that is optional left out, but for `changes`. */
export function configuration(changes: Record<string, unknown> = {}): DeploymentConfig {
  return parseDeploymentConfig({ series: [SERIES], ...changes }, 'test');
}

/** With Slack, mail, a key, hosts by tag and a password: every branch that adds rights or resources. */
export function fullConfiguration(changes: Record<string, unknown> = {}): DeploymentConfig {
  return configuration({
    notifications: { emails: ['ops@example.com'], slackParameter: '/lifeboat/slack-webhook-url' },
    storage: { kmsKeyArn: 'arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-555555555555' },
    series: [
      SERIES,
      { app: 'fleet', host: { tag: { key: 'Backup', value: 'nightly' } }, database: 'app' },
      {
        app: 'guarded',
        host: { instanceId: 'i-0fedcba9876543210' },
        database: 'vault',
        pointInTimeRecovery: true,
        passwordSecretArn: 'arn:aws:secretsmanager:eu-central-1:123456789012:secret:vault-AbCdEf',
      },
    ],
    ...changes,
  });
}

let folder: string | undefined;
// Not at the exit of the process: a worker of jest goes on with the next file.
afterAll(() => {
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  folder = undefined;
});

/** Small files instead of what `npm run build` makes. */
export function standInAssets(): OperationsAssets {
  folder ??= makeStandIns();
  return {
    agentX64: join(folder, 'lifeboat-0.1.0-linux-x64.tar.gz'),
    agentArm64: join(folder, 'lifeboat-0.1.0-linux-arm64.tar.gz'),
    lambdas: join(folder, 'lambda'),
    version: '0.1.0',
  };
}

function makeStandIns(): string {
  const made = mkdtempSync(join(tmpdir(), 'lifeboat-assets-'));
  writeFileSync(join(made, 'lifeboat-0.1.0-linux-x64.tar.gz'), 'the agent for x64');
  writeFileSync(join(made, 'lifeboat-0.1.0-linux-arm64.tar.gz'), 'the agent for arm64');
  for (const name of FUNCTION_NAMES) {
    mkdirSync(join(made, 'lambda', name), { recursive: true });
    writeFileSync(join(made, 'lambda', name, 'index.mjs'), `export const handler = async () => '${name}';\n`);
  }
  return made;
}

interface AppOptions {
  /** Fills the functions' folders, and says so on stderr. */
  readonly bundle?: boolean;
  /** Prints what is unwise in a configuration; almost all of the tests' are. */
  readonly warn?: boolean;
}

/** The context that `cdk` would read from cdk.json, and nothing of this machine. */
export function newApp({ bundle = false, warn = false }: AppOptions = {}): App {
  const { context } = JSON.parse(readFileSync('cdk.json', 'utf8')) as { context: Record<string, unknown> };
  const bundled = bundle ? {} : { 'aws:cdk:bundling-stacks': [] };
  const app = new App({ context: { ...context, ...bundled }, analyticsReporting: false });
  if (!warn) silenceNotices(app);
  return app;
}

export function silenceNotices(app: App): void {
  for (const id of ['nobody-is-told', 'runbook-url'])
    Validations.of(app).acknowledge({ id: `Annotation::lifeboat:${id}`, reason: 'nobody waits for a test' });
}

export function addOperations(app: App, config: DeploymentConfig, env: object = ENV): OperationsStack {
  const buckets = new Stack(app, `${config.name}Buckets`, { env });
  // CloudFormation knows no empty stack.
  expect(new CfnWaitConditionHandle(buckets, 'Something')).toBeDefined();
  return new OperationsStack(app, `${config.name}Operations`, {
    config,
    env,
    bucket: Bucket.fromBucketName(buckets, 'Backups', 'backups-of-ours'),
    stateBucket: Bucket.fromBucketName(buckets, 'State', 'state-of-ours'),
    assets: standInAssets(),
  });
}

export function synthesize(config: DeploymentConfig): Template {
  return Template.fromStack(addOperations(newApp(), config));
}
