import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Bucket, type BucketSettings } from './bucket.ts';
import { s3Error } from './s3-error.ts';
import { jsonFilesIn, namesIn } from './state-files.ts';

/** Bucket names are also folder names: this pattern leaves nothing that a path could trip on. */
const BUCKET_NAME = /^(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;

/** All buckets of one server, in one folder. */
export class Store {
  readonly #folder: string;
  readonly #buckets = new Map<string, Bucket>();

  constructor(folder: string) {
    this.#folder = join(folder, 'buckets');
    mkdirSync(this.#folder, { recursive: true });
    for (const name of namesIn(this.#folder)) {
      const bucketFolder = join(this.#folder, name);
      // A folder without settings is a bucket that a killed server was still making or removing.
      if (jsonFilesIn(bucketFolder).length > 0) this.#buckets.set(name, Bucket.load(name, bucketFolder));
    }
  }

  buckets(): readonly Bucket[] {
    return [...this.#buckets.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  find(name: string): Bucket | undefined {
    return this.#buckets.get(name);
  }

  /** @throws S3Error NoSuchBucket */
  bucket(name: string): Bucket {
    const bucket = this.#buckets.get(name);
    if (bucket === undefined)
      throw s3Error('NoSuchBucket', 'The specified bucket does not exist', { fields: { BucketName: name } });
    return bucket;
  }

  /** @throws S3Error InvalidBucketName, BucketAlreadyOwnedByYou */
  create(name: string, settings: Omit<BucketSettings, 'createdAt' | 'documents'>): Bucket {
    if (!BUCKET_NAME.test(name))
      throw s3Error('InvalidBucketName', 'The specified bucket is not valid.', {
        fields: { BucketName: name },
      });
    if (this.#buckets.has(name))
      throw s3Error(
        'BucketAlreadyOwnedByYou',
        'Your previous request to create the named bucket succeeded and you already own it.',
        { fields: { BucketName: name } },
      );
    const bucket = Bucket.create(name, join(this.#folder, name), {
      ...settings,
      createdAt: Date.now(),
      documents: {},
    });
    this.#buckets.set(name, bucket);
    return bucket;
  }

  /** @throws S3Error NoSuchBucket, BucketNotEmpty */
  delete(name: string): void {
    const bucket = this.bucket(name);
    if (bucket.keys.size > 0)
      throw s3Error('BucketNotEmpty', 'The bucket you tried to delete is not empty', {
        fields: { BucketName: name },
      });
    bucket.removeFolder();
    this.#buckets.delete(name);
  }
}
