import { GetObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import { errorOf, startFixture, type Fixture } from './local-s3-fixture.ts';
import { send, sha256, sign, signAndSend, type Signing } from './signed-request.ts';

let fixture: Fixture;
beforeAll(async () => {
  fixture = await startFixture({ server: { now: () => Date.now() } });
  await fixture.client.send(new PutObjectCommand({ Bucket: 'backups', Key: 'here', Body: 'hello' }));
});
afterAll(() => fixture.close());

const GET = { method: 'GET', path: '/backups/here' };
const minutesFromNow = (minutes: number): Date => new Date(Date.now() + minutes * 60_000);

describe('a signature in the Authorization header', () => {
  test('lets the request through when it is right', async () => {
    const { status, body } = await signAndSend(fixture.s3, GET);
    expect([status, body.toString()]).toEqual([200, 'hello']);
  });

  test.each<[string, Signing, number, string]>([
    ['another secret', { secretAccessKey: 'wrong' }, 403, 'SignatureDoesNotMatch'],
    ['an unknown access key', { accessKeyId: 'NOBODY' }, 403, 'InvalidAccessKeyId'],
    ['another region', { region: 'eu-west-1' }, 400, 'AuthorizationHeaderMalformed'],
    ['another service', { service: 'sns' }, 400, 'AuthorizationHeaderMalformed'],
    ['a clock 16 minutes behind', { date: minutesFromNow(-16) }, 403, 'RequestTimeTooSkewed'],
    ['a clock 16 minutes ahead', { date: minutesFromNow(16) }, 403, 'RequestTimeTooSkewed'],
  ])('is refused when made with %s', async (_name, signing, status, code) => {
    const answer = await signAndSend(fixture.s3, GET, signing);
    expect([answer.status, answer.code]).toEqual([status, code]);
  });

  test('takes a clock that is 14 minutes off', async () => {
    const answer = await signAndSend(fixture.s3, GET, { date: minutesFromNow(-14) });
    expect(answer.status).toBe(200);
  });

  test.each([
    ['the key', { ...GET, path: '/backups/other' }],
    ['the method', { ...GET, method: 'DELETE' }],
    ['the query', { ...GET, query: 'tagging' }],
  ])('does not cover a request whose %s was changed on the way', async (_name, changed) => {
    const { headers } = sign(fixture.s3, GET);
    const answer = await send(fixture.s3, changed, headers);
    expect([answer.status, answer.code]).toEqual([403, 'SignatureDoesNotMatch']);
  });

  test('does not cover a header whose value was changed on the way', async () => {
    const raw = { method: 'PUT', path: '/backups/x', headers: { 'x-amz-storage-class': 'STANDARD_IA' } };
    const { headers } = sign(fixture.s3, raw);
    const answer = await send(fixture.s3, raw, { ...headers, 'x-amz-storage-class': 'GLACIER' });
    expect(answer.code).toBe('SignatureDoesNotMatch');
  });

  test('must cover every x-amz- header that is sent', async () => {
    const raw = { method: 'PUT', path: '/backups/x', headers: { 'x-amz-meta-added': '1' } };
    const answer = await signAndSend(fixture.s3, raw, { unsigned: ['x-amz-meta-added'] });
    expect([answer.status, answer.code]).toEqual([403, 'AccessDenied']);
  });

  test('is asked for: an anonymous request is denied', async () => {
    const answer = await send(fixture.s3, GET, {});
    expect([answer.status, answer.code]).toEqual([403, 'AccessDenied']);
  });

  test('is refused without the hash of the payload', async () => {
    const { 'x-amz-content-sha256': _hash, ...headers } = sign(fixture.s3, GET).headers;
    const answer = await send(fixture.s3, GET, headers);
    expect([answer.status, answer.code]).toEqual([400, 'InvalidRequest']);
  });

  test.each(['AWS4-HMAC-SHA256 Credential=a/b', 'AWS4-HMAC-SHA256 nonsense'])(
    'is refused when it is only "%s"',
    async (authorization) => {
      const { headers } = sign(fixture.s3, GET);
      const answer = await send(fixture.s3, GET, { ...headers, authorization });
      expect([answer.status, answer.code]).toEqual([400, 'AuthorizationHeaderMalformed']);
    },
  );

  test('of the second version is not supported, as in newer regions of S3', async () => {
    const { headers } = sign(fixture.s3, GET);
    const answer = await send(fixture.s3, GET, { ...headers, authorization: 'AWS key:signature' });
    expect(answer.code).toBe('InvalidRequest');
  });

  test('covers keys with any characters as the SDK encodes them', async () => {
    const keys = ['a b\'"$(x)', 'ü/ß/日本', '../../etc/passwd', 'a//b/', '%41+~!*()', '😀;&=?#'];
    for (const Key of keys) {
      await fixture.client.send(new PutObjectCommand({ Bucket: 'backups', Key, Body: Key }));
      const { Body } = await fixture.client.send(new GetObjectCommand({ Bucket: 'backups', Key }));
      expect(await Body?.transformToString()).toBe(Key);
    }
  });

  test('with a session token is refused where the credentials have none', async () => {
    const client = fixture.newClient({
      credentials: { ...fixture.s3.credentials, sessionToken: 'unknown' },
    });
    const error = await errorOf(client.send(new GetObjectCommand({ Bucket: 'backups', Key: 'here' })));
    expect(error).toEqual({ name: 'InvalidToken', status: 400 });
  });
});

describe('a signed payload', () => {
  const PUT = { method: 'PUT', path: '/backups/put', body: Buffer.from('what was meant') };

  test('that was changed on the way is refused and not stored', async () => {
    const { headers } = sign(fixture.s3, PUT);
    const answer = await send(fixture.s3, { ...PUT, body: Buffer.from('what was sentt') }, headers);
    expect([answer.status, answer.code]).toEqual([400, 'XAmzContentSHA256Mismatch']);
    expect((await signAndSend(fixture.s3, { method: 'HEAD', path: PUT.path })).status).toBe(404);
  });

  test.each(['nonsense', sha256('').toUpperCase(), 'STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD'])(
    'is refused when its hash is said to be %s',
    async (payloadHash) => {
      const answer = await signAndSend(fixture.s3, { ...PUT, payloadHash });
      expect([answer.status, answer.code]).toEqual([400, 'InvalidArgument']);
    },
  );

  test('may be left unsigned', async () => {
    const answer = await signAndSend(fixture.s3, { ...PUT, payloadHash: 'UNSIGNED-PAYLOAD' });
    expect(answer.status).toBe(200);
  });
});

describe('a presigned URL', () => {
  /** Signed in the query, with `host` the only signed header, as AWS describes it. */
  function presign(expires: number, date: Date): string {
    const { s3 } = fixture;
    const stamp = date.toISOString().replace(/[-:]|\.\d+/g, '');
    const scope = `${stamp.slice(0, 8)}/${s3.region}/s3/aws4_request`;
    const query = [
      'X-Amz-Algorithm=AWS4-HMAC-SHA256',
      `X-Amz-Credential=${encodeURIComponent(`${s3.credentials.accessKeyId}/${scope}`)}`,
      `X-Amz-Date=${stamp}`,
      `X-Amz-Expires=${expires}`,
      'X-Amz-SignedHeaders=host',
    ].join('&');
    const { signature } = sign(
      s3,
      { method: 'GET', path: GET.path, query, payloadHash: 'UNSIGNED-PAYLOAD' },
      { date, unsigned: ['x-amz-date', 'x-amz-content-sha256'] },
    );
    return `${query}&X-Amz-Signature=${signature}`;
  }

  test('lets anyone read who has it', async () => {
    const answer = await send(fixture.s3, { ...GET, query: presign(60, new Date()) }, {});
    expect(answer.body.toString()).toBe('hello');
  });

  test('is refused once it has expired', async () => {
    const answer = await send(fixture.s3, { ...GET, query: presign(60, minutesFromNow(-2)) }, {});
    expect([answer.status, answer.code]).toEqual([403, 'AccessDenied']);
  });

  test('opens no other object', async () => {
    const query = presign(60, new Date());
    const answer = await send(fixture.s3, { method: 'GET', path: '/backups/other', query }, {});
    expect(answer.code).toBe('SignatureDoesNotMatch');
  });
});
