import {
  CreateBucketCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  GetObjectLegalHoldCommand,
  GetObjectLockConfigurationCommand,
  GetObjectRetentionCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutBucketVersioningCommand,
  PutObjectCommand,
  PutObjectLegalHoldCommand,
  PutObjectLockConfigurationCommand,
  PutObjectRetentionCommand,
  type DeleteObjectCommandInput,
  type PutObjectCommandInput,
} from '@aws-sdk/client-s3';
import { bytesOf, errorOf, startFixture, type Fixture } from './local-s3-fixture.ts';
import { signAndSend } from './signed-request.ts';

const Bucket = 'backups';
const Key = 'dump';
const DAY = 86_400_000;

let fixture: Fixture;
afterEach(() => fixture.close());

const put = (more: Partial<PutObjectCommandInput> = {}) =>
  fixture.client.send(new PutObjectCommand({ Bucket, Key, Body: 'hello', ...more }));
const read = async (VersionId?: string) =>
  (
    await bytesOf(
      (await fixture.client.send(new GetObjectCommand({ Bucket, Key, ...(VersionId ? { VersionId } : {}) })))
        .Body,
    )
  ).toString();
const remove = (more: Partial<DeleteObjectCommandInput> = {}) =>
  fixture.client.send(new DeleteObjectCommand({ Bucket, Key, ...more }));
const version = (id: string | undefined) => ({ VersionId: id ?? '' });

describe('in a versioned bucket', () => {
  beforeEach(async () => {
    fixture = await startFixture({ bucket: { versioned: true } });
  });

  test('every write is kept, and read by its version', async () => {
    const first = await put({ Body: 'one' });
    const second = await put({ Body: 'two' });
    expect(first.VersionId).not.toBe(second.VersionId);
    expect(await read()).toBe('two');
    expect(await read(first.VersionId)).toBe('one');
  });

  test('a deletion is a marker, and taking the marker away brings the object back', async () => {
    const { VersionId } = await put();
    const deletion = await remove();
    expect(deletion).toMatchObject({ DeleteMarker: true });
    expect(await errorOf(read())).toEqual({ name: 'NoSuchKey', status: 404 });
    expect(await read(VersionId)).toBe('hello');
    expect((await fixture.client.send(new ListObjectsV2Command({ Bucket }))).KeyCount).toBe(0);
    const ofMarker = new HeadObjectCommand({ Bucket, Key, ...version(deletion.VersionId) });
    expect((await errorOf(fixture.client.send(ofMarker))).status).toBe(405);
    await remove(version(deletion.VersionId));
    expect(await read()).toBe('hello');
  });

  test('a version can be removed for good', async () => {
    const first = await put({ Body: 'one' });
    await put({ Body: 'two' });
    await remove(version(first.VersionId));
    expect(await errorOf(read(first.VersionId))).toEqual({ name: 'NoSuchVersion', status: 404 });
    expect(await read()).toBe('two');
  });

  test('a new object may be put where a delete marker stands, also with If-None-Match', async () => {
    await put();
    await remove();
    await put({ Body: 'again', IfNoneMatch: '*' });
    expect(await read()).toBe('again');
  });

  test('suspending keeps the old versions and overwrites the one without a name', async () => {
    const { VersionId } = await put({ Body: 'kept' });
    const VersioningConfiguration = { Status: 'Suspended' } as const;
    await fixture.client.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration }));
    expect((await put({ Body: 'one' })).VersionId).toBe('null');
    await put({ Body: 'two' });
    expect(await read()).toBe('two');
    expect(await read('null')).toBe('two');
    expect(await read(VersionId)).toBe('kept');
  });
});

describe('in a bucket with a default retention', () => {
  let now: number;
  beforeEach(async () => {
    now = Date.now();
    fixture = await startFixture({ bucket: { objectLockDays: 30 } });
  });

  test('a new object is locked for that long', async () => {
    await put();
    const found = await fixture.client.send(new HeadObjectCommand({ Bucket, Key }));
    expect(found.ObjectLockMode).toBe('GOVERNANCE');
    const days = ((found.ObjectLockRetainUntilDate?.getTime() ?? 0) - now) / DAY;
    expect(Math.round(days)).toBe(30);
  });

  test('a locked version cannot be removed, except by who may bypass governance', async () => {
    const { VersionId } = await put();
    expect(await errorOf(remove(version(VersionId)))).toEqual({ name: 'AccessDenied', status: 403 });
    const many = await fixture.client.send(
      new DeleteObjectsCommand({ Bucket, Delete: { Objects: [{ Key, ...version(VersionId) }] } }),
    );
    expect(many.Errors?.[0]?.Code).toBe('AccessDenied');
    expect(await read(VersionId)).toBe('hello');
    await remove({ ...version(VersionId), BypassGovernanceRetention: true });
    expect((await errorOf(read(VersionId))).name).toBe('NoSuchVersion');
  });

  test('a delete marker may be put over it', async () => {
    await put();
    await expect(remove()).resolves.toMatchObject({ DeleteMarker: true });
  });

  test('an overwrite leaves the locked version behind', async () => {
    const { VersionId } = await put({ Body: 'locked' });
    await put({ Body: 'over' });
    expect(await read(VersionId)).toBe('locked');
  });

  test('a body without any checksum is refused', async () => {
    const raw = { method: 'PUT', path: '/backups/dump', body: Buffer.from('hello') };
    expect((await signAndSend(fixture.s3, raw)).code).toBe('InvalidRequest');
  });

  test('a retention can be made longer, but not shorter', async () => {
    await put();
    const retain = (days: number, bypass = false) =>
      fixture.client.send(
        new PutObjectRetentionCommand({
          Bucket,
          Key,
          Retention: { Mode: 'GOVERNANCE', RetainUntilDate: new Date(now + days * DAY) },
          BypassGovernanceRetention: bypass,
        }),
      );
    await retain(40);
    expect((await errorOf(retain(5))).name).toBe('AccessDenied');
    await retain(5, true);
    const { Retention } = await fixture.client.send(new GetObjectRetentionCommand({ Bucket, Key }));
    expect(Retention).toMatchObject({ Mode: 'GOVERNANCE', RetainUntilDate: new Date(now + 5 * DAY) });
  });

  test('compliance cannot be bypassed', async () => {
    const { VersionId } = await put({
      ObjectLockMode: 'COMPLIANCE',
      ObjectLockRetainUntilDate: new Date(now + DAY),
    });
    const bypass = remove({ ...version(VersionId), BypassGovernanceRetention: true });
    expect((await errorOf(bypass)).name).toBe('AccessDenied');
  });

  test('a legal hold holds until it is lifted', async () => {
    const { VersionId } = await put();
    const hold = (Status: 'ON' | 'OFF') =>
      fixture.client.send(new PutObjectLegalHoldCommand({ Bucket, Key, LegalHold: { Status } }));
    await hold('ON');
    const { LegalHold } = await fixture.client.send(new GetObjectLegalHoldCommand({ Bucket, Key }));
    expect(LegalHold).toEqual({ Status: 'ON' });
    const bypass = { ...version(VersionId), BypassGovernanceRetention: true };
    expect((await errorOf(remove(bypass))).name).toBe('AccessDenied');
    await hold('OFF');
    await remove(bypass);
  });
});

test('a retention ends by itself', async () => {
  let shift = 0;
  fixture = await startFixture({ server: { now: () => Date.now() + shift }, bucket: { objectLockDays: 1 } });
  const { VersionId } = await put();
  expect((await errorOf(remove(version(VersionId)))).name).toBe('AccessDenied');
  shift = 2 * DAY;
  // The SDK signs with its own clock: it must be two days on as well.
  const later = fixture.newClient({ systemClockOffset: shift });
  await later.send(new DeleteObjectCommand({ Bucket, Key, ...version(VersionId) }));
});

test('object lock is configured on a bucket, and only with versioning', async () => {
  fixture = await startFixture();
  const configure = (name: string) =>
    fixture.client.send(
      new PutObjectLockConfigurationCommand({
        Bucket: name,
        ObjectLockConfiguration: {
          ObjectLockEnabled: 'Enabled',
          Rule: { DefaultRetention: { Mode: 'COMPLIANCE', Days: 7 } },
        },
      }),
    );
  expect((await errorOf(configure(Bucket))).name).toBe('InvalidBucketState');
  const locked = { Bucket: 'locked' };
  await fixture.client.send(new CreateBucketCommand({ ...locked, ObjectLockEnabledForBucket: true }));
  await configure('locked');
  const found = await fixture.client.send(new GetObjectLockConfigurationCommand(locked));
  expect(found.ObjectLockConfiguration?.Rule?.DefaultRetention).toEqual({ Mode: 'COMPLIANCE', Days: 7 });
  const suspend = new PutBucketVersioningCommand({
    ...locked,
    VersioningConfiguration: { Status: 'Suspended' },
  });
  expect((await errorOf(fixture.client.send(suspend))).name).toBe('InvalidBucketState');
});

test('a lock is refused where the bucket has none', async () => {
  fixture = await startFixture({ bucket: { versioned: true } });
  const locked = put({ ObjectLockMode: 'GOVERNANCE', ObjectLockRetainUntilDate: new Date(Date.now() + DAY) });
  expect((await errorOf(locked)).name).toBe('InvalidRequest');
});
