import type { Context } from './context.ts';
import { openS3Store } from './s3/s3-store.ts';
import type { WalStores } from './catalog/wal.ts';

/** `undefined` without a bucket: WAL is kept in S3 alone. */
export function openWalStores({ settings, stores, interrupted }: Context): WalStores | undefined {
  const [, backups] = stores;
  const { s3, environment } = settings;
  if (!s3 || !backups) return undefined;
  if (s3.stateBucket === s3.bucket) return { backups, state: backups };
  return { backups, state: openS3Store({ ...s3, bucket: s3.stateBucket }, { environment, interrupted }) };
}
