import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { crc32 } from 'node:zlib';
import type { S3ClientConfig } from '@aws-sdk/client-s3';
import { encodeCrc32 } from '../../../lib/domain/crc32.ts';
import type { Environment } from '../../../scripts/agent/environment.ts';
import { releaseMemory } from '../../../scripts/agent/data-path/release-memory.ts';
import type { ObjectStore } from '../../../scripts/agent/ports/store.ts';
import { openS3Store } from '../../../scripts/agent/s3/s3-store.ts';

interface Sent {
  readonly protocol: string;
  readonly hostname: string;
  readonly method: string;
  readonly path: string;
  readonly query: Record<string, string>;
  readonly headers: Record<string, string>;
  readonly body: Buffer | undefined;
}

const KEYS = { AWS_ACCESS_KEY_ID: 'AKIDEXAMPLE', AWS_SECRET_ACCESS_KEY: 'secret' };
const SETTINGS = { bucket: 'backups', prefix: 'database', stateBucket: 'backups', kmsKeyId: undefined };
const LARGE = randomBytes(1_000_000);
const LIST = '<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>';

/** A store whose requests end here instead of on the network, in the form in which they would go out. */
function recordingStore(environment: Environment, kmsKeyId?: string): { store: ObjectStore; sent: Sent[] } {
  const sent: Sent[] = [];
  const handle = (request: Sent) => {
    sent.push(request);
    return Promise.resolve({ response: answer(request) });
  };
  const requestHandler = { handle } as unknown as NonNullable<S3ClientConfig['requestHandler']>;
  const store = openS3Store({ ...SETTINGS, kmsKeyId }, { environment, clientOverrides: { requestHandler } });
  return { store, sent };
}

function answer({ method, query }: Sent): object {
  if (method === 'HEAD') {
    return { statusCode: 200, headers: { 'content-length': '3', 'x-amz-checksum-crc32': 'NSRBwg==' } };
  }
  if (method === 'GET' && 'list-type' in query) {
    return { statusCode: 200, headers: {}, body: Readable.from([Buffer.from(LIST)]) };
  }
  return { statusCode: 200, headers: { etag: '"1"' }, body: Readable.from([]) };
}

async function firstRequest(environment: Environment): Promise<Sent> {
  const { store, sent } = recordingStore(environment);
  await store.check({ writable: false });
  return sent[0] as Sent;
}

describe('The S3 client', () => {
  const exported = { ...process.env };

  beforeEach(() => {
    for (const name of Object.keys(process.env)) if (name.startsWith('AWS_')) delete process.env[name];
    process.env['AWS_CONFIG_FILE'] = '/nonexistent';
    process.env['AWS_SHARED_CREDENTIALS_FILE'] = '/nonexistent';
  });

  afterAll(() => {
    process.env = exported;
  });

  it('is not loaded before the store is used', async () => {
    const script = `
      const { openS3Store } = await import('./scripts/agent/s3/s3-store.ts');
      openS3Store(${JSON.stringify(SETTINGS)}, { environment: {} }).close();
      const { createRequire } = await import('node:module');
      const loaded = Object.keys(createRequire(import.meta.url).cache);
      console.log(loaded.filter((path) => path.includes('aws-sdk')).length);`;
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script]);
    expect(stdout.trim()).toBe('0');
  });

  it('takes keys, session, region and endpoint from the given environment, which may be a .env file’s', async () => {
    const request = await firstRequest({
      ...KEYS,
      AWS_SESSION_TOKEN: 'token',
      AWS_REGION: 'eu-central-1',
      AWS_ENDPOINT_URL_S3: 'https://s3.example.com',
      AWS_ENDPOINT_URL: 'https://elsewhere.example.com',
    });
    expect(request.hostname).toBe('backups.s3.example.com');
    expect(request.headers['authorization']).toContain('Credential=AKIDEXAMPLE/');
    expect(request.headers['authorization']).toContain('/eu-central-1/s3/');
    expect(request.headers['x-amz-security-token']).toBe('token');
  });

  it.each(['http://127.0.0.1:9000', 'http://[::1]:9000', 'http://localhost:9000', 'https://minio:9000'])(
    'puts the bucket into the path at %s',
    async (endpoint) => {
      const request = await firstRequest({ ...KEYS, AWS_ENDPOINT_URL_S3: endpoint });
      expect(`${request.protocol}//${request.hostname}:9000`).toBe(endpoint);
      expect(request.path).toMatch(/^\/backups\/?$/);
    },
  );

  it('puts the bucket into the path where S3_FORCE_PATH_STYLE says so', async () => {
    const endpoint = { ...KEYS, AWS_ENDPOINT_URL_S3: 'https://s3.example.com' };
    expect((await firstRequest({ ...endpoint, S3_FORCE_PATH_STYLE: 'true' })).hostname).toBe(
      's3.example.com',
    );
    expect((await firstRequest({ ...endpoint, S3_FORCE_PATH_STYLE: 'false' })).hostname).toBe(
      'backups.s3.example.com',
    );
  });

  it('knows AWS_DEFAULT_REGION as the AWS CLI does, after AWS_REGION', async () => {
    expect((await firstRequest({ ...KEYS, AWS_DEFAULT_REGION: 'eu-west-3' })).hostname).toBe(
      'backups.s3.eu-west-3.amazonaws.com',
    );
    expect(
      (await firstRequest({ ...KEYS, AWS_DEFAULT_REGION: 'eu-west-3', AWS_REGION: 'eu-west-1' })).hostname,
    ).toBe('backups.s3.eu-west-1.amazonaws.com');
  });

  it('takes keys and region from the profile that only the given environment names', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'lifeboat-aws-'));
    try {
      await writeFile(
        join(folder, 'credentials'),
        '[backup]\naws_access_key_id = AKIDPROFILE\naws_secret_access_key = secret\n',
      );
      await writeFile(join(folder, 'config'), '[profile backup]\nregion = sa-east-1\n');
      delete process.env['AWS_CONFIG_FILE'];
      delete process.env['AWS_SHARED_CREDENTIALS_FILE'];
      const request = await firstRequest({
        AWS_PROFILE: 'backup',
        AWS_SHARED_CREDENTIALS_FILE: join(folder, 'credentials'),
        AWS_CONFIG_FILE: join(folder, 'config'),
      });
      expect(request.headers['authorization']).toContain('Credential=AKIDPROFILE/');
      expect(request.hostname).toBe('backups.s3.sa-east-1.amazonaws.com');
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('asks the instance for its region where nothing else tells', async () => {
    const asked: string[] = [];
    const metadata = await listen(
      createServer((request, response) => {
        asked.push(
          `${request.method} ${request.url} ${String(request.headers['x-aws-ec2-metadata-token'] ?? '')}`.trim(),
        );
        response.end(request.method === 'PUT' ? 'TOKEN' : 'ap-south-1');
      }),
    );
    try {
      const request = await firstRequest({ ...KEYS, AWS_EC2_METADATA_SERVICE_ENDPOINT: metadata.url });
      expect(request.hostname).toBe('backups.s3.ap-south-1.amazonaws.com');
      expect(asked).toEqual(['PUT /latest/api/token', 'GET /latest/meta-data/placement/region TOKEN']);
    } finally {
      metadata.server.close();
    }
  });

  it.each([
    ['the region is not known', { ...KEYS, AWS_EC2_METADATA_DISABLED: 'true' }, 'AWS_REGION'],
    ['the endpoint is no URL', { ...KEYS, AWS_ENDPOINT_URL_S3: 's3.example.com' }, 's3.example.com'],
    ['the tries are no number', { ...KEYS, AWS_REGION: 'us-east-1', AWS_MAX_ATTEMPTS: 'many' }, 'many'],
  ])('says that %s', async (_case, environment, part) => {
    const refused = firstRequest(environment);
    await expect(refused).rejects.toMatchObject({ code: 'SETTINGS_INVALID' });
    await expect(refused).rejects.toThrow(part);
  });

  it('says that there are no credentials', async () => {
    const environment = { AWS_REGION: 'us-east-1', AWS_EC2_METADATA_DISABLED: 'true' };
    await expect(firstRequest(environment)).rejects.toMatchObject({ code: 'S3_DENIED' });
  });

  it('reads again what stopped midway without a word', async () => {
    let asked = 0;
    const silent = await listen(
      createServer((_request, response) => {
        response.writeHead(200, { 'content-length': '6' }).write('abc');
        if (++asked === 2) response.end('def');
      }),
    );
    const store = openS3Store(SETTINGS, {
      environment: { ...KEYS, AWS_ENDPOINT_URL_S3: silent.url },
      clientOverrides: { requestHandler: { socketTimeout: 1500 } },
    });
    try {
      expect((await store.read('a_db_1.sql.gz')).toString()).toBe('abcdef');
      expect(asked).toBe(2);
    } finally {
      store.close();
      silent.server.closeAllConnections();
      silent.server.close();
    }
  });

  it('leaves the body unsigned over https, where the checksum guards it, and signs it over http', async () => {
    for (const [endpoint, hash] of [
      ['https://s3.example.com', 'UNSIGNED-PAYLOAD'],
      ['http://s3.example.com', 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'],
    ]) {
      const { store, sent } = recordingStore({ ...KEYS, AWS_ENDPOINT_URL_S3: endpoint });
      await store.putOnce('a_db_1.sql.gz', Buffer.from('abc'));
      expect(sent[0]?.headers).toMatchObject({
        'x-amz-content-sha256': hash,
        'x-amz-checksum-crc32': 'NSRBwg==',
        'content-length': '3',
        'if-none-match': '*',
        'x-amz-storage-class': 'STANDARD',
        'x-amz-server-side-encryption': 'AES256',
      });
      const names = Object.keys(sent[0]?.headers ?? {});
      // No trailer (look-alikes refuse it), no wait for "100 Continue", no tag, no ACL.
      for (const absent of ['transfer-encoding', 'x-amz-trailer', 'expect', 'x-amz-tagging', 'x-amz-acl']) {
        expect(names).not.toContain(absent);
      }
    }
  });

  it('sends a body in pieces over https, all of them again with the next try', async () => {
    const bodies: Buffer[][] = [];
    const handle = async ({ body }: { body: Readable }) => {
      bodies.push((await body.toArray()) as Buffer[]);
      const statusCode = bodies.length === 1 ? 503 : 200;
      const headers = { 'x-amz-checksum-crc32': encodeCrc32(crc32(LARGE)) };
      return { response: { statusCode, headers, body: Readable.from([]) } };
    };
    const requestHandler = { handle } as unknown as NonNullable<S3ClientConfig['requestHandler']>;
    const environment = { ...KEYS, AWS_ENDPOINT_URL_S3: 'https://s3.example.com' };
    const store = openS3Store(SETTINGS, { environment, clientOverrides: { requestHandler } });
    await store.putOnce('a_db_1.sql.gz', LARGE);
    expect(bodies).toHaveLength(2);
    for (const pieces of bodies) {
      expect(Buffer.concat(pieces).equals(LARGE)).toBe(true);
      expect(Math.max(...pieces.map(({ length }) => length))).toBeLessThan(LARGE.length / 2);
    }
  });

  it('does not end a body whose memory was given back before it was sent whole', async () => {
    const bodies: Readable[] = [];
    const large = Buffer.alloc(2_000_000);
    const headers = { 'x-amz-checksum-crc32': encodeCrc32(crc32(large)) };
    const handle = ({ body }: { body: Readable }) => {
      bodies.push(body);
      return Promise.resolve({ response: { statusCode: 200, headers, body: Readable.from([]) } });
    };
    const requestHandler = { handle } as unknown as NonNullable<S3ClientConfig['requestHandler']>;
    const environment = { ...KEYS, AWS_ENDPOINT_URL_S3: 'https://s3.example.com' };
    const store = openS3Store(SETTINGS, { environment, clientOverrides: { requestHandler } });
    await store.putOnce('a_db_1.sql.gz', large);
    releaseMemory(large);
    const body = bodies[0]!.resume();
    await new Promise(setImmediate);
    expect(body.readableEnded).toBe(false);
    body.destroy();
  });

  it('encrypts with the KMS key of S3_KMS_KEY_ID', async () => {
    const { store, sent } = recordingStore({ ...KEYS, AWS_REGION: 'us-east-1' }, 'alias/backups');
    await store.putOnce('a_db_1.sql.gz', Buffer.from('abc'));
    expect(sent[0]?.headers).toMatchObject({
      'x-amz-server-side-encryption': 'aws:kms',
      'x-amz-server-side-encryption-aws-kms-key-id': 'alias/backups',
    });
  });
});

async function listen(server: Server): Promise<{ server: Server; url: string }> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}
