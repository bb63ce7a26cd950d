import { setTimeout as sleep } from 'node:timers/promises';
import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { bytesOf, errorOf, startFixture, type Fixture } from './local-s3-fixture.ts';
import { signAndSend } from './signed-request.ts';

const Bucket = 'backups';
const Key = 'dump';
const body = Buffer.alloc(400_000, 'abc');

let fixture: Fixture;
beforeEach(async () => {
  fixture = await startFixture();
});
afterEach(() => fixture.close());

const put = (key = Key) => fixture.client.send(new PutObjectCommand({ Bucket, Key: key, Body: body }));
const get = () => fixture.client.send(new GetObjectCommand({ Bucket, Key }));
const head = (key = Key) => fixture.client.send(new HeadObjectCommand({ Bucket, Key: key }));
const statuses = (action: string) =>
  fixture.s3.requests.filter((request) => request.action === action).map(({ status }) => status);

describe('SlowDown', () => {
  test('is answered as often as asked for, then no more', async () => {
    const { faults } = fixture.s3;
    const fault = faults.slowDown({ action: 'PutObject', times: 2 });
    expect(await errorOf(put())).toEqual({ name: 'SlowDown', status: 503 });
    expect(await errorOf(put())).toEqual({ name: 'SlowDown', status: 503 });
    await put();
    expect(statuses('PutObject')).toEqual([503, 503, 200]);
    expect(faults.list()).toEqual([{ id: fault.id, rule: fault.rule, hits: 2 }]);
  });

  test('is answered for ever until it is taken away', async () => {
    const { id } = fixture.s3.faults.slowDown({ times: 'always' });
    for (let attempt = 0; attempt < 5; attempt += 1) expect((await errorOf(put())).status).toBe(503);
    expect(fixture.s3.faults.remove(id)).toBe(true);
    await put();
  });

  test('is survived by a client that tries again', async () => {
    fixture.s3.faults.slowDown({ times: 2 });
    await fixture.newClient({ maxAttempts: 3 }).send(new PutObjectCommand({ Bucket, Key, Body: 'x' }));
  });

  test('can ask for patience', async () => {
    const effect = { kind: 'error', status: 503, code: 'SlowDown', retryAfterSeconds: 7 } as const;
    fixture.s3.faults.add({ effect });
    const { headers } = await signAndSend(fixture.s3, { method: 'GET', path: '/backups/x' });
    expect(headers['retry-after']).toBe('7');
  });
});

describe('a rule', () => {
  test('hits only its action, bucket and keys', async () => {
    fixture.s3.faults.deny({ action: ['PutObject', 'CopyObject'], bucket: Bucket, key: 'app/*.gz' });
    expect(await errorOf(put('app/a (1).gz'))).toEqual({ name: 'AccessDenied', status: 403 });
    await put('app/a.json');
    await put('other/a.gz');
    await fixture.client.send(new ListObjectsV2Command({ Bucket }));
  });

  test('lets the first ones pass when told to', async () => {
    fixture.s3.faults.slowDown({ action: 'PutObject', skip: 1, times: 1 });
    await put();
    expect((await errorOf(put())).status).toBe(503);
    await put();
  });

  test('that makes no sense is refused', () => {
    expect(() => fixture.s3.faults.add({ effect: { kind: 'explode' } as never })).toThrow(/effect/);
  });
});

describe('a connection that is cut', () => {
  const cut = /ECONNRESET|socket hang up|aborted|EPIPE/;

  test('while the request arrives stores nothing', async () => {
    fixture.s3.faults.add({ action: 'PutObject', effect: { kind: 'cut-request', afterBytes: 100_000 } });
    await expect(put()).rejects.toThrow(cut);
    expect((await errorOf(head())).status).toBe(404);
    expect(statuses('PutObject')).toEqual([0]);
    await put();
  });

  test('on arrival answers nothing', async () => {
    await put();
    fixture.s3.faults.add({ action: 'HeadObject', effect: { kind: 'cut-request', afterBytes: 0 } });
    await expect(head()).rejects.toThrow(cut);
    await head();
  });

  test('while the answer is on its way leaves half an object with the reader', async () => {
    await put();
    fixture.s3.faults.add({ action: 'GetObject', effect: { kind: 'cut-response', afterBytes: 100_000 } });
    const { Body } = await get();
    await expect(bytesOf(Body)).rejects.toThrow(cut);
  });

  test('before the answer has done the work all the same', async () => {
    fixture.s3.faults.add({ action: 'PutObject', effect: { kind: 'lose-answer' } });
    await expect(put()).rejects.toThrow(cut);
    expect((await head()).ContentLength).toBe(body.length);
  });

  test('before the answer to a conditional put makes the next try meet its own object', async () => {
    fixture.s3.faults.add({ action: 'PutObject', effect: { kind: 'lose-answer' } });
    const client = fixture.newClient({ maxAttempts: 3 });
    const conditional = new PutObjectCommand({ Bucket, Key, Body: 'mine', IfNoneMatch: '*' });
    expect(await errorOf(client.send(conditional))).toEqual({ name: 'PreconditionFailed', status: 412 });
  });
});

describe('a flipped bit', () => {
  test('in what is received is noticed, and nothing is stored', async () => {
    fixture.s3.faults.add({ action: 'PutObject', effect: { kind: 'flip-request', offset: 123_456 } });
    expect(await errorOf(put())).toEqual({ name: 'XAmzContentSHA256Mismatch', status: 400 });
    expect((await errorOf(head())).status).toBe(404);
  });

  test('in an unsigned payload is noticed by its checksum', async () => {
    fixture.s3.faults.add({ effect: { kind: 'flip-request', offset: 0 } });
    const answer = await signAndSend(fixture.s3, {
      method: 'PUT',
      path: '/backups/dump',
      payloadHash: 'UNSIGNED-PAYLOAD',
      headers: { 'x-amz-checksum-crc32': 'NhCmhg==' },
      body: Buffer.from('hello'),
    });
    expect([answer.status, answer.code]).toEqual([400, 'BadDigest']);
  });

  test('in an unsigned payload without a checksum is stored: nobody could know', async () => {
    fixture.s3.faults.add({ effect: { kind: 'flip-request', offset: 0 } });
    const raw = {
      method: 'PUT',
      path: '/backups/dump',
      payloadHash: 'UNSIGNED-PAYLOAD',
      body: Buffer.from('hello'),
    };
    expect((await signAndSend(fixture.s3, raw)).status).toBe(200);
    expect((await bytesOf((await get()).Body)).toString()).toBe('iello');
  });

  test('in what is sent reaches the reader, and the stored object stays whole', async () => {
    await put();
    fixture.s3.faults.add({ action: 'GetObject', effect: { kind: 'flip-response', offset: 300_001 } });
    const client = fixture.newClient({ responseChecksumValidation: 'WHEN_REQUIRED' });
    const { Body } = await client.send(new GetObjectCommand({ Bucket, Key }));
    const found = await bytesOf(Body);
    expect(found.findIndex((byte, index) => byte !== body[index])).toBe(300_001);
    expect((await bytesOf((await get()).Body)).equals(body)).toBe(true);
  });
});

describe('a slow line', () => {
  test('takes as long as its bandwidth says, in either direction', async () => {
    const { faults } = fixture.s3;
    faults.add({ times: 2, effect: { kind: 'bandwidth', bytesPerSecond: 1_000_000 } });
    for (const call of [put, async () => bytesOf((await get()).Body)]) {
      const before = Date.now();
      await call();
      expect(Date.now() - before).toBeGreaterThan(350);
    }
  });

  test.each([
    ['held up', { kind: 'delay', milliseconds: 3_600_000 }],
    ['on a slow line', { kind: 'bandwidth', bytesPerSecond: 1 }],
  ] as const)('lets what is %s go on as soon as the faults are cleared', async (_what, effect) => {
    const fault = fixture.s3.faults.add({ action: 'PutObject', times: 'always', effect });
    const done = put();
    while (fault.hits === 0) await sleep(5);
    fixture.s3.faults.clear();
    await done;
    expect((await bytesOf((await get()).Body)).equals(body)).toBe(true);
  });

  test('that the client gives up does not hold the server', async () => {
    fixture.s3.faults.add({ times: 'always', effect: { kind: 'delay', milliseconds: 3_600_000 } });
    const abortSignal = AbortSignal.timeout(50);
    const given = fixture.client.send(new HeadObjectCommand({ Bucket, Key }), { abortSignal });
    expect((await errorOf(given)).name).toMatch(/Abort|Timeout/);
  });
});

test('a completion can fail after S3 has said 200', async () => {
  const { UploadId } = await fixture.client.send(
    new CreateMultipartUploadCommand({
      Bucket,
      Key,
      ChecksumAlgorithm: 'CRC32',
      ChecksumType: 'FULL_OBJECT',
    }),
  );
  const { ETag } = await fixture.client.send(
    new UploadPartCommand({ Bucket, Key, UploadId, PartNumber: 1, Body: body }),
  );
  const effect = { kind: 'error', status: 200, code: 'InternalError' } as const;
  fixture.s3.faults.add({ action: 'CompleteMultipartUpload', effect });
  const complete = () =>
    fixture.client.send(
      new CompleteMultipartUploadCommand({
        Bucket,
        Key,
        UploadId,
        MultipartUpload: { Parts: [{ PartNumber: 1, ETag }] },
      }),
    );
  expect((await errorOf(complete())).name).toBe('InternalError');
  await complete();
});

describe('over HTTP', () => {
  const control = (path: string, init?: RequestInit) => fetch(`${fixture.s3.endpoint}/_local/${path}`, init);

  test('rules are added, listed with their hits, and removed', async () => {
    const rule = {
      action: 'PutObject',
      times: 'always',
      effect: { kind: 'error', status: 500, code: 'InternalError' },
    };
    const added = await control('faults', { method: 'POST', body: JSON.stringify(rule) });
    const { id } = (await added.json()) as { id: number };
    expect(added.status).toBe(201);
    expect((await errorOf(put())).status).toBe(500);
    expect(await (await control('faults')).json()).toEqual([{ id, rule, hits: 1 }]);
    expect((await control(`faults/${id}`, { method: 'DELETE' })).status).toBe(204);
    await put();
    await control('faults', { method: 'POST', body: JSON.stringify(rule) });
    await control('faults', { method: 'DELETE' });
    expect(fixture.s3.faults.list()).toEqual([]);
  });

  test('what was asked for is told', async () => {
    await put();
    const requests = (await (await control('requests')).json()) as object[];
    expect(requests).toMatchObject([
      { method: 'PUT', bucket: Bucket, key: Key, action: 'PutObject', status: 200 },
    ]);
    expect(JSON.stringify(requests)).not.toContain('Signature=');
  });

  test.each(['{', '{}', '{"effect":{"kind":"delay"}}'])('the rule %s is refused', async (text) => {
    expect((await control('faults', { method: 'POST', body: text })).status).toBe(400);
  });

  test('nothing else is there', async () => {
    expect((await control('buckets')).status).toBe(404);
  });
});

describe('clients that go away in the midst of a request', () => {
  test('do not keep the server from closing', async () => {
    for (let request = 0; request < 100; request += 1) {
      const leaving = AbortSignal.timeout(request % 6);
      const command = new PutObjectCommand({ Bucket, Key: `${Key}-${request}`, Body: 'x' });
      await fixture.client.send(command, { abortSignal: leaving }).catch(() => 'gone');
    }
    await fixture.s3.close();
    expect(statuses('PutObject').length).toBeGreaterThan(0);
  });
});
