import type { BaseVolume } from '../../../../lib/domain/base/base-manifest.ts';
import { LifeboatError } from '../../../../lib/domain/errors.ts';
import type { BaseBackupPorts } from '../../ports/base-backup.ts';
import type { ObjectStore } from '../../ports/store.ts';

type WrittenFile = Pick<BaseVolume, 'key' | 'size' | 'crc32'>;

/**
 * What was written is read again, each file as soon as it is complete: whether the right bytes lie under the right names, in their
 * whole length. They were written a moment ago, so most of them come from the system's page cache, not from the disk: what that
 * makes of them later only a `lifeboat verify` finds that runs when they have left the memory.
 */
export class Rereading {
  readonly #ports: Pick<BaseBackupPorts, 'digests' | 'interrupted'>;
  readonly #store: ObjectStore;
  readonly #placeOf: (name: string) => string;
  readonly #ended = new AbortController();
  /** One file after the other. */
  #work: Promise<void> = Promise.resolve();

  /** @param placeOf the store's key of a file of the backup */
  constructor(
    ports: Pick<BaseBackupPorts, 'digests' | 'interrupted'>,
    store: ObjectStore,
    placeOf: (name: string) => string,
  ) {
    this.#ports = ports;
    this.#store = store;
    this.#placeOf = placeOf;
  }

  add(file: WrittenFile): void {
    this.#work = this.#work.then(() => this.#reread(file));
    // Thrown by `finish`; until then it must not count as unhandled.
    this.#work.catch(() => undefined);
  }

  /** @throws LifeboatError CORRUPT for the first file that reads back differently */
  async finish(): Promise<void> {
    await this.#work;
  }

  /** Nothing is read any more once it returns: what is left of a run that failed is then removed. */
  async end(): Promise<void> {
    this.#ended.abort();
    // What was found is the failure's matter, or was thrown by `finish` already.
    await this.#work.catch(() => undefined);
  }

  async #reread({ key, size, crc32 }: WrittenFile): Promise<void> {
    const { digests } = this.#ports;
    const interrupted = AbortSignal.any([this.#ports.interrupted, this.#ended.signal]);
    interrupted.throwIfAborted();
    const place = this.#placeOf(key);
    const found = await digests.checksum(this.#store, place, { size, interrupted });
    if (found.crc32 === crc32 && found.size === size) return;
    throw new LifeboatError(
      'CORRUPT',
      `${this.#store.urlOf(place)} reads back differently: CRC-32 ${found.crc32} instead of ${crc32}`,
      {
        hint: 'The disk or its memory is faulty: check the kernel’s log (dmesg), then run the backup again.',
      },
    );
  }
}
