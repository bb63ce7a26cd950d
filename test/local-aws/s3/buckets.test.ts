import {
  CreateBucketCommand,
  DeleteBucketCommand,
  DeleteBucketLifecycleCommand,
  DeleteBucketPolicyCommand,
  DeletePublicAccessBlockCommand,
  GetBucketEncryptionCommand,
  GetBucketLifecycleConfigurationCommand,
  GetBucketLocationCommand,
  GetBucketPolicyCommand,
  GetBucketTaggingCommand,
  GetBucketVersioningCommand,
  GetPublicAccessBlockCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListBucketsCommand,
  PutBucketEncryptionCommand,
  PutBucketLifecycleConfigurationCommand,
  PutBucketPolicyCommand,
  PutBucketTaggingCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  PutPublicAccessBlockCommand,
} from '@aws-sdk/client-s3';
import { errorOf, startFixture, type Fixture } from './local-s3-fixture.ts';
import { signAndSend } from './signed-request.ts';

const Bucket = 'backups';
const target = { Bucket };

let fixture: Fixture;
beforeEach(async () => {
  fixture = await startFixture();
});
afterEach(() => fixture.close());

test('a bucket is made, listed, looked at and removed', async () => {
  await fixture.client.send(new CreateBucketCommand({ Bucket: 'second.bucket-2' }));
  const { Buckets } = await fixture.client.send(new ListBucketsCommand({}));
  expect(Buckets?.map(({ Name }) => Name)).toEqual([Bucket, 'second.bucket-2']);
  const found = await fixture.client.send(new HeadBucketCommand({ Bucket: 'second.bucket-2' }));
  expect(found.BucketRegion).toBe('us-east-1');
  await fixture.client.send(new DeleteBucketCommand({ Bucket: 'second.bucket-2' }));
  const gone = fixture.client.send(new HeadBucketCommand({ Bucket: 'second.bucket-2' }));
  expect(await errorOf(gone)).toEqual({ name: 'NotFound', status: 404 });
});

test('a bucket with an object in it is not removed', async () => {
  await fixture.client.send(new PutObjectCommand({ Bucket, Key: 'a', Body: 'a' }));
  expect(await errorOf(fixture.client.send(new DeleteBucketCommand(target)))).toEqual({
    name: 'BucketNotEmpty',
    status: 409,
  });
});

test('a bucket is made once', async () => {
  const again = fixture.client.send(new CreateBucketCommand(target));
  expect((await errorOf(again)).name).toBe('BucketAlreadyOwnedByYou');
});

test.each(['ab', 'Upper', '..', 'a..b', '-a-', 'a_b', 'x'.repeat(64)])(
  'no bucket is called %s',
  async (name) => {
    const answer = await signAndSend(fixture.s3, { method: 'PUT', path: `/${name}` });
    expect([answer.status, answer.code]).toEqual([400, 'InvalidBucketName']);
  },
);

test('a region other than the first is said, and needed', async () => {
  const elsewhere = await startFixture({ server: { region: 'eu-central-1' } });
  const { LocationConstraint } = await elsewhere.client.send(new GetBucketLocationCommand(target));
  expect(LocationConstraint).toBe('eu-central-1');
  await elsewhere.client.send(new CreateBucketCommand({ Bucket: 'another' }));
  const unnamed = await signAndSend(elsewhere.s3, { method: 'PUT', path: '/third' });
  expect(unnamed.code).toBe('InvalidLocationConstraint');
  await elsewhere.close();
  expect(
    (await fixture.client.send(new GetBucketLocationCommand(target))).LocationConstraint,
  ).toBeUndefined();
});

test('versioning is off, on or suspended', async () => {
  const status = async () => (await fixture.client.send(new GetBucketVersioningCommand(target))).Status;
  expect(await status()).toBeUndefined();
  for (const Status of ['Enabled', 'Suspended'] as const) {
    await fixture.client.send(
      new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status } }),
    );
    expect(await status()).toBe(Status);
  }
});

test('the public access block is kept, and missing until then', async () => {
  const get = () => fixture.client.send(new GetPublicAccessBlockCommand(target));
  expect(await errorOf(get())).toEqual({ name: 'NoSuchPublicAccessBlockConfiguration', status: 404 });
  const PublicAccessBlockConfiguration = {
    BlockPublicAcls: true,
    IgnorePublicAcls: true,
    BlockPublicPolicy: true,
    RestrictPublicBuckets: true,
  };
  await fixture.client.send(new PutPublicAccessBlockCommand({ Bucket, PublicAccessBlockConfiguration }));
  expect((await get()).PublicAccessBlockConfiguration).toEqual(PublicAccessBlockConfiguration);
  await fixture.client.send(new DeletePublicAccessBlockCommand(target));
  expect((await errorOf(get())).status).toBe(404);
});

test('the lifecycle is kept as it was put', async () => {
  const get = () => fixture.client.send(new GetBucketLifecycleConfigurationCommand(target));
  expect((await errorOf(get())).name).toBe('NoSuchLifecycleConfiguration');
  const Rules = [
    {
      ID: 'expire & forget',
      Status: 'Enabled' as const,
      Filter: { Tag: { Key: 'lifeboat', Value: 'expirable' } },
      Expiration: { Days: 31 },
    },
  ];
  await fixture.client.send(
    new PutBucketLifecycleConfigurationCommand({ Bucket, LifecycleConfiguration: { Rules } }),
  );
  expect((await get()).Rules).toEqual(Rules);
  await fixture.client.send(new DeleteBucketLifecycleCommand(target));
  expect((await errorOf(get())).status).toBe(404);
});

test('the policy is kept as it was put, and must be JSON', async () => {
  const get = () => fixture.client.send(new GetBucketPolicyCommand(target));
  expect((await errorOf(get())).name).toBe('NoSuchBucketPolicy');
  const Policy = JSON.stringify({ Version: '2012-10-17', Statement: [] });
  await fixture.client.send(new PutBucketPolicyCommand({ Bucket, Policy }));
  expect((await get()).Policy).toBe(Policy);
  const broken = fixture.client.send(new PutBucketPolicyCommand({ Bucket, Policy: '{' }));
  expect((await errorOf(broken)).name).toBe('MalformedPolicy');
  await fixture.client.send(new DeleteBucketPolicyCommand(target));
  expect((await errorOf(get())).name).toBe('NoSuchBucketPolicy');
});

test('tags of the bucket are kept', async () => {
  const TagSet = [{ Key: 'team', Value: 'a & b' }];
  await fixture.client.send(new PutBucketTaggingCommand({ Bucket, Tagging: { TagSet } }));
  expect((await fixture.client.send(new GetBucketTaggingCommand(target))).TagSet).toEqual(TagSet);
});

test('encryption is AES256 unless set, and new objects follow the setting', async () => {
  const byDefault = async () =>
    (await fixture.client.send(new GetBucketEncryptionCommand(target))).ServerSideEncryptionConfiguration
      ?.Rules?.[0]?.ApplyServerSideEncryptionByDefault;
  expect(await byDefault()).toEqual({ SSEAlgorithm: 'AES256' });
  const arn = 'arn:aws:kms:us-east-1:000000000000:key/k';
  const setting = { SSEAlgorithm: 'aws:kms', KMSMasterKeyID: arn } as const;
  await fixture.client.send(
    new PutBucketEncryptionCommand({
      Bucket,
      ServerSideEncryptionConfiguration: {
        Rules: [{ ApplyServerSideEncryptionByDefault: setting, BucketKeyEnabled: true }],
      },
    }),
  );
  expect(await byDefault()).toEqual(setting);
  await fixture.client.send(new PutObjectCommand({ Bucket, Key: 'a', Body: 'a' }));
  expect(await fixture.client.send(new HeadObjectCommand({ Bucket, Key: 'a' }))).toMatchObject({
    ServerSideEncryption: 'aws:kms',
    SSEKMSKeyId: arn,
    BucketKeyEnabled: true,
  });
});

test('a bucket can be named in the host', async () => {
  const { port } = new URL(fixture.s3.endpoint);
  await fixture.client.send(new PutObjectCommand({ Bucket, Key: 'dir/a', Body: 'hosted' }));
  for (const host of [`backups.localhost:${port}`, `backups.s3.localhost:${port}`]) {
    const answer = await signAndSend(fixture.s3, { method: 'GET', path: '/dir/a', headers: { host } });
    expect(answer.body.toString()).toBe('hosted');
  }
});
