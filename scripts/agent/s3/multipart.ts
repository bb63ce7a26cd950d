import { crc32 } from 'node:zlib';
import { combineCrc32, encodeCrc32 } from '../../../lib/domain/crc32.ts';
import type { StoredObject, WriteOptions } from '../ports/store.ts';
import { objectParameters, runIdOf } from './object-parameters.ts';
import type { S3Api } from './s3-api.ts';
import { findOwn, md5, writeOnce, type Sent } from './write-once.ts';

/** How long tidying up may hold back the error, or the Ctrl-C, that led to it. */
const ABORT_TIMEOUT_MS = 10_000;

interface Part {
  readonly number: number;
  readonly size: number;
  readonly crc: number;
  readonly etag: string;
}

/**
 * S3's side of one multipart upload. Every part carries its CRC-32, which S3 checks as it arrives; completing names the
 * whole object's, which S3 reckons from the parts'.
 * https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html
 */
export class Multipart {
  readonly #api: S3Api;
  readonly #key: string;
  readonly #options: WriteOptions;
  readonly #uploadId: string;
  readonly #cancel = new AbortController();
  readonly #parts: Part[] = [];

  private constructor(api: S3Api, key: string, options: WriteOptions, uploadId: string) {
    this.#api = api;
    this.#key = key;
    this.#options = options;
    this.#uploadId = uploadId;
  }

  static async create(api: S3Api, key: string, options: WriteOptions): Promise<Multipart> {
    return new Multipart(api, key, options, await createMultipartUpload(api, key, options));
  }

  async sendPart(number: number, body: Buffer): Promise<void> {
    const crc = crc32(body);
    const command = new this.#api.sdk.UploadPartCommand({
      ...this.#api.at(this.#key),
      UploadId: this.#uploadId,
      PartNumber: number,
      ChecksumCRC32: encodeCrc32(crc),
      ContentLength: body.length,
      Body: body,
    });
    const answer = await this.#api.call('s3:PutObject', this.#key, (client) =>
      client.send(command, { abortSignal: this.#cancel.signal }),
    );
    this.#parts[number - 1] = { number, size: body.length, crc, etag: answer.ETag ?? '' };
  }

  /** Size and CRC-32 of the parts in order: of the very bytes that were handed to S3. */
  reckon(): { size: number; crc32: string } {
    let size = 0;
    let crc = 0;
    for (const part of this.#parts) {
      crc = combineCrc32(crc, part.crc, part.size);
      size += part.size;
    }
    return { size, crc32: encodeCrc32(crc) };
  }

  async complete(): Promise<StoredObject> {
    const sent = this.#sent();
    // S3 itself refuses to replace an object (IfNoneMatch below); servers that ignore the header there would not.
    const own = await findOwn(this.#api, this.#key, sent);
    if (own) {
      await this.abort();
      return own;
    }
    return await writeOnce(this.#api, this.#key, sent, () => this.#sendComplete(sent));
  }

  async #sendComplete({ size, crc32: checksum }: Sent): Promise<string | undefined> {
    const command = new this.#api.sdk.CompleteMultipartUploadCommand({
      ...this.#api.at(this.#key),
      UploadId: this.#uploadId,
      IfNoneMatch: '*',
      ChecksumType: 'FULL_OBJECT',
      ChecksumCRC32: checksum,
      MpuObjectSize: size,
      MultipartUpload: {
        Parts: this.#parts.map(({ number, crc, etag }) => ({
          PartNumber: number,
          ETag: etag,
          ChecksumCRC32: encodeCrc32(crc),
        })),
      },
    });
    return (await this.#api.call('s3:PutObject', this.#key, (client) => client.send(command))).ETag;
  }

  #sent(): Sent {
    return {
      ...this.reckon(),
      runId: runIdOf(this.#options.metadata),
      etag: () => multipartEtag(this.#parts.map(({ etag }) => etag)),
    };
  }

  /** Ends the parts that are under way. */
  cancel(): void {
    this.#cancel.abort();
  }

  /** Never throws: what stays behind costs storage until the bucket's lifecycle or removeUnfinished takes it. */
  async abort(): Promise<void> {
    await abortMultipartUpload(this.#api, this.#key, this.#uploadId).catch(() => undefined);
  }
}

/** @returns the upload's id */
export async function createMultipartUpload(api: S3Api, key: string, options: WriteOptions): Promise<string> {
  const command = new api.sdk.CreateMultipartUploadCommand({
    ...api.at(key),
    ...objectParameters(api, undefined, options),
    ChecksumAlgorithm: 'CRC32',
    ChecksumType: 'FULL_OBJECT',
  });
  const answer = await api.call('s3:PutObject', key, (client) => client.send(command));
  return answer.UploadId ?? '';
}

export async function abortMultipartUpload(api: S3Api, key: string, uploadId: string): Promise<void> {
  const command = new api.sdk.AbortMultipartUploadCommand({ ...api.at(key), UploadId: uploadId });
  await api.tidyUp('s3:AbortMultipartUpload', key, (client) =>
    client.send(command, { abortSignal: AbortSignal.timeout(ABORT_TIMEOUT_MS) }),
  );
}

/** As S3 makes it: the MD5 of the parts' MD5s, and how many they are. */
function multipartEtag(etags: readonly string[]): string | undefined {
  const whole = md5(...etags.map((etag) => Buffer.from(etag.replaceAll('"', ''), 'hex')));
  return whole === undefined ? undefined : `${whole}-${etags.length}`;
}
