import './one-realm.ts';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { S3ClientConfig } from '@aws-sdk/client-s3';
import type { Environment } from '../../scripts/agent/environment.ts';
import type { ObjectStore } from '../../scripts/agent/ports/store.ts';
import { openS3Store } from '../../scripts/agent/s3/s3-store.ts';
import type { S3Settings } from '../../scripts/agent/settings.ts';
import { startLocalS3, type LocalS3, type LocalS3Options } from '../../scripts/local-aws/s3/server.ts';

/** The local S3 on a temporary folder with one bucket, `backups`, and stores opened on it. */
export interface LocalS3Fixture {
  readonly s3: LocalS3;
  /** @param environment laid over what reaches the server */
  open(options?: OpenOptions): ObjectStore;
  close(): Promise<void>;
}

interface OpenOptions {
  readonly settings?: Partial<S3Settings>;
  readonly environment?: Environment;
  readonly clientOverrides?: Partial<S3ClientConfig>;
}

export async function startLocalS3Fixture(
  bucket: { versioned?: boolean } = {},
  options: Pick<LocalS3Options, 'authorize'> = {},
): Promise<LocalS3Fixture> {
  const folder = await mkdtemp(join(tmpdir(), 'lifeboat-s3-'));
  const s3 = await startLocalS3({ folder, ...options });
  await s3.createBucket('backups', bucket);
  const stores: ObjectStore[] = [];
  return {
    s3,
    open: ({ settings, environment, clientOverrides = {} } = {}) => {
      const store = openS3Store(
        { bucket: 'backups', prefix: 'database', stateBucket: 'backups', kmsKeyId: undefined, ...settings },
        { environment: { ...environmentFor(s3), ...environment }, clientOverrides },
      );
      stores.push(store);
      return store;
    },
    close: async () => {
      for (const store of stores) store.close();
      await s3.close();
      await rm(folder, { recursive: true });
    },
  };
}

function environmentFor({ endpoint, region, credentials }: LocalS3): Environment {
  return {
    AWS_ENDPOINT_URL_S3: endpoint,
    AWS_REGION: region,
    AWS_ACCESS_KEY_ID: credentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
  };
}
