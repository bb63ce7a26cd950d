/**
 * Where backups lie: the local folder and the bucket keep the same promises, proven by one contract suite
 * (test/contract/object-store.contract.ts).
 *
 * - An object is whole or absent: readers never see half of one.
 * - Writes are write-once: an existing object is never replaced. Meeting one's own object (same size, same CRC-32:
 *   the answer to an earlier try was lost) is success; meeting anything else throws OBJECT_EXISTS.
 * - What is returned from a write was confirmed by the store: fsynced file and folder, or S3's own checksum.
 * - Retries on passing faults happen inside; what is thrown is final, a LifeboatError.
 */
export interface ObjectStore {
  readonly kind: 'local' | 's3';
  /** The URL or path of `key`, for people: `s3://bucket/prefix/key` or `/var/backups/app/key`. */
  urlOf(key: string): string;
  /** Every object whose key starts with `prefix`, in no promised order. Keys are relative to the store's root/prefix. */
  list(prefix: string): AsyncIterable<ListedObject>;
  /**
   * What a file browser shows as folders: of all keys that start with `prefix`, which ends in a slash, the names up to the
   * next slash, each once, however many keys lie below.
   */
  folders(prefix: string): AsyncIterable<string>;
  /** `undefined` when there is no such object. */
  head(key: string): Promise<StoredObject | undefined>;
  /** Bytes `[offset, offset + length)`, or the whole object. @throws BACKUP_NOT_FOUND, CORRUPT when it is shorter. */
  read(key: string, range?: ByteRange): Promise<Buffer>;
  /** Small objects, whole from memory: manifests, globals. */
  putOnce(key: string, body: Buffer, options?: WriteOptions): Promise<WrittenObject>;
  /** Large objects of unknown length. Nothing is visible under `key` until `complete` returned. */
  startUpload(key: string, options?: WriteOptions): Promise<Upload>;
  /** Idempotent. Only `retention` and clean-up of our own unfinished files call it. */
  remove(key: string): Promise<void>;
  /**
   * Removes what a killed run left of its unfinished uploads of keys that start with `prefix`.
   * @param belongs narrows it down where a prefix says too little: `app_db_` also begins the keys of the series `app_db`
   */
  removeUnfinished(prefix: string, belongs?: (key: string) => boolean): Promise<void>;
  /** S3 only (a local folder has no tags): replaces the object's tag set. */
  setTags(key: string, tags: Readonly<Record<string, string>>): Promise<void>;
  tags(key: string): Promise<Record<string, string>>;
  /** Proves reachability and rights before a run; `writable` also that a new object could be written. */
  check(options: { writable: boolean }): Promise<void>;
  close(): void;
}

export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

export interface WrittenObject {
  readonly key: string;
  readonly size: number;
}

export interface ListedObject extends WrittenObject {
  readonly modifiedAt: Date;
  /** As S3 names it; `undefined` in a local folder. */
  readonly storageClass?: string | undefined;
}

export interface StoredObject extends ListedObject {
  /** base64 CRC-32 of the whole object; `undefined` when the server reports none (an old object, an S3 look-alike). */
  readonly crc32?: string | undefined;
  readonly encryption?: string | undefined;
  readonly metadata: Readonly<Record<string, string>>;
}

export interface WriteOptions {
  readonly metadata?: Readonly<Record<string, string>>;
  readonly contentType?: string;
}

/**
 * Write in order; `write` resolves when the caller may reuse the buffer, which is how back-pressure arrives. After any
 * rejection only `abort` may be called.
 */
export interface Upload {
  write(chunk: Buffer): Promise<void>;
  /** @param expected what the caller wrote, by its own reckoning; a difference throws CORRUPT. */
  complete(expected: { size: number; crc32: string }): Promise<StoredObject>;
  /** Idempotent, never throws: best effort, because the error that led here is the one to report. */
  abort(): Promise<void>;
}
