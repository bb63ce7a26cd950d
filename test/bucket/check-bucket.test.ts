import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  PutBucketLifecycleConfigurationCommand,
  PutBucketPolicyCommand,
  PutPublicAccessBlockCommand,
  type LifecycleRule,
} from '@aws-sdk/client-s3';
import { startFixture, type Fixture } from '../local-aws/s3/local-s3-fixture.ts';

const PAGE = readFileSync('docs/existing-bucket.md', 'utf8');
/** Of the page: lock, encryption, lifecycle, policy. */
const blocks = [...PAGE.matchAll(/```json\n(.*?)```/gs)].map(([, text]) => text ?? '');
const ACCOUNT = '111122223333';

let fixture: Fixture;
let folder: string;
let config: string;

beforeEach(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'check-bucket-'));
  config = path.join(folder, 'lifeboat.config.json');
  writeConfig({ bucketName: 'backups' });
  fixture = await startFixture({ bucket: { objectLockDays: 30 } });
});

afterEach(async () => {
  await fixture.close();
  rmSync(folder, { recursive: true });
});

function writeConfig(storage: Record<string, unknown>): void {
  const series = [{ host: { instanceId: 'i-0123456789abcdef0' }, database: 'hostmaster' }];
  writeFileSync(config, JSON.stringify({ storage, series }));
}

/** As `npm run check-bucket`, with the credentials of the local S3. */
async function check(
  ...args: string[]
): Promise<{ status: number | string; stdout: string; stderr: string }> {
  const tsx = createRequire(path.join(process.cwd(), 'package.json')).resolve('tsx/cli');
  const { endpoint, region, credentials } = fixture.s3;
  const env = {
    PATH: process.env['PATH'],
    TMPDIR: folder,
    AWS_ENDPOINT_URL_S3: endpoint,
    AWS_REGION: region,
    AWS_ACCESS_KEY_ID: credentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
    AWS_CONFIG_FILE: '/dev/null',
    AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
  };
  return await new Promise((resolve) => {
    execFile(
      process.execPath,
      [tsx, 'scripts/check-bucket.ts', '--config', config, ...args],
      { env },
      (error, stdout, stderr) => resolve({ status: error?.code ?? 0, stdout, stderr }),
    );
  });
}

/** What docs/existing-bucket.md says, done to the bucket. */
async function followThePage(): Promise<void> {
  const { client } = fixture;
  const [, , lifecycle = '', policy = ''] = blocks;
  const { Rules } = JSON.parse(lifecycle) as { Rules: LifecycleRule[] };
  const all = {
    BlockPublicAcls: true,
    IgnorePublicAcls: true,
    BlockPublicPolicy: true,
    RestrictPublicBuckets: true,
  };
  await client.send(
    new PutPublicAccessBlockCommand({ Bucket: 'backups', PublicAccessBlockConfiguration: all }),
  );
  await client.send(
    new PutBucketLifecycleConfigurationCommand({ Bucket: 'backups', LifecycleConfiguration: { Rules } }),
  );
  await client.send(
    new PutBucketPolicyCommand({
      Bucket: 'backups',
      Policy: policy.replaceAll('your-backup-bucket', 'backups'),
    }),
  );
}

describe('npm run check-bucket', () => {
  it('names what a bucket lacks with the command for each, and ends with 1', async () => {
    const { status, stdout, stderr } = await check('--account', ACCOUNT);
    expect(stderr).toBe('');
    expect(status).toBe(1);
    expect(stdout).toMatch(/^has {4}versioning$/m);
    expect(stdout).toMatch(/^has {4}Object Lock with a default retention of 30 days, GOVERNANCE mode$/m);
    expect(stdout).toMatch(/^lacks {2}Block Public Access, all four settings$/m);
    expect(stdout).toContain('aws s3api put-public-access-block --bucket backups');
    expect(stdout).toContain('- it does not have HostOnlyAdds as it stands on the page');
  });

  it('is content with a bucket that the page was followed on, and ends with 0', async () => {
    await followThePage();
    const { status, stdout } = await check('--account', ACCOUNT);
    expect(stdout).not.toContain('lacks');
    expect(status).toBe(0);
  });

  it('is not content with the page’s account where the roles are of another', async () => {
    await followThePage();
    const { status, stdout } = await check('--account', '123456789012');
    expect(status).toBe(1);
    expect(stdout).toContain('- it does not have HostOnlyAdds');
    expect(stdout).toContain('arn:aws:iam::123456789012:role/lifeboat/Lifeboat/host/*');
  });

  it('leaves nothing behind', async () => {
    await check('--account', ACCOUNT);
    expect(readdirSync(folder).filter((name) => name.startsWith('cdk'))).toEqual([]);
  });

  it('says what is missing of its own: a bucket, a number, a name', async () => {
    expect((await check()).stderr).toContain('npm run check-bucket -- --account 123456789012');
    writeConfig({});
    expect(await check('--account', ACCOUNT)).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('names no existing bucket') as string,
    });
    writeConfig({ bucketName: 'nowhere' });
    expect(await check('--account', ACCOUNT)).toMatchObject({
      status: 5,
      stderr: 'There is no bucket nowhere\nCorrect storage.bucketName in lifeboat.config.json.\n',
    });
  });
});
