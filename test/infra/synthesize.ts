import { readFileSync } from 'node:fs';
import 'aws-cdk-lib/testhelpers/jest-autoclean';
import { App, Validations, type Environment, type Stack } from 'aws-cdk-lib/core';
import type { CloudAssembly } from 'aws-cdk-lib/cx-api';
import { parseDeploymentConfig, type DeploymentConfig } from '../../lib/domain/deployment/config.ts';
import { silenceNotices, standInAssets } from './operations/stage.ts';
import {
  addStacks,
  addStorageStacks,
  type Deployment,
  type StorageStacks,
} from '../../lib/infra/deployment.ts';
import { SecurityChecks } from '../../lib/infra/security-checks.ts';

export const ACCOUNT = '111122223333';
export const REGION = 'eu-west-1';
const ENV = { account: ACCOUNT, region: REGION };

const { context } = JSON.parse(readFileSync('cdk.json', 'utf8')) as { context: Record<string, unknown> };

export type Synthesized<Stacks> = Stacks & { readonly assembly: CloudAssembly };

/** As a user would write it in lifeboat.config.json; the one series may be left out. */
function deploymentConfig(settings: Record<string, unknown> = {}): DeploymentConfig {
  const series = [{ host: { instanceId: 'i-0123456789abcdef0' }, database: 'hostmaster' }];
  return parseDeploymentConfig({ series, ...settings }, 'the test');
}

/** What `cdk synth` makes of it, with the flags of cdk.json. */
export function synthesize(settings: Record<string, unknown> = {}): Synthesized<Deployment> {
  // Nobody here looks into the functions' folders.
  const app = new App({ context: { ...context, 'aws:cdk:bundling-stacks': [] }, analyticsReporting: false });
  silenceNotices(app);
  return { ...addStacks(app, deploymentConfig(settings), ENV, standInAssets()), assembly: app.synth() };
}

/** The storage stacks alone, which is faster. */
export function synthesizeStorage(
  settings: Record<string, unknown> = {},
  env: Environment = ENV,
): Synthesized<StorageStacks> {
  const app = new App({ context, analyticsReporting: false });
  const stacks = addStorageStacks(app, deploymentConfig(settings), env);
  Validations.of(app).addPlugins(new SecurityChecks(app));
  return { ...stacks, assembly: app.synth() };
}

export function templateOf(assembly: CloudAssembly, stack: Stack): Template {
  return assembly.getStackByName(stack.stackName).template as Template;
}

export interface Template {
  readonly Resources: Readonly<Record<string, Resource>>;
  readonly Outputs?: Readonly<Record<string, { readonly Value: unknown }>>;
}

export interface Resource {
  readonly Type: string;
  readonly Properties?: Readonly<Record<string, unknown>>;
  readonly DeletionPolicy?: string;
  readonly UpdateReplacePolicy?: string;
  readonly Metadata?: unknown;
}

/** Every resource of a type, with its logical id. */
export function resourcesOf(template: Template, type: string): [logicalId: string, resource: Resource][] {
  return Object.entries(template.Resources).filter(([, { Type }]) => Type === type);
}
