import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3';
import { startLocalS3, type LocalS3, type LocalS3Options } from '../../../scripts/local-aws/s3/server.ts';

/** A local S3 on a temporary folder with one bucket, `backups`, and SDK clients for it. */
export interface Fixture {
  readonly s3: LocalS3;
  readonly folder: string;
  readonly client: S3Client;
  newClient(config?: Partial<S3ClientConfig>): S3Client;
  close(): Promise<void>;
}

interface FixtureOptions {
  readonly server?: Partial<LocalS3Options>;
  readonly bucket?: Parameters<LocalS3['createBucket']>[1];
}

export async function startFixture({ server = {}, bucket = {} }: FixtureOptions = {}): Promise<Fixture> {
  const folder = await mkdtemp(join(tmpdir(), 'local-s3-'));
  const s3 = await startLocalS3({ folder, ...server });
  await s3.createBucket('backups', bucket);
  const clients: S3Client[] = [];
  const newClient = (config: Partial<S3ClientConfig> = {}): S3Client => {
    const client = clientFor(s3, config);
    clients.push(client);
    return client;
  };
  return {
    s3,
    folder,
    client: newClient(),
    newClient,
    close: async () => {
      for (const client of clients) client.destroy();
      await s3.close();
      await rm(folder, { recursive: true });
    },
  };
}

/** One attempt only, unless the test says otherwise: faults are to be seen. */
function clientFor(s3: LocalS3, config: Partial<S3ClientConfig> = {}): S3Client {
  const { endpoint, region, credentials } = s3;
  return new S3Client({
    endpoint,
    region,
    credentials,
    forcePathStyle: true,
    maxAttempts: 1,
    logger: SILENT,
    ...config,
  });
}

const ignore = (): void => undefined;
/** The SDK's advice on streams is not what these tests are about. */
export const SILENT = { debug: ignore, info: ignore, warn: ignore, error: ignore };

/** The error that a call ends in, as the SDK shows it: its name and HTTP status. */
export async function errorOf(call: Promise<unknown>): Promise<{ name: string; status: number | undefined }> {
  try {
    await call;
  } catch (error) {
    const { name, $metadata } = error as { name: string; $metadata?: { httpStatusCode?: number } };
    return { name, status: $metadata?.httpStatusCode };
  }
  throw new Error('the call succeeded');
}

export async function bytesOf(body: unknown): Promise<Buffer> {
  return Buffer.from(await (body as { transformToByteArray(): Promise<Uint8Array> }).transformToByteArray());
}
