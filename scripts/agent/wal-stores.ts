import { LifeboatError } from '../../lib/domain/errors.ts';
import type { WalStores } from './catalog/wal.ts';
import type { Context } from './context.ts';
import { openS3Store, type S3StoreOptions } from './s3/s3-store.ts';
import type { ObjectStore } from './ports/store.ts';
import type { S3Settings } from './settings.ts';

/** `undefined` without a bucket: WAL is kept in S3 alone. */
export function openWalStores({ settings, stores, interrupted }: Context): WalStores | undefined {
  const [, backups] = stores;
  const { s3, environment } = settings;
  return s3 && backups && withState(s3, backups, { environment, interrupted });
}

/** @throws LifeboatError SETTINGS_INVALID without a bucket */
export function requireWalStores(context: Context): WalStores {
  return openWalStores(context) ?? refuseWithoutBucket();
}

/**
 * With a patience, or a deadline, other than the command's own.
 * @throws LifeboatError SETTINGS_INVALID without a bucket
 */
export function openWalStoresAnew(s3: S3Settings | undefined, options: S3StoreOptions): WalStores {
  if (!s3) return refuseWithoutBucket();
  return withState(s3, openS3Store(s3, options), options);
}

function withState(s3: S3Settings, backups: ObjectStore, options: S3StoreOptions): WalStores {
  const isSame = s3.stateBucket === s3.bucket;
  return { backups, state: isSame ? backups : openS3Store({ ...s3, bucket: s3.stateBucket }, options) };
}

function refuseWithoutBucket(): never {
  throw new LifeboatError('SETTINGS_INVALID', 'S3_BUCKET is not set: WAL is kept in S3 alone', {
    hint: 'Set it in the environment or in .env, as in: export S3_BUCKET=hostmaster-backups',
  });
}
