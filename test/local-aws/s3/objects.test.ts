import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import {
  CopyObjectCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  DeleteObjectTaggingCommand,
  GetObjectAttributesCommand,
  GetObjectCommand,
  GetObjectTaggingCommand,
  HeadObjectCommand,
  PutObjectCommand,
  PutObjectTaggingCommand,
} from '@aws-sdk/client-s3';
import { bytesOf, errorOf, startFixture, type Fixture } from './local-s3-fixture.ts';
import { send, sign, signAndSend } from './signed-request.ts';

let fixture: Fixture;
beforeEach(async () => {
  fixture = await startFixture();
});
afterEach(() => fixture.close());

const Bucket = 'backups';
const put = (Key: string, more: Partial<ConstructorParameters<typeof PutObjectCommand>[0]> = {}) =>
  fixture.client.send(new PutObjectCommand({ Bucket, Key, Body: 'hello', ...more }));
const head = (Key: string) =>
  fixture.client.send(new HeadObjectCommand({ Bucket, Key, ChecksumMode: 'ENABLED' }));
const get = (Key: string, more: Partial<ConstructorParameters<typeof GetObjectCommand>[0]> = {}) =>
  fixture.client.send(new GetObjectCommand({ Bucket, Key, ...more }));

describe('an object', () => {
  test('comes back with all that was said about it', async () => {
    await put('dump', {
      Metadata: { 'lifeboat-run-id': 'run-1', empty: '' },
      ContentType: 'application/gzip',
      ContentEncoding: 'gzip',
      CacheControl: 'no-store',
      StorageClass: 'STANDARD_IA',
      ServerSideEncryption: 'AES256',
      Tagging: 'a=1&b=x%20y',
    });
    expect(await head('dump')).toMatchObject({
      ContentLength: 5,
      ContentType: 'application/gzip',
      ContentEncoding: 'gzip',
      CacheControl: 'no-store',
      ETag: '"5d41402abc4b2a76b9719d911017c592"',
      ChecksumCRC32: 'NhCmhg==',
      ChecksumType: 'FULL_OBJECT',
      StorageClass: 'STANDARD_IA',
      ServerSideEncryption: 'AES256',
      TagCount: 2,
      Metadata: { 'lifeboat-run-id': 'run-1', empty: '' },
      AcceptRanges: 'bytes',
    });
  });

  test('is encrypted with AES256 and of class STANDARD, which is not said, where nothing was asked for', async () => {
    await put('plain');
    const { ServerSideEncryption, StorageClass } = await head('plain');
    expect([ServerSideEncryption, StorageClass]).toEqual(['AES256', undefined]);
  });

  test('under a KMS key names the key by its ARN', async () => {
    const answer = await put('kms', { ServerSideEncryption: 'aws:kms', SSEKMSKeyId: '1234-abcd' });
    const arn = 'arn:aws:kms:us-east-1:000000000000:key/1234-abcd';
    expect(answer).toMatchObject({ ServerSideEncryption: 'aws:kms', SSEKMSKeyId: arn });
    expect(await head('kms')).toMatchObject({ ServerSideEncryption: 'aws:kms', SSEKMSKeyId: arn });
  });

  test('keeps metadata beyond ASCII as S3 does, in encoded words', async () => {
    await put('meta', { Metadata: { name: 'Käse' } });
    expect((await head('meta')).Metadata).toEqual({ name: '=?UTF-8?B?S8Okc2U=?=' });
  });

  test('that was streamed without being hashed first arrives whole', async () => {
    const chunks = Array.from({ length: 40 }, (_, index) => Buffer.alloc(50_000, index));
    await put('stream', { Body: Readable.from(chunks), ContentLength: 2_000_000 });
    const { Body, ChecksumCRC32 } = await get('stream', { ChecksumMode: 'ENABLED' });
    expect((await bytesOf(Body)).equals(Buffer.concat(chunks))).toBe(true);
    expect(ChecksumCRC32).toBeDefined();
  });

  test('of no bytes is an object', async () => {
    await put('empty', { Body: '' });
    expect((await bytesOf((await get('empty')).Body)).length).toBe(0);
    expect((await head('empty')).ContentLength).toBe(0);
  });

  test('is replaced by another of its key', async () => {
    await put('twice', { Body: 'one' });
    await put('twice', { Body: 'two!' });
    expect((await bytesOf((await get('twice')).Body)).toString()).toBe('two!');
  });

  test.each([
    ['StorageClass', { StorageClass: 'COLD' as never }, 'InvalidStorageClass'],
    ['encryption', { ServerSideEncryption: 'rot13' as never }, 'InvalidArgument'],
    ['metadata', { Metadata: { big: 'x'.repeat(2048) } }, 'MetadataTooLarge'],
    ['tags', { Tagging: Array.from({ length: 11 }, (_, n) => `t${n}=1`).join('&') }, 'InvalidTag'],
    ['key', { Key: 'k'.repeat(1025) }, 'KeyTooLongError'],
    ['bucket', { Bucket: 'nowhere' }, 'NoSuchBucket'],
  ])('is refused when its %s cannot be', async (_name, more, code) => {
    expect((await errorOf(put('refused', more))).name).toBe(code);
  });

  test('in an archive class must be restored before it can be read', async () => {
    await put('cold', { StorageClass: 'GLACIER' });
    expect(await errorOf(get('cold'))).toEqual({ name: 'InvalidObjectState', status: 403 });
    expect((await head('cold')).StorageClass).toBe('GLACIER');
  });

  test('tells its attributes', async () => {
    await put('dump');
    const wanted = ['ETag', 'Checksum', 'ObjectSize', 'StorageClass'] as const;
    const found = await fixture.client.send(
      new GetObjectAttributesCommand({ Bucket, Key: 'dump', ObjectAttributes: [...wanted] }),
    );
    expect(found).toMatchObject({
      ObjectSize: 5,
      StorageClass: 'STANDARD',
      Checksum: { ChecksumCRC32: 'NhCmhg==', ChecksumType: 'FULL_OBJECT' },
    });
  });
});

describe('what is not there', () => {
  test('is NoSuchKey for GET and a bare 404 for HEAD', async () => {
    expect(await errorOf(get('missing'))).toEqual({ name: 'NoSuchKey', status: 404 });
    expect(await errorOf(head('missing'))).toEqual({ name: 'NotFound', status: 404 });
  });

  test('is told in S3’s XML, with the request’s id', async () => {
    const { body, headers } = await signAndSend(fixture.s3, {
      method: 'GET',
      path: '/backups/missing%20key',
    });
    expect(body.toString()).toContain('<Code>NoSuchKey</Code>');
    expect(body.toString()).toContain('<Key>missing key</Key>');
    expect(body.toString()).toContain(`<RequestId>${String(headers['x-amz-request-id'])}</RequestId>`);
  });

  test('can be an operation, which is not taken for another one', async () => {
    await put('dump');
    for (const [method, query] of [
      ['PUT', 'acl'],
      ['DELETE', 'acl'],
      ['GET', 'torrent'],
      ['POST', 'select&select-type=2'],
    ] as const) {
      const answer = await signAndSend(fixture.s3, { method, path: '/backups/dump', query });
      expect([answer.status, answer.code]).toEqual([501, 'NotImplemented']);
    }
    expect((await head('dump')).ContentLength).toBe(5);
  });
});

describe('a range', () => {
  const body = Buffer.from('0123456789');
  beforeEach(async () => {
    await put('digits', { Body: body });
  });

  test.each([
    ['bytes=0-3', '0123', 'bytes 0-3/10'],
    ['bytes=4-', '456789', 'bytes 4-9/10'],
    ['bytes=-3', '789', 'bytes 7-9/10'],
    ['bytes=8-100', '89', 'bytes 8-9/10'],
    ['bytes=-100', '0123456789', 'bytes 0-9/10'],
  ])('%s gives %s', async (Range, text, ContentRange) => {
    const answer = await get('digits', { Range, ChecksumMode: 'ENABLED' });
    expect((await bytesOf(answer.Body)).toString()).toBe(text);
    expect(answer).toMatchObject({ ContentRange, ContentLength: text.length });
    expect([answer.$metadata.httpStatusCode, answer.ChecksumCRC32]).toEqual([206, undefined]);
  });

  test('beyond the end is refused', async () => {
    expect(await errorOf(get('digits', { Range: 'bytes=10-' }))).toEqual({
      name: 'InvalidRange',
      status: 416,
    });
  });

  test.each(['bytes=5-2', 'lines=1-2', 'bytes=-'])('that says %s is ignored', async (Range) => {
    const answer = await get('digits', { Range });
    expect([answer.$metadata.httpStatusCode, (await bytesOf(answer.Body)).length]).toEqual([200, 10]);
  });
});

describe('a condition', () => {
  const ETag = '"5d41402abc4b2a76b9719d911017c592"';
  beforeEach(async () => {
    await put('here');
  });

  test('of reading lets through what fits', async () => {
    await expect(get('here', { IfMatch: ETag })).resolves.toBeDefined();
    await expect(get('here', { IfNoneMatch: '"another"' })).resolves.toBeDefined();
    expect(await errorOf(get('here', { IfMatch: '"another"' }))).toMatchObject({ status: 412 });
    expect(await errorOf(get('here', { IfNoneMatch: ETag }))).toMatchObject({ status: 304 });
    const yesterday = new Date(Date.now() - 86_400_000);
    expect(await errorOf(get('here', { IfUnmodifiedSince: yesterday }))).toMatchObject({ status: 412 });
    await expect(get('here', { IfModifiedSince: yesterday })).resolves.toBeDefined();
  });

  test('If-None-Match: * refuses to replace, and lets a new key be', async () => {
    expect(await errorOf(put('here', { Body: 'other', IfNoneMatch: '*' }))).toEqual({
      name: 'PreconditionFailed',
      status: 412,
    });
    expect((await bytesOf((await get('here')).Body)).toString()).toBe('hello');
    await expect(put('new', { IfNoneMatch: '*' })).resolves.toBeDefined();
  });

  test('If-Match replaces only what was seen', async () => {
    expect((await errorOf(put('here', { IfMatch: '"another"' }))).status).toBe(412);
    expect((await errorOf(put('new', { IfMatch: ETag }))).name).toBe('NoSuchKey');
    await expect(put('here', { Body: 'other', IfMatch: ETag })).resolves.toBeDefined();
  });

  test('If-None-Match: * lets exactly one of several writers at once win', async () => {
    const writers = Array.from({ length: 8 }, (_, index) =>
      put('raced', { Body: Buffer.alloc(300_000, index), IfNoneMatch: '*' }).then(
        () => 200,
        (error: { $metadata: { httpStatusCode: number } }) => error.$metadata.httpStatusCode,
      ),
    );
    const statuses = (await Promise.all(writers)).sort((a, b) => a - b);
    expect(statuses).toEqual([200, 412, 412, 412, 412, 412, 412, 412]);
  });

  test('If-None-Match: * is a conflict when the object was removed while the body was on its way', async () => {
    const effect = { kind: 'bandwidth', bytesPerSecond: 200_000 } as const;
    fixture.s3.faults.add({ action: 'PutObject', key: 'gone', effect });
    const slow = errorOf(put('gone', { Body: Buffer.alloc(100_000), IfNoneMatch: '*' }));
    while (!fixture.s3.requests.some(({ key }) => key === 'gone')) await setImmediate();
    await put('gone', { Body: 'quick' });
    await fixture.client.send(new DeleteObjectCommand({ Bucket, Key: 'gone' }));
    expect(await slow).toEqual({ name: 'ConditionalRequestConflict', status: 409 });
  });
});

describe('the body of a put', () => {
  const raw = { method: 'PUT', path: '/backups/raw', body: Buffer.from('hello') };
  const md5 = 'XUFAKrxLKna5cZ2REBfFkg==';

  test.each([
    ['Content-MD5', { 'content-md5': md5 }, { 'content-md5': 'rL0Y20zC+Fzt72VPzMSk2A==' }],
    [
      'x-amz-checksum-sha256',
      { 'x-amz-checksum-sha256': 'LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=' },
      { 'x-amz-checksum-sha256': '47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=' },
    ],
    [
      'x-amz-checksum-sha1',
      { 'x-amz-checksum-sha1': 'qvTGHdzF6KLavt4PO0gs2a6pQ00=' },
      { 'x-amz-checksum-sha1': '2jmj7l5rSw0yVb/vlWAYkK/YBwk=' },
    ],
    ['x-amz-checksum-crc32', { 'x-amz-checksum-crc32': 'NhCmhg==' }, { 'x-amz-checksum-crc32': 'AAAAAA==' }],
  ])('is compared with %s', async (_name, right, wrong) => {
    expect((await signAndSend(fixture.s3, { ...raw, headers: wrong as Record<string, string> })).code).toBe(
      'BadDigest',
    );
    expect((await errorOf(head('raw'))).status).toBe(404);
    expect((await signAndSend(fixture.s3, { ...raw, headers: right as Record<string, string> })).status).toBe(
      200,
    );
  });

  test.each<[string, Record<string, string>, string]>([
    ['an MD5 that is none', { 'content-md5': 'abc' }, 'InvalidDigest'],
    ['a CRC that is none', { 'x-amz-checksum-crc32': 'nonsense' }, 'InvalidRequest'],
    [
      'two checksums',
      { 'x-amz-checksum-crc32': 'NhCmhg==', 'x-amz-checksum-sha1': 'qvTGHdzF6KLavt4PO0gs2a6pQ00=' },
      'InvalidRequest',
    ],
    ['only the name of a checksum', { 'x-amz-sdk-checksum-algorithm': 'CRC32' }, 'InvalidRequest'],
    [
      'a checksum that the server cannot compute',
      { 'x-amz-checksum-crc64nvme': 'M3eFcAZSQlc=' },
      'NotImplemented',
    ],
  ])('is refused with %s', async (_name, headers, code) => {
    expect((await signAndSend(fixture.s3, { ...raw, headers })).code).toBe(code);
  });

  test('needs a length', async () => {
    const { headers } = sign(fixture.s3, { ...raw, payloadHash: 'UNSIGNED-PAYLOAD' });
    const answer = await send(
      fixture.s3,
      { ...raw, body: undefined },
      { ...headers, 'transfer-encoding': 'chunked' },
    );
    expect([answer.status, answer.code]).toEqual([411, 'MissingContentLength']);
  });

  test('above 5 GiB is refused before it is sent', async () => {
    const { headers } = sign(fixture.s3, { ...raw, payloadHash: 'UNSIGNED-PAYLOAD' });
    const answer = await send(
      fixture.s3,
      { ...raw, body: undefined },
      {
        ...headers,
        'content-length': String(5 * 1024 ** 3 + 1),
        expect: '100-continue',
      },
    ).catch((error: Error) => error);
    expect(answer).toMatchObject({ status: 400, code: 'EntityTooLarge' });
  });
});

describe('tags', () => {
  test('are put, read, replaced and deleted', async () => {
    await put('dump', { Tagging: 'a=1' });
    const tags = async () =>
      (await fixture.client.send(new GetObjectTaggingCommand({ Bucket, Key: 'dump' }))).TagSet;
    expect(await tags()).toEqual([{ Key: 'a', Value: '1' }]);
    const TagSet = [
      { Key: 'lifeboat', Value: 'expirable' },
      { Key: 'odd', Value: ' <&> ' },
    ];
    await fixture.client.send(new PutObjectTaggingCommand({ Bucket, Key: 'dump', Tagging: { TagSet } }));
    expect(await tags()).toEqual(TagSet);
    await fixture.client.send(new DeleteObjectTaggingCommand({ Bucket, Key: 'dump' }));
    expect(await tags()).toEqual([]);
  });

  test('belong to an object that is there', async () => {
    const tagging = { Bucket, Key: 'missing', Tagging: { TagSet: [] } };
    expect((await errorOf(fixture.client.send(new PutObjectTaggingCommand(tagging)))).name).toBe('NoSuchKey');
  });
});

describe('a copy', () => {
  const copy = (Key: string, more: Partial<ConstructorParameters<typeof CopyObjectCommand>[0]> = {}) =>
    fixture.client.send(
      new CopyObjectCommand({ Bucket, Key, CopySource: `${Bucket}/${encodeURIComponent('a ü')}`, ...more }),
    );
  beforeEach(async () => {
    await put('a ü', { Metadata: { kept: 'yes' }, Tagging: 'a=1' });
  });

  test('has the bytes, metadata and tags of its source, which may then go', async () => {
    await copy('b', { StorageClass: 'STANDARD_IA' });
    await fixture.client.send(new DeleteObjectCommand({ Bucket, Key: 'a ü' }));
    expect((await bytesOf((await get('b')).Body)).toString()).toBe('hello');
    expect(await head('b')).toMatchObject({
      Metadata: { kept: 'yes' },
      TagCount: 1,
      StorageClass: 'STANDARD_IA',
      ChecksumCRC32: 'NhCmhg==',
    });
  });

  test('replaces metadata and tags when told to', async () => {
    await copy('b', { MetadataDirective: 'REPLACE', TaggingDirective: 'REPLACE', Metadata: { new: '1' } });
    const { Metadata, TagCount } = await head('b');
    expect([Metadata, TagCount]).toEqual([{ new: '1' }, undefined]);
  });

  test('of an object onto itself must change something', async () => {
    expect((await errorOf(copy('a ü'))).name).toBe('InvalidRequest');
    await copy('a ü', { StorageClass: 'STANDARD_IA' });
    expect((await bytesOf((await get('a ü')).Body)).toString()).toBe('hello');
    expect((await head('a ü')).StorageClass).toBe('STANDARD_IA');
  });

  test('of what is not there is refused', async () => {
    expect((await errorOf(copy('b', { CopySource: `${Bucket}/missing` }))).name).toBe('NoSuchKey');
  });
});

describe('deleting', () => {
  test('succeeds whether the object is there or not', async () => {
    await put('dump');
    await fixture.client.send(new DeleteObjectCommand({ Bucket, Key: 'dump' }));
    await fixture.client.send(new DeleteObjectCommand({ Bucket, Key: 'dump' }));
    expect((await errorOf(head('dump'))).status).toBe(404);
  });

  test('takes many at once, with keys that XML has to escape', async () => {
    const keys = ['a', ' <b> & "c" ', 'ü\r', '007', 'true'];
    for (const key of keys) await put(key);
    const { Deleted } = await fixture.client.send(
      new DeleteObjectsCommand({ Bucket, Delete: { Objects: keys.map((Key) => ({ Key })) } }),
    );
    expect(Deleted?.map(({ Key }) => Key)).toEqual(keys);
    for (const key of keys) expect((await errorOf(head(key))).status).toBe(404);
  });

  test('many at once needs a checksum of the list', async () => {
    const body = Buffer.from('<Delete><Object><Key>a</Key></Object></Delete>');
    const answer = await signAndSend(fixture.s3, { method: 'POST', path: '/backups', query: 'delete', body });
    expect(answer.code).toBe('InvalidRequest');
  });

  test.each([
    '<Delete><Object></Delete>',
    '<Else/>',
    '',
    'text',
    '<Delete><Object><Key>a\u0001</Key></Object></Delete>',
    '<Delete><Object><Key>a&#x1;</Key></Object></Delete>',
    '<Delete><Object><Key>a&#55296;</Key></Object></Delete>',
  ])('refuses the list %j', async (text) => {
    const body = Buffer.from(text);
    const headers = { 'content-md5': createHash('md5').update(body).digest('base64') };
    const answer = await signAndSend(fixture.s3, {
      method: 'POST',
      path: '/backups',
      query: 'delete',
      body,
      headers,
    });
    expect([answer.status, answer.code]).toEqual([400, 'MalformedXML']);
  });
});
