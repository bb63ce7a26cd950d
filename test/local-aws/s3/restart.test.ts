import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  GetBucketVersioningCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { bytesOf, errorOf, SILENT } from './local-s3-fixture.ts';

const MAIN = join(import.meta.dirname, '../../../scripts/local-aws/main.ts');
const Bucket = 'backups';

let folder: string;
const started: Running[] = [];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'local-s3-'));
});
afterEach(async () => {
  for (const { child, client } of started.splice(0)) {
    client.destroy();
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
  }
  await rm(folder, { recursive: true });
});

interface Running {
  readonly child: ChildProcess;
  readonly client: S3Client;
  readonly output: string;
}

/** The server as a process of its own, reached by what it prints. */
async function start(...more: string[]): Promise<Running> {
  const args = [MAIN, '--folder', folder, '--bucket', Bucket, ...more];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  while (!output.includes('AWS_SECRET_ACCESS_KEY=')) {
    const [text] = (await once(child.stdout, 'data')) as [Buffer];
    output += text.toString();
  }
  const exported = Object.fromEntries(
    [...output.matchAll(/^export (\w+)=(\S+)$/gm)].map(([, name = '', value = '']) => [name, value]),
  );
  const client = new S3Client({
    endpoint: exported['AWS_ENDPOINT_URL_S3'] ?? '',
    region: exported['AWS_REGION'] ?? '',
    credentials: {
      accessKeyId: exported['AWS_ACCESS_KEY_ID'] ?? '',
      secretAccessKey: exported['AWS_SECRET_ACCESS_KEY'] ?? '',
    },
    forcePathStyle: true,
    maxAttempts: 1,
    logger: SILENT,
  });
  const running = { child, client, output };
  started.push(running);
  return running;
}

async function stop({ child }: Running, signal: NodeJS.Signals): Promise<unknown> {
  const exited = once(child, 'exit');
  child.kill(signal);
  return (await exited)[0];
}

test('a server killed and started again on its folder has its objects and its unfinished uploads', async () => {
  const first = await start('--versioned');
  const put = new PutObjectCommand({
    Bucket,
    Key: 'a/ü',
    Body: 'kept',
    Metadata: { m: '1' },
    Tagging: 't=1',
  });
  const { VersionId } = await first.client.send(put);
  const upload = { Bucket, Key: 'parts' };
  const { UploadId } = await first.client.send(
    new CreateMultipartUploadCommand({ ...upload, ChecksumAlgorithm: 'CRC32', ChecksumType: 'FULL_OBJECT' }),
  );
  const part = { ...upload, UploadId, PartNumber: 1, Body: 'part' };
  const { ETag } = await first.client.send(new UploadPartCommand(part));
  await stop(first, 'SIGKILL');

  const { client } = await start();
  expect((await client.send(new GetBucketVersioningCommand({ Bucket }))).Status).toBe('Enabled');
  const found = await client.send(new GetObjectCommand({ Bucket, Key: 'a/ü' }));
  expect(found).toMatchObject({
    VersionId,
    Metadata: { m: '1' },
    TagCount: 1,
    ChecksumCRC32: expect.anything(),
  });
  expect((await bytesOf(found.Body)).toString()).toBe('kept');
  const Parts = [{ PartNumber: 1, ETag }];
  await client.send(new CompleteMultipartUploadCommand({ ...upload, UploadId, MultipartUpload: { Parts } }));
  expect((await client.send(new HeadObjectCommand(upload))).ContentLength).toBe(4);
});

test('what was being received when the server was killed is gone, and its bytes too', async () => {
  const first = await start();
  const half = Readable.from(
    (async function* () {
      yield Buffer.alloc(3_000_000);
      await sleep(60_000, undefined, { ref: false });
    })(),
  );
  const put = errorOf(
    first.client.send(new PutObjectCommand({ Bucket, Key: 'half', Body: half, ContentLength: 6_000_000 })),
  );
  const incoming = join(folder, 'buckets', Bucket, 'incoming');
  while ((await readdir(incoming)).length === 0) await sleep(20);
  await stop(first, 'SIGKILL');
  await put;

  const { client } = await start();
  expect((await errorOf(client.send(new HeadObjectCommand({ Bucket, Key: 'half' })))).status).toBe(404);
  expect(await readdir(incoming)).toEqual([]);
});

test('SIGTERM ends it at once and well', async () => {
  expect(await stop(await start(), 'SIGTERM')).toBe(0);
});

test('memory does not grow with the body', async () => {
  const { child, client } = await start();
  const peakMebibytes = async (): Promise<number> => {
    const status = await readFile(`/proc/${child.pid}/status`, 'utf8');
    return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) / 1024;
  };
  const size = 320 * 1024 * 1024;
  const chunk = Buffer.alloc(1024 * 1024, 'x');
  const Body = Readable.from(
    (function* () {
      for (let sent = 0; sent < size; sent += chunk.length) yield chunk;
    })(),
  );
  const before = await peakMebibytes();
  await client.send(new PutObjectCommand({ Bucket, Key: 'large', Body, ContentLength: size }));
  const { Body: read } = await client.send(new GetObjectCommand({ Bucket, Key: 'large' }));
  let received = 0;
  for await (const piece of read as Readable) received += (piece as Buffer).length;
  expect(received).toBe(size);
  expect((await peakMebibytes()) - before).toBeLessThan(160);
});

test('it can speak https', async () => {
  const key = join(folder, 'key.pem');
  const cert = join(folder, 'cert.pem');
  const subject = ['-subj', '/CN=local', '-addext', 'subjectAltName=IP:127.0.0.1'];
  const request = [
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-days',
    '2',
  ];
  await promisify(execFile)('openssl', [...request, ...subject, '-keyout', key, '-out', cert]);
  const { output, child } = await start('--tls-key', key, '--tls-cert', cert);
  const endpoint = /^endpoint: (\S+)$/m.exec(output)?.[1] ?? '';
  expect(endpoint).toMatch(/^https:/);
  const script = `const r = await fetch('${endpoint}/_local/faults'); process.stdout.write(String(r.status));`;
  const env = { ...process.env, NODE_EXTRA_CA_CERTS: cert };
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], {
    env,
  });
  expect(stdout).toBe('200');
  expect(child.exitCode).toBeNull();
});

test('it says how it is used when no folder is given', async () => {
  const failed = await promisify(execFile)(process.execPath, [MAIN]).catch((error: unknown) => error);
  expect(failed).toMatchObject({ code: 2, stdout: expect.stringContaining('--folder DIR') as string });
});
