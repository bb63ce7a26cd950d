import { rmSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { S3Client } from '@aws-sdk/client-s3';
import { App } from 'aws-cdk-lib/core';
import { checkBucket, type Finding } from '../lib/domain/deployment/bucket-check.ts';
import { LifeboatError } from '../lib/domain/errors.ts';
import { readConfiguration } from '../lib/infra/configuration.ts';
import { neededPolicy, type DeploymentPlace } from '../lib/infra/storage/needed-policy.ts';
import { readBucket } from './bucket/facts.ts';

const USAGE = `Says what the bucket that storage.bucketName names has and lacks, and how to mend it. It changes nothing.

  npm run check-bucket -- [--config FILE] [--region NAME] [--account NUMBER]

  --config FILE     lifeboat.config.json when left out
  --region NAME     that the stacks are deployed to; the profile's when left out
  --account NUMBER  that they are deployed to; the credentials' when left out

Exit status: 0 it has all, 1 it lacks something, 2 wrong usage, 5 S3 refused to say.`;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      config: { type: 'string', default: 'lifeboat.config.json' },
      region: { type: 'string' },
      account: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return;
  }
  const app = new App({ analyticsReporting: false, context: { config: values.config } });
  try {
    await check(app, values);
  } finally {
    rmSync(app.outdir, { recursive: true, force: true });
  }
}

interface Options {
  readonly config: string;
  readonly region?: string | undefined;
  readonly account?: string | undefined;
}

async function check(app: App, options: Options): Promise<void> {
  const config = readConfiguration(app);
  const { storage } = config;
  const { bucketName } = storage;
  if (bucketName === undefined)
    throw new LifeboatError(
      'USAGE',
      `${options.config} names no existing bucket: the stack makes one that has all`,
      {
        hint: 'Only where storage.bucketName is set, there is something to check.',
      },
    );
  const client = new S3Client({
    followRegionRedirects: true,
    ...(options.region && { region: options.region }),
  });
  const place = await findPlace(client, options);
  const facts = await readBucket(client, bucketName);
  const statements = neededPolicy(app, config, bucketName, place);
  const findings = checkBucket({ storage, region: place.region, statements }, facts);
  console.log(`${bucketName} in ${facts.region}, for ${options.config} in ${place.account}/${place.region}:`);
  for (const finding of findings) console.log(describe(finding));
  if (findings.some(({ problems }) => problems.length > 0)) process.exitCode = 1;
}

async function findPlace({ config }: S3Client, options: Options): Promise<DeploymentPlace> {
  const region = await config.region().catch((cause: unknown) => {
    throw new LifeboatError('USAGE', 'No region is known: neither AWS_REGION nor the profile names one', {
      cause,
      hint: 'Add the region that the stacks go to: npm run check-bucket -- --region eu-west-1',
    });
  });
  const account = options.account ?? (await readAccount(config));
  if (account !== undefined && /^\d{12}$/.test(account)) return { account, region };
  throw new LifeboatError('USAGE', 'The credentials do not say which account they are of', {
    hint: 'Add its number: npm run check-bucket -- --account 123456789012',
  });
}

async function readAccount({ credentials }: S3Client['config']): Promise<string | undefined> {
  try {
    return (await credentials()).accountId;
  } catch (cause) {
    throw new LifeboatError('S3_DENIED', `There are no AWS credentials: ${(cause as Error).message}`, {
      cause,
      hint: 'Name a profile: AWS_PROFILE=… npm run check-bucket',
    });
  }
}

function describe({ need, problems, mend }: Finding): string {
  if (problems.length === 0) return `has    ${need}`;
  return [
    `lacks  ${need}`,
    ...problems.map((problem) => `       - ${problem}`),
    ...mend.flatMap((text) => text.split('\n')).map((line) => `         ${line}`),
  ].join('\n');
}

try {
  await main();
} catch (error) {
  if (!(error instanceof LifeboatError)) throw error;
  console.error(`${error.message}\n${error.hint}`);
  process.exitCode = error.exitStatus;
}
