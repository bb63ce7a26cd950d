import { createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import type { Readable } from 'node:stream';
import { GetObjectCommand, HeadBucketCommand, ListObjectsCommand, S3Client } from '@aws-sdk/client-s3';
import type { Principal } from '../access/principal.ts';
import type { LocalS3 } from '../s3/server.ts';
import type { ObjectSource } from '../ssm/step.ts';

/** S3 as aws:downloadContent uses it, with the host’s own credentials and the agent’s own sequence of calls. */
export function hostObjects({ endpoint, region }: LocalS3, { credentials }: Principal): ObjectSource {
  const client = new S3Client({ endpoint, region, credentials, forcePathStyle: true });
  // The agent looks for the bucket’s region and for a folder of that name; a role that may only read the object can do
  // neither, and that is no obstacle.
  const tryTo = async <T>(call: Promise<T>): Promise<T | undefined> => call.catch(() => undefined);
  return {
    isFolder: async (bucket, key) => {
      await tryTo(client.send(new HeadBucketCommand({ Bucket: bucket })));
      const listed = await tryTo(client.send(new ListObjectsCommand({ Bucket: bucket, Prefix: `${key}/` })));
      return (listed?.Contents ?? []).length > 0;
    },
    download: async (bucket, key, file) => {
      const { Body } = await client.send(new GetObjectCommand({ Bucket: bucket, Key: key }));
      await pipeline(Body as Readable, createWriteStream(file));
    },
  };
}
