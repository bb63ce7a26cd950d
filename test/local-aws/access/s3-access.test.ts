import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { AccessControl, type AccessQuestion } from '../../../scripts/local-aws/access/access-control.ts';
import { makePrincipal } from '../../../scripts/local-aws/access/principal.ts';
import { authorizeS3 } from '../../../scripts/local-aws/access/s3-access.ts';
import { startLocalS3, type LocalS3 } from '../../../scripts/local-aws/s3/server.ts';

const BUCKET = 'backups';
const KEY_ARN = 'arn:aws:kms:eu-west-1:111122223333:key/k';
const role = makePrincipal('Stack/Host', 'arn:aws:iam::111122223333:role/host');

let folder = '';
let s3: LocalS3;
let client: S3Client;
let access: AccessControl;
let denied: (question: AccessQuestion) => boolean = () => false;
let key: string | undefined;

beforeEach(async () => {
  denied = () => false;
  key = undefined;
  folder = mkdtempSync(path.join(tmpdir(), 'lifeboat-access-'));
  access = new AccessControl(
    [role],
    makePrincipal('operator', 'arn:aws:iam::111122223333:user/o'),
    (question) => ({
      allowed: !denied(question),
      reason: 'the test says so',
    }),
  );
  const { credentials } = role;
  const authorize = authorizeS3(access, () => key, 'eu-west-1');
  s3 = await startLocalS3({ folder, region: 'eu-west-1', credentials: [credentials], authorize });
  await s3.createBucket(BUCKET);
  client = new S3Client({
    endpoint: s3.endpoint,
    region: 'eu-west-1',
    credentials,
    forcePathStyle: true,
    requestChecksumCalculation: 'WHEN_REQUIRED',
  });
});
afterEach(async () => {
  client.destroy();
  await s3.close();
  rmSync(folder, { recursive: true, force: true });
});

const at = (Key: string) => ({ Bucket: BUCKET, Key });
const asked = () =>
  access.calls.map(({ action, resource, conditions }) => ({
    action,
    resource: resource.replace('arn:aws:s3:::', ''),
    ...conditions,
  }));

describe('every request to S3', () => {
  it('is asked about as IAM names it, with the condition keys of its headers', async () => {
    await client.send(
      new PutObjectCommand({ ...at('a'), Body: 'x', IfNoneMatch: '*', StorageClass: 'STANDARD_IA' }),
    );
    await client.send(new HeadObjectCommand(at('a')));
    await client.send(new ListObjectsV2Command({ Bucket: BUCKET, Prefix: 'database/' }));
    expect(asked()).toEqual([
      {
        action: 's3:PutObject',
        resource: 'backups/a',
        's3:if-none-match': '*',
        's3:x-amz-storage-class': 'STANDARD_IA',
        's3:ObjectCreationOperation': 'true',
      },
      { action: 's3:GetObject', resource: 'backups/a' },
      { action: 's3:ListBucket', resource: 'backups', 's3:prefix': 'database/' },
    ]);
  });

  it('of a multipart upload is PutObject, and only the last of them creates', async () => {
    const { UploadId } = await client.send(new CreateMultipartUploadCommand(at('a')));
    const part = { ...at('a'), UploadId, PartNumber: 1 };
    const { ETag } = await client.send(new UploadPartCommand({ ...part, Body: 'x' }));
    const MultipartUpload = { Parts: [{ PartNumber: 1, ETag }] };
    await client.send(
      new CompleteMultipartUploadCommand({ ...at('a'), UploadId, MultipartUpload, IfNoneMatch: '*' }),
    );
    expect(
      asked().map((each) => [each.action, (each as Record<string, unknown>)['s3:ObjectCreationOperation']]),
    ).toEqual([
      ['s3:PutObject', 'false'],
      ['s3:PutObject', 'false'],
      ['s3:PutObject', 'true'],
    ]);
  });

  it('that tags, locks or copies besides needs the right to that as well', async () => {
    await client.send(new PutObjectCommand({ ...at('a'), Body: 'x', Tagging: 'lifeboat=expirable' }));
    await client.send(new CopyObjectCommand({ ...at('b'), CopySource: `${BUCKET}/a` }));
    expect(asked().map(({ action, resource }) => `${action} ${resource}`)).toEqual([
      's3:PutObject backups/a',
      's3:PutObjectTagging backups/a',
      's3:PutObject backups/b',
      's3:GetObject backups/a',
    ]);
  });

  it('on a bucket under a key needs the key', async () => {
    key = KEY_ARN;
    await client.send(new PutObjectCommand({ ...at('a'), Body: 'x' }));
    await client.send(new GetObjectCommand(at('a')));
    const ofKey = access.calls.filter(({ resource }) => resource === KEY_ARN);
    expect(ofKey.map(({ action }) => action)).toEqual(['kms:GenerateDataKey', 'kms:Decrypt']);
  });

  it('is denied, and does nothing, where a policy does not allow it', async () => {
    denied = ({ action }) => action === 's3:PutObject';
    await expect(client.send(new PutObjectCommand({ ...at('a'), Body: 'x' }))).rejects.toMatchObject({
      name: 'AccessDenied',
      message: expect.stringContaining('Stack/Host is not authorized to perform: s3:PutObject'),
    });
    await expect(client.send(new GetObjectCommand(at('a')))).rejects.toMatchObject({ name: 'NoSuchKey' });
  });

  it('for what is not there is denied to whom may not list the bucket, or only under a prefix', async () => {
    denied = ({ action, conditions }) => action === 's3:ListBucket' && conditions['s3:prefix'] === undefined;
    await expect(client.send(new GetObjectCommand(at('a')))).rejects.toMatchObject({ name: 'AccessDenied' });
    expect(access.calls.filter(({ allowed }) => !allowed)).toEqual([]);
  });
});
