import type { S3ClientConfig } from '@aws-sdk/client-s3';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import type { Environment } from '../environment.ts';
import type {
  ByteRange,
  ListedObject,
  ObjectStore,
  StoredObject,
  Upload,
  WriteOptions,
  WrittenObject,
} from '../ports/store.ts';
import type { S3Settings } from '../settings.ts';
import { connect } from './client.ts';
import { listFolders, listObjects, probeList } from './listing.ts';
import { readObject } from './read-object.ts';
import { S3Api } from './s3-api.ts';
import { S3Upload } from './s3-upload.ts';
import { probeWrite, removeUnfinishedUploads } from './unfinished.ts';
import { findObject, putObject } from './write-once.ts';

export interface S3StoreOptions {
  /** Where AWS' own variables (AWS_REGION, AWS_ENDPOINT_URL_S3, …) stand, `.env` included. */
  readonly environment: Environment;
  /** Ends what is waiting for S3 with its reason. */
  readonly interrupted?: AbortSignal;
  /** For tests: laid over the client's configuration. */
  readonly clientOverrides?: Partial<S3ClientConfig>;
}

/** The bucket, under its prefix. The SDK is loaded, and the settings looked at, on the first call. */
export function openS3Store(settings: S3Settings, options: S3StoreOptions): ObjectStore {
  return new S3Store(settings, options);
}

class S3Store implements ObjectStore {
  readonly kind = 's3';
  readonly #settings: S3Settings;
  readonly #options: S3StoreOptions;
  #connection: Promise<S3Api> | undefined;

  constructor(settings: S3Settings, options: S3StoreOptions) {
    this.#settings = settings;
    this.#options = options;
  }

  urlOf(key: string): string {
    const { bucket, prefix } = this.#settings;
    return `s3://${bucket}/${prefix === '' ? '' : `${prefix}/`}${key}`;
  }

  async *list(prefix: string): AsyncIterable<ListedObject> {
    yield* listObjects(await this.#api(), prefix);
  }

  async *folders(prefix: string): AsyncIterable<string> {
    yield* listFolders(await this.#api(), prefix);
  }

  async head(key: string): Promise<StoredObject | undefined> {
    return await findObject(await this.#apiFor(key), key);
  }

  async read(key: string, range?: ByteRange): Promise<Buffer> {
    const api = await this.#apiFor(key);
    if (range?.length !== 0) return await readObject(api, key, range);
    // HTTP has no empty range; whether the object is there still counts.
    await api.head(key);
    return Buffer.alloc(0);
  }

  async putOnce(key: string, body: Buffer, options: WriteOptions = {}): Promise<WrittenObject> {
    return await putObject(await this.#apiFor(key), key, body, options);
  }

  async startUpload(key: string, options: WriteOptions = {}): Promise<Upload> {
    return new S3Upload(await this.#apiFor(key), key, options);
  }

  /** On a versioned bucket this adds a delete marker; the bytes go when the lifecycle says so. */
  async remove(key: string): Promise<void> {
    const api = await this.#apiFor(key);
    const command = new api.sdk.DeleteObjectCommand(api.at(key));
    await api.call('s3:DeleteObject', key, (client) => client.send(command));
  }

  async removeUnfinished(prefix: string, belongs: (key: string) => boolean = () => true): Promise<void> {
    await removeUnfinishedUploads(await this.#api(), prefix, belongs);
  }

  async setTags(key: string, tags: Readonly<Record<string, string>>): Promise<void> {
    const api = await this.#apiFor(key);
    const command = new api.sdk.PutObjectTaggingCommand({
      ...api.at(key),
      Tagging: { TagSet: Object.entries(tags).map(([name, value]) => ({ Key: name, Value: value })) },
    });
    await api.call('s3:PutObjectTagging', key, (client) => client.send(command));
  }

  async tags(key: string): Promise<Record<string, string>> {
    const api = await this.#apiFor(key);
    const command = new api.sdk.GetObjectTaggingCommand(api.at(key));
    const { TagSet: set } = await api.call('s3:GetObjectTagging', key, (client) => client.send(command));
    return Object.fromEntries((set ?? []).map(({ Key: name, Value: value }) => [name ?? '', value ?? '']));
  }

  async check({ writable }: { writable: boolean }): Promise<void> {
    const api = await this.#api();
    await probeList(api);
    if (writable) await probeWrite(api);
  }

  close(): void {
    // A connection that never came to be holds nothing.
    void this.#connection?.then(
      (api) => api.close(),
      () => undefined,
    );
  }

  async #api(): Promise<S3Api> {
    const { environment, interrupted, clientOverrides = {} } = this.#options;
    this.#connection ??= connect(environment, clientOverrides).then(
      (connection) => new S3Api(connection, this.#settings, interrupted),
    );
    return await this.#connection;
  }

  async #apiFor(key: string): Promise<S3Api> {
    const segments = key.split('/');
    // S3 would take them; whoever copies the bucket to a disk would be led out of its folder.
    if (segments.every((segment) => segment !== '' && segment !== '.' && segment !== '..'))
      return await this.#api();
    throw new LifeboatError('USAGE', `${JSON.stringify(key)} is no key under ${this.urlOf('')}`, {
      hint: 'Run: lifeboat list',
    });
  }
}
