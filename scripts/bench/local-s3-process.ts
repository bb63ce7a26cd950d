import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { DeleteObjectsCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3';
import { LifeboatError } from '../../lib/domain/errors.ts';

const PROGRAM = path.resolve(import.meta.dirname, '../local-aws/main.ts');

/** The local S3 as a process of its own, as S3 is another machine's: nothing that it does is counted as ours. */
export interface LocalS3Process {
  readonly pid: number;
  /** AWS' own variables, as the agent and the SDK read them. */
  readonly env: Readonly<Record<string, string>>;
  readonly bucket: string;
  empty(): Promise<void>;
  stop(): Promise<void>;
}

/** Files in PEM, to speak https with. */
export interface Certificate {
  readonly key: string;
  readonly certificate: string;
}

/** @throws LifeboatError S3_UNAVAILABLE when it does not start */
export async function startLocalS3Process(
  folder: string,
  bucket: string,
  tls?: Certificate,
): Promise<LocalS3Process> {
  // Real S3 works on machines of its own; this one shares our cores, so it is spared what it can be: the MD5 of every
  // body, and a third of its CPU time that goes into marking the heap whenever some megabytes of bodies came in.
  const flags = ['--no-incremental-marking'];
  const args = [...flags, PROGRAM, '--folder', folder, '--bucket', bucket, '--random-etags'];
  if (tls) args.push('--tls-key', tls.key, '--tls-cert', tls.certificate);
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'], detached: true });
  const env = {
    ...(await readExports(child)),
    ...(tls ? { NODE_EXTRA_CA_CERTS: tls.certificate } : {}),
  };
  return {
    pid: child.pid ?? 0,
    env,
    bucket,
    empty: () => emptyBucket(env, bucket),
    stop: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const gone = once(child, 'exit');
      child.kill('SIGTERM');
      await gone;
    },
  };
}

/** It prints what to export once it listens. */
async function readExports(child: ChildProcess): Promise<Record<string, string>> {
  const env: Record<string, string> = {};
  for await (const line of createInterface({ input: child.stdout! })) {
    const [, name, value] = /^export (\w+)=(.*)$/.exec(line) ?? [];
    if (name && value !== undefined) env[name] = value;
    if (name === 'AWS_SECRET_ACCESS_KEY') return env;
  }
  throw new LifeboatError('S3_UNAVAILABLE', 'The local S3 did not start', { hint: 'See its message above.' });
}

async function emptyBucket(env: Readonly<Record<string, string>>, bucket: string): Promise<void> {
  const client = new S3Client({
    endpoint: env['AWS_ENDPOINT_URL_S3'] ?? '',
    region: env['AWS_REGION'] ?? '',
    forcePathStyle: true,
    credentials: {
      accessKeyId: env['AWS_ACCESS_KEY_ID'] ?? '',
      secretAccessKey: env['AWS_SECRET_ACCESS_KEY'] ?? '',
    },
  });
  try {
    const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket: bucket }));
    if (Contents.length === 0) return;
    const Objects = Contents.map(({ Key }) => ({ Key }));
    await client.send(new DeleteObjectsCommand({ Bucket: bucket, Delete: { Objects } }));
  } finally {
    client.destroy();
  }
}
