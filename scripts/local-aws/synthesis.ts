/** A process of its own for `synthesize`: the CDK prints and blocks as it pleases. Takes its options as JSON. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { App } from 'aws-cdk-lib/core';
import { parseDeploymentConfig } from '../../lib/domain/deployment/config.ts';
import { addStacks } from '../../lib/infra/deployment.ts';
import type { SynthesisOptions } from './synthesize.ts';

const CDK_SETTINGS = path.resolve(import.meta.dirname, '../../cdk.json');

const { config, assets, cdkOut, account } = JSON.parse(process.argv[2] ?? '') as SynthesisOptions;
const { context } = JSON.parse(readFileSync(CDK_SETTINGS, 'utf8')) as { context: Record<string, unknown> };
const app = new App({ context, outdir: cdkOut, analyticsReporting: false });
const env = { account: account.accountId, region: account.region };
addStacks(app, parseDeploymentConfig(config, 'the local loop’s configuration'), env, assets);
app.synth();
