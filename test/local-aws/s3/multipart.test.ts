import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListPartsCommand,
  PutObjectCommand,
  UploadPartCommand,
  type CompletedPart,
  type CompleteMultipartUploadCommandInput,
  type CreateMultipartUploadCommandInput,
} from '@aws-sdk/client-s3';
import { bytesOf, errorOf, startFixture, type Fixture } from './local-s3-fixture.ts';

let fixture: Fixture;
beforeEach(async () => {
  fixture = await startFixture();
});
afterEach(() => fixture.close());

const Bucket = 'backups';
const MIB = 1024 ** 2;
const CRC32 = { ChecksumAlgorithm: 'CRC32', ChecksumType: 'FULL_OBJECT' } as const;

/** Different bytes for each part, so that a wrong order would show. */
const partBody = (partNumber: number, size: number): Buffer =>
  Buffer.alloc(size, Buffer.from(`part ${partNumber} `));

function crc32Of(...data: Buffer[]): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(crc32(Buffer.concat(data)));
  return bytes.toString('base64');
}

interface Started {
  readonly Key: string;
  readonly UploadId: string;
  readonly parts: CompletedPart[];
  readonly bodies: Buffer[];
}

async function start(
  Key: string,
  more: Partial<CreateMultipartUploadCommandInput> = CRC32,
): Promise<Started> {
  const { UploadId } = await fixture.client.send(new CreateMultipartUploadCommand({ Bucket, Key, ...more }));
  return { Key, UploadId: UploadId ?? '', parts: [], bodies: [] };
}

async function upload(started: Started, PartNumber: number, size: number): Promise<void> {
  const { Key, UploadId } = started;
  const Body = partBody(PartNumber, size);
  const { ETag, ChecksumCRC32, ChecksumSHA256 } = await fixture.client.send(
    new UploadPartCommand({ Bucket, Key, UploadId, PartNumber, Body }),
  );
  started.parts.push({ PartNumber, ETag, ChecksumCRC32, ChecksumSHA256 });
  started.bodies.push(Body);
}

async function startWithParts(Key: string, sizes: readonly number[], more = CRC32): Promise<Started> {
  const started = await start(Key, more);
  for (const [index, size] of sizes.entries()) await upload(started, index + 1, size);
  return started;
}

const complete = (
  { Key, UploadId, parts }: Started,
  more: Partial<CompleteMultipartUploadCommandInput> = {},
  Parts: readonly CompletedPart[] = parts,
) =>
  fixture.client.send(
    new CompleteMultipartUploadCommand({
      Bucket,
      Key,
      UploadId,
      MultipartUpload: { Parts: [...Parts] },
      ...more,
    }),
  );
const head = (Key: string) =>
  fixture.client.send(new HeadObjectCommand({ Bucket, Key, ChecksumMode: 'ENABLED' }));
const dataFiles = (): Promise<string[]> => readdir(join(fixture.folder, 'buckets', Bucket, 'data'));

describe('a multipart upload', () => {
  test('becomes one object, its parts in order, with the checksum of the whole', async () => {
    const started = await startWithParts('dump', [5 * MIB, 5 * MIB, 17]);
    const whole = Buffer.concat(started.bodies);
    const { ETag, ChecksumCRC32 } = await complete(started, {
      ChecksumCRC32: crc32Of(whole),
      ChecksumType: 'FULL_OBJECT',
      MpuObjectSize: whole.length,
    });
    expect(ETag).toMatch(/^"[0-9a-f]{32}-3"$/);
    expect(ChecksumCRC32).toBe(crc32Of(whole));
    const answer = await fixture.client.send(new GetObjectCommand({ Bucket, Key: 'dump' }));
    expect((await bytesOf(answer.Body)).equals(whole)).toBe(true);
    expect(await head('dump')).toMatchObject({
      ContentLength: whole.length,
      ChecksumCRC32: crc32Of(whole),
      ChecksumType: 'FULL_OBJECT',
    });
  });

  test('keeps what was said at its start', async () => {
    const started = await start('dump', {
      ...CRC32,
      Metadata: { run: '1' },
      StorageClass: 'STANDARD_IA',
      ServerSideEncryption: 'aws:kms',
      SSEKMSKeyId: 'arn:aws:kms:us-east-1:1:key/k',
      Tagging: 'a=1',
      ContentType: 'application/zstd',
    });
    await upload(started, 1, 10);
    await complete(started);
    expect(await head('dump')).toMatchObject({
      Metadata: { run: '1' },
      StorageClass: 'STANDARD_IA',
      ServerSideEncryption: 'aws:kms',
      SSEKMSKeyId: 'arn:aws:kms:us-east-1:1:key/k',
      TagCount: 1,
      ContentType: 'application/zstd',
    });
  });

  test('gives a range that spans parts, and a part by its number', async () => {
    const started = await startWithParts('dump', [5 * MIB, 5 * MIB, 100]);
    await complete(started);
    const whole = Buffer.concat(started.bodies);
    const range = await fixture.client.send(
      new GetObjectCommand({ Bucket, Key: 'dump', Range: `bytes=${5 * MIB - 3}-${10 * MIB + 4}` }),
    );
    expect((await bytesOf(range.Body)).equals(whole.subarray(5 * MIB - 3, 10 * MIB + 5))).toBe(true);
    const part = await fixture.client.send(new GetObjectCommand({ Bucket, Key: 'dump', PartNumber: 3 }));
    expect((await bytesOf(part.Body)).equals(partBody(3, 100))).toBe(true);
    expect(part.PartsCount).toBe(3);
  });

  test('is invisible until it is complete', async () => {
    await startWithParts('dump', [100]);
    expect((await errorOf(head('dump'))).status).toBe(404);
  });

  test('may take its parts in any order, leave numbers out, and replace one', async () => {
    const started = await start('dump');
    await upload(started, 9000, 10);
    await upload(started, 3, 6 * MIB);
    await upload(started, 3, 5 * MIB);
    const [last, , first] = started.parts;
    await complete(started, {}, [first ?? {}, last ?? {}]);
    expect((await head('dump')).ContentLength).toBe(5 * MIB + 10);
    expect(await dataFiles()).toHaveLength(2);
  });

  test('leaves out and removes the parts that completion does not list', async () => {
    const started = await startWithParts('dump', [10, 20]);
    await complete(started, {}, started.parts.slice(1));
    expect((await head('dump')).ContentLength).toBe(20);
    expect(await dataFiles()).toHaveLength(1);
  });

  test('that is aborted leaves nothing', async () => {
    const { Key, UploadId, ...started } = await startWithParts('dump', [100, 100]);
    await fixture.client.send(new AbortMultipartUploadCommand({ Bucket, Key, UploadId }));
    expect(await dataFiles()).toEqual([]);
    expect((await errorOf(complete({ Key, UploadId, ...started }))).name).toBe('NoSuchUpload');
    expect((await errorOf(upload({ Key, UploadId, ...started }, 3, 1))).name).toBe('NoSuchUpload');
  });

  test('answers a repeated completion as the first', async () => {
    const started = await startWithParts('dump', [100]);
    const first = await complete(started, { IfNoneMatch: '*' });
    const second = await complete(started, { IfNoneMatch: '*' });
    expect(second.ETag).toBe(first.ETag);
  });

  test('says NoSuchUpload for a repeated completion once the object is gone', async () => {
    const started = await startWithParts('dump', [100]);
    await complete(started);
    await fixture.client.send(new DeleteObjectCommand({ Bucket, Key: 'dump' }));
    expect((await errorOf(complete(started))).name).toBe('NoSuchUpload');
  });
});

describe('completion refuses', () => {
  test('a part below 5 MiB that is not the last', async () => {
    const started = await startWithParts('dump', [5 * MIB - 1, 5 * MIB]);
    expect(await errorOf(complete(started))).toEqual({ name: 'EntityTooSmall', status: 400 });
  });

  test('parts out of order', async () => {
    const started = await startWithParts('dump', [5 * MIB, 10]);
    expect((await errorOf(complete(started, {}, started.parts.toReversed()))).name).toBe('InvalidPartOrder');
  });

  test.each<[string, CompletedPart]>([
    ['another ETag', { ETag: '"0123456789abcdef0123456789abcdef"' }],
    ['another number', { PartNumber: 2 }],
    ['another checksum', { ChecksumCRC32: 'AAAAAA==' }],
  ])('a part with %s', async (_name, wrong) => {
    const started = await startWithParts('dump', [10]);
    expect((await errorOf(complete(started, {}, [{ ...started.parts[0], ...wrong }]))).name).toBe(
      'InvalidPart',
    );
  });

  test('an empty list', async () => {
    const started = await startWithParts('dump', [10]);
    expect((await errorOf(complete(started, {}, []))).name).toBe('MalformedXML');
  });

  test('a whole of another checksum', async () => {
    const started = await startWithParts('dump', [5 * MIB, 10]);
    expect((await errorOf(complete(started, { ChecksumCRC32: 'AAAAAA==' }))).name).toBe('BadDigest');
    expect((await errorOf(head('dump'))).status).toBe(404);
    await complete(started, { ChecksumCRC32: crc32Of(...started.bodies) });
  });

  test('a whole of another size or checksum type', async () => {
    const started = await startWithParts('dump', [10]);
    expect((await errorOf(complete(started, { MpuObjectSize: 11 }))).name).toBe('InvalidRequest');
    expect((await errorOf(complete(started, { ChecksumType: 'COMPOSITE' }))).name).toBe('InvalidRequest');
  });

  test('an existing key with If-None-Match: *, and keeps the upload', async () => {
    await fixture.client.send(new PutObjectCommand({ Bucket, Key: 'dump', Body: 'first' }));
    const started = await startWithParts('dump', [10]);
    expect(await errorOf(complete(started, { IfNoneMatch: '*' }))).toEqual({
      name: 'PreconditionFailed',
      status: 412,
    });
    expect((await head('dump')).ContentLength).toBe(5);
    await complete(started);
    expect((await head('dump')).ContentLength).toBe(10);
  });

  test('all but one of several at once with If-None-Match: *', async () => {
    const uploads = await Promise.all([1, 2, 3, 4].map(() => startWithParts('raced', [1000])));
    const statuses = await Promise.all(
      uploads.map((started) =>
        complete(started, { IfNoneMatch: '*' }).then(
          () => 200,
          (error: { $metadata: { httpStatusCode: number } }) => error.$metadata.httpStatusCode,
        ),
      ),
    );
    expect(statuses.sort((a, b) => a - b)).toEqual([200, 412, 412, 412]);
  });

  test('an upload of another key', async () => {
    const started = await startWithParts('dump', [10]);
    expect((await errorOf(complete({ ...started, Key: 'other' }))).name).toBe('NoSuchUpload');
  });
});

describe('the checksum of a multipart object', () => {
  test.each(['CRC32', 'SHA256'] as const)('of type COMPOSITE is one of the parts’ %s', async (algorithm) => {
    const started = await start('dump', { ChecksumAlgorithm: algorithm });
    const client = fixture.newClient({ requestChecksumCalculation: 'WHEN_REQUIRED' });
    for (const PartNumber of [1, 2]) {
      const { ETag, ChecksumCRC32, ChecksumSHA256 } = await client.send(
        new UploadPartCommand({
          Bucket,
          Key: 'dump',
          UploadId: started.UploadId,
          PartNumber,
          Body: partBody(PartNumber, 5 * MIB),
          ChecksumAlgorithm: algorithm,
        }),
      );
      started.parts.push({ PartNumber, ETag, ChecksumCRC32, ChecksumSHA256 });
    }
    const found = await complete(started);
    expect(found.ChecksumType).toBe('COMPOSITE');
    expect(found[`Checksum${algorithm}`]).toMatch(/^[A-Za-z0-9+/]+=*-2$/);
  });

  test('of type COMPOSITE needs every part’s', async () => {
    const started = await start('dump', { ChecksumAlgorithm: 'CRC32' });
    await upload(started, 1, 10);
    const parts = started.parts.map(({ PartNumber, ETag }) => ({ PartNumber, ETag }));
    expect((await errorOf(complete(started, {}, parts))).name).toBe('InvalidRequest');
    await complete(started);
  });

  test('of type FULL_OBJECT needs none of the parts’', async () => {
    const started = await start('dump');
    const client = fixture.newClient({ requestChecksumCalculation: 'WHEN_REQUIRED' });
    const Body = partBody(1, 10);
    const { ETag } = await client.send(
      new UploadPartCommand({ Bucket, Key: 'dump', UploadId: started.UploadId, PartNumber: 1, Body }),
    );
    const { ChecksumCRC32 } = await complete(started, {}, [{ PartNumber: 1, ETag }]);
    expect(ChecksumCRC32).toBe(crc32Of(Body));
  });

  test('of type FULL_OBJECT cannot be a SHA-256', async () => {
    const wrong = start('dump', { ChecksumAlgorithm: 'SHA256', ChecksumType: 'FULL_OBJECT' });
    expect((await errorOf(wrong)).name).toBe('InvalidRequest');
  });

  test('must be announced at the start', async () => {
    const client = fixture.newClient({ requestChecksumCalculation: 'WHEN_REQUIRED' });
    const { UploadId } = await client.send(new CreateMultipartUploadCommand({ Bucket, Key: 'dump' }));
    const part = { Bucket, Key: 'dump', UploadId, PartNumber: 1, Body: 'x' };
    expect((await errorOf(fixture.client.send(new UploadPartCommand(part)))).name).toBe('InvalidRequest');
    await client.send(new UploadPartCommand(part));
  });
});

describe('listing', () => {
  test('uploads goes page by page, and stops at a prefix', async () => {
    for (const key of ['b', 'a/1', 'a/2', 'a/2', 'c']) await start(key);
    const found: (string | undefined)[] = [];
    let markers: { KeyMarker?: string | undefined; UploadIdMarker?: string | undefined } = {};
    for (let page = 0; page < 5; page += 1) {
      const answer = await fixture.client.send(
        new ListMultipartUploadsCommand({ Bucket, MaxUploads: 2, ...markers }),
      );
      found.push(...(answer.Uploads ?? []).map(({ Key }) => Key));
      if (answer.IsTruncated !== true) break;
      markers = { KeyMarker: answer.NextKeyMarker, UploadIdMarker: answer.NextUploadIdMarker };
    }
    expect(found).toEqual(['a/1', 'a/2', 'a/2', 'b', 'c']);
    const prefixed = await fixture.client.send(new ListMultipartUploadsCommand({ Bucket, Prefix: 'a/' }));
    expect(prefixed.Uploads).toHaveLength(3);
    expect(prefixed.Uploads?.[0]?.Initiated).toBeInstanceOf(Date);
  });

  test('parts goes page by page', async () => {
    const started = await startWithParts('dump', [5 * MIB, 10, 20]);
    const { Key, UploadId } = started;
    const first = await fixture.client.send(new ListPartsCommand({ Bucket, Key, UploadId, MaxParts: 2 }));
    expect(first).toMatchObject({ IsTruncated: true, NextPartNumberMarker: '2' });
    expect(first.Parts?.map(({ Size }) => Size)).toEqual([5 * MIB, 10]);
    expect(first.Parts?.[0]?.ChecksumCRC32).toBe(started.parts[0]?.ChecksumCRC32);
    const second = await fixture.client.send(
      new ListPartsCommand({ Bucket, Key, UploadId, PartNumberMarker: '2' }),
    );
    expect(second.Parts?.map(({ PartNumber }) => PartNumber)).toEqual([3]);
  });
});

test.each([0, 10_001, 1.5])('a part cannot have the number %d', async (PartNumber) => {
  const { Key, UploadId } = await start('dump');
  const part = new UploadPartCommand({ Bucket, Key, UploadId, PartNumber, Body: 'x' });
  expect((await errorOf(fixture.client.send(part))).name).toBe('InvalidArgument');
});
