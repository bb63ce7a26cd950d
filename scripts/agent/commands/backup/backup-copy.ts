import type { StoredFile } from '../../../../lib/domain/backup/manifest.ts';
import { OBJECT_METADATA } from '../../../../lib/domain/names.ts';
import type { CollectedDump, WrittenDump } from '../../ports/backup.ts';
import type { ObjectStore, StoredObject, Upload, WriteOptions } from '../../ports/store.ts';

/**
 * One store's copy of the backup in the making. Each store gets a whole copy or none: the first failure drops this copy
 * and is kept for the verdict, while the other store's copy goes on. So a night without S3 still has its local backup,
 * and a full disk still has the one in S3; the run fails all the same.
 */
export class CopyInProgress {
  readonly store: ObjectStore;
  readonly #options: WriteOptions;
  #upload: Upload | undefined;
  #globalsKey: string | undefined;
  failure: unknown;
  stored: StoredObject | undefined;
  #committed = false;

  constructor(store: ObjectStore, { app, runId }: { app: string; runId: string }) {
    this.store = store;
    this.#options = { metadata: { [OBJECT_METADATA.app]: app, [OBJECT_METADATA.runId]: runId } };
  }

  get good(): boolean {
    return this.failure === undefined;
  }

  /** It is a backup: whatever fails from then on takes nothing away. */
  get committed(): boolean {
    return this.#committed;
  }

  /** The sink of the dump's bytes. One that could not even be opened fails on its first write. */
  async open(key: string): Promise<Upload> {
    await this.#try(async () => {
      this.#upload = await this.store.startUpload(key, this.#options);
    });
    return this.#upload ?? failedUpload(this.failure);
  }

  /** Globals first, then the dump: a dump beside globals but without a manifest is known as one of ours, unfinished. */
  async commitData(globals: { key: string; dump: CollectedDump }, written: WrittenDump): Promise<void> {
    await this.#try(async () => {
      await this.store.putOnce(globals.key, globals.dump.body, this.#options);
      this.#globalsKey = globals.key;
      this.stored = await this.#upload!.complete({ size: written.size, crc32: written.crc32 });
    });
  }

  /** The commit point: from here on it is a backup. */
  async commitManifest(key: string, text: string): Promise<void> {
    await this.#try(async () => {
      await this.store.putOnce(key, Buffer.from(text), { ...this.#options, contentType: 'application/json' });
      this.#committed = true;
    });
  }

  /** Fails the copy when `work` throws. @returns `undefined` then, and for a copy that failed before */
  async attempt<Result>(work: (store: ObjectStore) => Promise<Result>): Promise<Result | undefined> {
    return await this.#try(() => work(this.store));
  }

  /** Takes back what can be. In S3 the host may not delete: what was completed there stays, known as unfinished. */
  async drop(files: readonly Pick<StoredFile, 'key'>[] = []): Promise<void> {
    // A backup by now: whatever failed afterwards takes nothing away.
    if (this.#committed) return;
    await this.#upload?.abort();
    if (this.store.kind !== 'local') return;
    const keys = [
      ...(this.stored ? files.map(({ key }) => key) : []),
      ...(this.#globalsKey ? [this.#globalsKey] : []),
    ];
    // Best effort: the error that led here is the one to report, and the next run removes what is left.
    for (const key of new Set(keys)) await this.store.remove(key).catch(() => undefined);
  }

  fail(error: unknown): void {
    this.failure ??= error;
  }

  async #try<Result>(work: () => Promise<Result>): Promise<Result | undefined> {
    if (!this.good) return undefined;
    try {
      return await work();
    } catch (error) {
      this.failure = error;
      return undefined;
    }
  }
}

function failedUpload(failure: unknown): Upload {
  const refuse = (): Promise<never> => Promise.reject(failure as Error);
  return { write: refuse, complete: refuse, abort: () => Promise.resolve() };
}
