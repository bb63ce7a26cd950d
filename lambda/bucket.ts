import {
  DeleteObjectsCommand,
  GetObjectCommand,
  GetObjectTaggingCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  PutObjectTaggingCommand,
  type S3Client,
} from '@aws-sdk/client-s3';
import { LifeboatError } from '../lib/domain/errors.ts';
import type { Clock } from './clock.ts';
import { attempts, errorName, httpStatus, serviceError } from './sdk-error.ts';

export interface BucketObject {
  readonly key: string;
  readonly size: number;
  readonly modifiedAt: Date;
  readonly etag: string;
  readonly storageClass: string;
}

type Tags = Readonly<Record<string, string>>;

/** One S3 bucket as the Lambdas use it. Keys are whole. */
export interface Bucket {
  readonly name: string;
  /** Writes JSON under a free key. @returns false when something is there already */
  putOnce(key: string, value: unknown): Promise<boolean>;
  /** @returns `undefined` when there is none. @throws LifeboatError CORRUPT when it is larger than `maxBytes` */
  read(key: string, maxBytes?: number): Promise<string | undefined>;
  /** Its user metadata; `undefined`: there is none. */
  metadata(key: string): Promise<Readonly<Record<string, string>> | undefined>;
  /** Page by page, in the order of the keys. */
  list(prefix: string, options?: ListOptions): AsyncGenerator<BucketObject>;
  /** The folders directly under `prefix`, each with its slash; objects are not listed. */
  folders(prefix: string): AsyncGenerator<string>;
  /** None of an object that is not there. */
  tags(key: string): Promise<Tags>;
  /** Replaces all of them. */
  setTags(key: string, tags: Tags): Promise<void>;
  /** A thousand at a time; one that is not there is no error. @returns what was refused, each with S3's word */
  remove(keys: readonly string[]): Promise<{ key: string; why: string }[]>;
}

interface ListOptions {
  /** Only keys behind this one. */
  readonly after?: string;
  /** Only objects directly under the prefix, up to the next slash. */
  readonly flat?: boolean;
}

/** A run's objects are a few KB; a host that writes more does not fill a function's memory. */
const LARGEST_BODY = 4 * 1024 * 1024;
const WRITE_TRIES = 4;
/** S3 takes no more in one call. */
const MOST_REMOVED = 1000;

export function openBucket(client: S3Client, name: string, clock: Pick<Clock, 'sleep'>): Bucket {
  const call = async <Answer>(action: string, key: string, send: () => Promise<Answer>): Promise<Answer> => {
    try {
      return await send();
    } catch (error) {
      throw serviceError(error, `s3:${action} on s3://${name}/${key}`);
    }
  };
  // Whoever may list only under a prefix is denied what is not there, as if it were: the listing tells.
  const isListed = async (key: string): Promise<boolean> => {
    for await (const object of listObjects(client, name, key)) if (object.key === key) return true;
    return false;
  };
  const read: Bucket['read'] = async (key, maxBytes = LARGEST_BODY) => {
    try {
      const answer = await client.send(new GetObjectCommand({ Bucket: name, Key: key }));
      if ((answer.ContentLength ?? 0) > maxBytes) {
        answer.Body?.transformToWebStream()
          .cancel()
          .catch(() => undefined); // nobody reads the rest
        throw new LifeboatError('CORRUPT', `s3://${name}/${key} has ${answer.ContentLength} bytes`);
      }
      return (await answer.Body?.transformToString('utf8')) ?? '';
    } catch (error) {
      if (errorName(error) === 'NoSuchKey' || (httpStatus(error) === 403 && !(await isListed(key))))
        return undefined;
      throw serviceError(error, `s3:GetObject on s3://${name}/${key}`);
    }
  };
  return {
    name,
    read,
    putOnce: (key, value) =>
      putOnce({ client, name, read, clock }, key, `${JSON.stringify(value, null, 1)}\n`),
    metadata: async (key) => {
      try {
        return (await client.send(new HeadObjectCommand({ Bucket: name, Key: key }))).Metadata ?? {};
      } catch (error) {
        if (httpStatus(error) === 404 || (httpStatus(error) === 403 && !(await isListed(key))))
          return undefined;
        throw serviceError(error, `s3:HeadObject on s3://${name}/${key}`);
      }
    },
    list: (prefix, options) => listObjects(client, name, prefix, options),
    folders: (prefix) => listFolders(client, name, prefix),
    tags: async (key) => {
      const command = new GetObjectTaggingCommand({ Bucket: name, Key: key });
      const { TagSet: set } = await call('GetObjectTagging', key, () =>
        client.send(command).catch(nothingWhereGone),
      );
      return Object.fromEntries((set ?? []).map(({ Key: tag, Value: value }) => [tag ?? '', value ?? '']));
    },
    setTags: async (key, tags) => {
      const set = Object.entries(tags).map(([Key, Value]) => ({ Key, Value }));
      const command = new PutObjectTaggingCommand({ Bucket: name, Key: key, Tagging: { TagSet: set } });
      await call('PutObjectTagging', key, () => client.send(command));
    },
    remove: (keys) => removeObjects(client, name, keys),
  };
}

function nothingWhereGone(error: unknown): { readonly TagSet?: undefined } {
  if (errorName(error) === 'NoSuchKey') return {};
  throw error as Error;
}

interface Writer {
  readonly client: S3Client;
  readonly name: string;
  readonly read: Bucket['read'];
  readonly clock: Pick<Clock, 'sleep'>;
}

async function putOnce(writer: Writer, key: string, body: string): Promise<boolean> {
  const { client, name, read, clock } = writer;
  for (let attempt = 1; ; attempt += 1) {
    const command = new PutObjectCommand({
      Bucket: name,
      Key: key,
      Body: body,
      IfNoneMatch: '*',
      ContentType: 'application/json',
    });
    try {
      await client.send(command);
      return true;
    } catch (error) {
      const status = httpStatus(error);
      // The first try may have been done and its answer lost: then it is our own words that stand there.
      if (status === 412) return attempt + attempts(error) > 2 && (await read(key)) === body;
      // 409: somebody else is writing it at this moment.
      if (status !== 409 || attempt === WRITE_TRIES)
        throw serviceError(error, `s3:PutObject on s3://${name}/${key}`);
      await clock.sleep(100 * attempt);
    }
  }
}

async function removeObjects(
  client: S3Client,
  name: string,
  keys: readonly string[],
): ReturnType<Bucket['remove']> {
  const refused: { key: string; why: string }[] = [];
  for (let from = 0; from < keys.length; from += MOST_REMOVED) {
    const Objects = keys.slice(from, from + MOST_REMOVED).map((Key) => ({ Key }));
    const command = new DeleteObjectsCommand({ Bucket: name, Delete: { Objects, Quiet: true } });
    try {
      const { Errors = [] } = await client.send(command);
      for (const { Key = '', Code = '' } of Errors) refused.push({ key: Key, why: Code });
    } catch (error) {
      throw serviceError(error, `s3:DeleteObjects on s3://${name}/${Objects[0]!.Key}`);
    }
  }
  return refused;
}

async function* listObjects(
  client: S3Client,
  name: string,
  prefix: string,
  { after, flat = false }: ListOptions = {},
): AsyncGenerator<BucketObject> {
  const options = { Prefix: prefix, ...(after && { StartAfter: after }), ...(flat && { Delimiter: '/' }) };
  for await (const page of pages(client, name, options)) {
    for (const object of page.Contents ?? []) {
      if (object.Key === undefined || object.LastModified === undefined) continue;
      yield {
        key: decodeKey(object.Key),
        size: object.Size ?? 0,
        modifiedAt: object.LastModified,
        etag: object.ETag ?? '',
        storageClass: object.StorageClass ?? 'STANDARD',
      };
    }
  }
}

async function* listFolders(client: S3Client, name: string, prefix: string): AsyncGenerator<string> {
  for await (const page of pages(client, name, { Prefix: prefix, Delimiter: '/' })) {
    for (const { Prefix: folder } of page.CommonPrefixes ?? []) if (folder) yield decodeKey(folder);
  }
}

interface PageOptions {
  readonly Prefix: string;
  readonly Delimiter?: string;
  readonly StartAfter?: string;
}

async function* pages(client: S3Client, name: string, options: PageOptions) {
  let token: string | undefined;
  do {
    const command = new ListObjectsV2Command({
      Bucket: name,
      ...options,
      // XML cannot carry every byte that a key may hold.
      EncodingType: 'url',
      ...(token && { ContinuationToken: token }),
    });
    try {
      const page = await client.send(command);
      token = page.IsTruncated ? page.NextContinuationToken : undefined;
      yield page;
    } catch (error) {
      throw serviceError(error, `s3:ListBucket on s3://${name}/${options.Prefix}`);
    }
  } while (token !== undefined);
}

function decodeKey(key: string): string {
  return decodeURIComponent(key.replaceAll('+', ' '));
}
