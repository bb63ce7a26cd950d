import {
  DeleteObjectCommand,
  ListObjectsCommand,
  ListObjectsV2Command,
  ListObjectVersionsCommand,
  paginateListObjectsV2,
  PutObjectCommand,
  type ListObjectsV2CommandInput,
} from '@aws-sdk/client-s3';
import { errorOf, startFixture, type Fixture } from './local-s3-fixture.ts';
import { signAndSend } from './signed-request.ts';

const Bucket = 'backups';
const KEYS = ['a', 'a/1', 'a/2', 'a/b/3', 'b c/4', 'z', 'ü', '日本/5', '😀'];
/** What a delimiter of `/` makes of them. */
const TOP_LEVEL = ['a', 'a/', 'b c/', 'z', 'ü', '日本/', '😀'];

let fixture: Fixture;
beforeAll(async () => {
  fixture = await startFixture();
  for (const Key of KEYS.toReversed())
    await fixture.client.send(new PutObjectCommand({ Bucket, Key, Body: Key, StorageClass: 'STANDARD_IA' }));
});
afterAll(() => fixture.close());

const list = (input: Partial<ListObjectsV2CommandInput> = {}) =>
  fixture.client.send(new ListObjectsV2Command({ Bucket, ...input }));
const keysOf = (answer: { Contents?: { Key?: string | undefined }[] | undefined }) =>
  (answer.Contents ?? []).map(({ Key }) => Key);
const prefixesOf = (answer: { CommonPrefixes?: { Prefix?: string | undefined }[] | undefined }) =>
  (answer.CommonPrefixes ?? []).map(({ Prefix }) => Prefix);

test('a listing has every key in the order of its bytes, with size, class and checksum', async () => {
  const answer = await list();
  expect(keysOf(answer)).toEqual(KEYS);
  expect(answer.Contents?.[1]).toMatchObject({
    Size: 3,
    StorageClass: 'STANDARD_IA',
    ChecksumAlgorithm: ['CRC32'],
    ChecksumType: 'FULL_OBJECT',
  });
  expect(answer).toMatchObject({ KeyCount: KEYS.length, IsTruncated: false, MaxKeys: 1000 });
});

test.each([1, 2, 3, 8, 9, 10])('pages of %d give every key once', async (pageSize) => {
  const found: (string | undefined)[] = [];
  const pages = paginateListObjectsV2({ client: fixture.client, pageSize }, { Bucket });
  for await (const page of pages) {
    expect(keysOf(page).length).toBeLessThanOrEqual(pageSize);
    found.push(...keysOf(page));
  }
  expect(found).toEqual(KEYS);
});

test.each([1, 2, 3, 4])('pages of %d give every key and common prefix once', async (pageSize) => {
  const found: (string | undefined)[] = [];
  const pages = paginateListObjectsV2({ client: fixture.client, pageSize }, { Bucket, Delimiter: '/' });
  for await (const page of pages) {
    expect(page.KeyCount).toBeLessThanOrEqual(pageSize);
    found.push(...keysOf(page), ...prefixesOf(page));
  }
  expect(found).toHaveLength(TOP_LEVEL.length);
  expect(new Set(found)).toEqual(new Set(TOP_LEVEL));
});

test('a prefix and a delimiter show one folder', async () => {
  const answer = await list({ Prefix: 'a/', Delimiter: '/' });
  expect([keysOf(answer), prefixesOf(answer)]).toEqual([['a/1', 'a/2'], ['a/b/']]);
});

test('a listing can start after a key, there or not', async () => {
  expect(keysOf(await list({ StartAfter: 'a/2' }))).toEqual(KEYS.slice(3));
  expect(keysOf(await list({ StartAfter: 'a/20' }))).toEqual(KEYS.slice(3));
  expect(prefixesOf(await list({ StartAfter: 'a/1', Delimiter: '/' }))).toContain('a/');
});

test('a page of none is empty and the last', async () => {
  expect(await list({ MaxKeys: 0 })).toMatchObject({ KeyCount: 0, IsTruncated: false });
});

test('keys are percent-encoded on request', async () => {
  const answer = await list({ EncodingType: 'url', Prefix: 'b' });
  expect(keysOf(answer)).toEqual(['b%20c/4']);
});

test.each([
  ['a page size that is no number', 'list-type=2&max-keys=many'],
  ['another encoding', 'encoding-type=base64&list-type=2'],
  ['a token of somebody else’s', 'continuation-token=AAAA&list-type=2'],
])('%s is refused', async (_name, query) => {
  const answer = await signAndSend(fixture.s3, { method: 'GET', path: '/backups', query });
  expect([answer.status, answer.code]).toEqual([400, 'InvalidArgument']);
});

test('the listing of a bucket that is not there is refused', async () => {
  expect(await errorOf(list({ Bucket: 'nowhere' }))).toEqual({ name: 'NoSuchBucket', status: 404 });
});

test('the old listing goes on after a marker', async () => {
  const found: (string | undefined)[] = [];
  let Marker: string | undefined;
  for (let page = 0; page < 9; page += 1) {
    const answer = await fixture.client.send(
      new ListObjectsCommand({
        Bucket,
        MaxKeys: 2,
        Delimiter: '/',
        ...(Marker === undefined ? {} : { Marker }),
      }),
    );
    found.push(...keysOf(answer), ...prefixesOf(answer));
    Marker = answer.NextMarker;
    if (answer.IsTruncated !== true) break;
  }
  expect(found).toHaveLength(TOP_LEVEL.length);
  expect(new Set(found)).toEqual(new Set(TOP_LEVEL));
});

test('versions are listed newest first, page by page, delete markers among them', async () => {
  await fixture.s3.createBucket('versioned', { versioned: true });
  const target = { Bucket: 'versioned' };
  for (const [Key, Body] of [
    ['a', '1'],
    ['a', '22'],
    ['b', '333'],
    ['a', '4444'],
  ] as const)
    await fixture.client.send(new PutObjectCommand({ ...target, Key, Body }));
  await fixture.client.send(new DeleteObjectCommand({ ...target, Key: 'b' }));
  const found: string[] = [];
  let markers: { KeyMarker?: string | undefined; VersionIdMarker?: string | undefined } = {};
  for (let page = 0; page < 9; page += 1) {
    const answer = await fixture.client.send(
      new ListObjectVersionsCommand({ ...target, MaxKeys: 2, ...markers }),
    );
    const marks = (answer.DeleteMarkers ?? []).map(({ Key, IsLatest }) => `${Key}:deleted:${IsLatest}`);
    found.push(
      ...marks,
      ...(answer.Versions ?? []).map(({ Key, Size, IsLatest }) => `${Key}:${Size}:${IsLatest}`),
    );
    if (answer.IsTruncated !== true) break;
    markers = { KeyMarker: answer.NextKeyMarker, VersionIdMarker: answer.NextVersionIdMarker };
  }
  expect(found).toEqual(['a:4:true', 'a:2:false', 'b:deleted:true', 'a:1:false', 'b:3:false']);
});
