import { S3Client } from '@aws-sdk/client-s3';
import { systemClock } from './clock.ts';
import { openBucket, type Bucket } from './bucket.ts';
import { requireVariable } from './environment.ts';

/** Rides out about a minute of 503s. */
const MAX_ATTEMPTS = 8;

/** Both buckets, with one client. */
export function openBuckets(): { backups: Bucket; state: Bucket } {
  const client = new S3Client({
    maxAttempts: MAX_ATTEMPTS,
    requestHandler: { connectionTimeout: 5_000, socketTimeout: 30_000 },
  });
  return {
    backups: openBucket(client, requireVariable('bucket'), systemClock),
    state: openBucket(client, requireVariable('stateBucket'), systemClock),
  };
}
