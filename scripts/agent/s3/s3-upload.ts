import { crc32 } from 'node:zlib';
import { encodeCrc32 } from '../../../lib/domain/crc32.ts';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import type { StoredObject, Upload, WriteOptions } from '../ports/store.ts';
import { Multipart } from './multipart.ts';
import { PartBuffers } from './part-buffers.ts';
import { FIRST_PART_SIZE, MAX_PARTS, partSize, partsInFlight } from './part-size.ts';
import type { S3Api } from './s3-api.ts';
import { putObject } from './write-once.ts';

/**
 * An upload of unknown length: one PutObject when it all fits in the first part, a multipart upload otherwise. Holds the
 * parts under way and the one being filled, four buffers of 8 MiB at first.
 */
export class S3Upload implements Upload {
  readonly #api: S3Api;
  readonly #key: string;
  readonly #options: WriteOptions;
  readonly #buffers = new PartBuffers();
  readonly #underWay = new Set<Promise<void>>();
  #multipart: Multipart | undefined;
  #filling: Buffer | undefined;
  #filled = 0;
  #parts = 0;
  #failure: unknown;

  constructor(api: S3Api, key: string, options: WriteOptions) {
    this.#api = api;
    this.#key = key;
    this.#options = options;
  }

  async write(chunk: Buffer): Promise<void> {
    for (let taken = 0; taken < chunk.length;) {
      const buffer = this.#filling ?? (await this.#nextBuffer());
      const count = chunk.copy(buffer, this.#filled, taken);
      this.#filled += count;
      taken += count;
      if (this.#filled === buffer.length) await this.#sendFilling();
    }
    this.#throwFailure();
  }

  async complete(expected: { size: number; crc32: string }): Promise<StoredObject> {
    if (!this.#multipart) return await this.#putWhole(expected);
    if (this.#filled > 0) await this.#sendFilling();
    await Promise.all(this.#underWay);
    this.#throwFailure();
    this.#buffers.drop();
    this.#compare(this.#multipart.reckon(), expected);
    return await this.#multipart.complete();
  }

  async abort(): Promise<void> {
    this.#failure ??= new LifeboatError(
      'S3_FAILED',
      `The upload to ${this.#api.urlOf(this.#key)} was given up`,
    );
    this.#multipart?.cancel();
    await Promise.all(this.#underWay);
    this.#buffers.drop();
    this.#filling = undefined;
    await this.#multipart?.abort();
  }

  async #putWhole(expected: { size: number; crc32: string }): Promise<StoredObject> {
    this.#throwFailure();
    const body = (this.#filling ?? Buffer.alloc(0)).subarray(0, this.#filled);
    this.#compare({ size: body.length, crc32: encodeCrc32(crc32(body)) }, expected);
    await putObject(this.#api, this.#key, body, this.#options);
    return await this.#api.head(this.#key);
  }

  /** Waits until a buffer may be had: this is where back-pressure reaches the writer. */
  async #nextBuffer(): Promise<Buffer> {
    if (this.#parts === MAX_PARTS) throw this.#tooLarge();
    const size = partSize(this.#parts + 1);
    while (this.#underWay.size >= partsInFlight(size)) await Promise.race(this.#underWay);
    this.#throwFailure();
    this.#filled = 0;
    return (this.#filling = this.#buffers.take(size));
  }

  async #sendFilling(): Promise<void> {
    const buffer = this.#filling as Buffer;
    const body = buffer.subarray(0, this.#filled);
    this.#filling = undefined;
    this.#filled = 0;
    const multipart = (this.#multipart ??= await Multipart.create(this.#api, this.#key, this.#options));
    // Given up while S3 was making it: abort() could not know of it yet.
    if (this.#failure !== undefined) await multipart.abort();
    this.#throwFailure();
    const number = ++this.#parts;
    // Settles always; a failed part is thrown by whatever call comes next.
    const sending: Promise<void> = multipart
      .sendPart(number, body)
      .catch((error: unknown) => {
        this.#failure ??= error;
      })
      .finally(() => {
        this.#underWay.delete(sending);
        this.#buffers.giveBack(buffer);
      });
    this.#underWay.add(sending);
  }

  #compare(written: { size: number; crc32: string }, expected: { size: number; crc32: string }): void {
    if (written.size === expected.size && written.crc32 === expected.crc32) return;
    throw new LifeboatError(
      'CORRUPT',
      `${this.#api.urlOf(this.#key)}: ${written.size} bytes with CRC-32 ${written.crc32} were handed over, expected ${expected.size} bytes with ${expected.crc32}`,
      { hint: 'Nothing was stored under that name. Run the backup again.' },
    );
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure as Error;
  }

  #tooLarge(): LifeboatError {
    return new LifeboatError(
      'S3_FAILED',
      `${this.#api.urlOf(this.#key)} grew beyond 5 TiB, S3’s largest object (${FIRST_PART_SIZE}-byte parts at first, ${MAX_PARTS} parts)`,
    );
  }
}
