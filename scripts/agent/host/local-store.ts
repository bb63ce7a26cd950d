import { constants } from 'node:fs';
import type { Dirent } from 'node:fs';
import { access, lstat, mkdir, readdir, rmdir, stat, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { crc32 } from 'node:zlib';
import { PARTIAL_SUFFIX } from '../../../lib/domain/backup/keys.ts';
import { encodeCrc32 } from '../../../lib/domain/crc32.ts';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import type {
  ByteRange,
  ListedObject,
  ObjectStore,
  StoredObject,
  Upload,
  WrittenObject,
} from '../ports/store.ts';
import { isMissing, makeFolderBelow, onDisk, syncFolder } from './durable-file.ts';
import { nothingWhenMissing, readLocalRange, startLocalUpload } from './local-upload.ts';

const FOLDER_MODE = 0o700;

/**
 * One folder of plain files (BACKUP_DIR): a key is a file's path below it. The folder is made on the first write; until then
 * it is an empty store. Folders below it come with their first file and go with their last one. Files keep no metadata, tags or checksums of their own: a backup's manifest holds what is needed.
 * `list` also yields the `.partial` files of unfinished writes, which parseBackupFile tells apart.
 */
export function openLocalStore(folder: string): ObjectStore {
  return new LocalStore(folder);
}

class LocalStore implements ObjectStore {
  readonly kind = 'local';
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  urlOf(key: string): string {
    return join(this.#folder, key);
  }

  async *list(prefix: string): AsyncIterable<ListedObject> {
    const end = prefix.lastIndexOf('/') + 1;
    yield* this.#listBelow(prefix.slice(0, end), prefix.slice(end));
  }

  async *folders(prefix: string): AsyncIterable<string> {
    for (const entry of await this.#entries(prefix)) if (entry.isDirectory()) yield entry.name;
  }

  /** @param folder with its slash; `''`: the store's own */
  async *#listBelow(folder: string, beginning: string): AsyncIterable<ListedObject> {
    for (const entry of await this.#entries(folder)) {
      if (!entry.name.startsWith(beginning)) continue;
      const key = folder + entry.name;
      if (entry.isDirectory()) yield* this.#listBelow(`${key}/`, '');
      if (!entry.isFile()) continue;
      const found = await this.head(key);
      // Gone since it was listed: whoever removed it finished before we looked.
      if (found) yield found;
    }
  }

  async #entries(folder: string): Promise<Dirent[]> {
    const path = folder === '' ? this.#folder : this.#pathOf(folder.slice(0, -1));
    const entries = await onDisk(`Cannot list ${path}`, () =>
      readdir(path, { withFileTypes: true }).catch(nothingWhenMissing),
    );
    return entries ?? [];
  }

  /** The checksum is left out: it would cost a pass over the file. */
  async head(key: string): Promise<StoredObject | undefined> {
    const path = this.#pathOf(key);
    const found = await onDisk(`Cannot look at ${path}`, () => lstat(path).catch(nothingWhenMissing));
    if (!found?.isFile()) return undefined;
    return { key, size: found.size, modifiedAt: found.mtime, metadata: {} };
  }

  async read(key: string, range?: ByteRange): Promise<Buffer> {
    const path = this.#pathOf(key);
    const bytes = await readLocalRange(path, range);
    if (bytes) return bytes;
    throw new LifeboatError('BACKUP_NOT_FOUND', `There is no file ${path}`);
  }

  async putOnce(key: string, body: Buffer): Promise<WrittenObject> {
    const upload = await this.startUpload(key);
    try {
      await upload.write(body);
      return await upload.complete({ size: body.length, crc32: encodeCrc32(crc32(body)) });
    } catch (error) {
      await upload.abort();
      throw error;
    }
  }

  async startUpload(key: string): Promise<Upload> {
    const path = this.#pathOf(key);
    await this.#makeFolder();
    if (key.includes('/')) {
      await onDisk(`Cannot make the folder of ${path}`, () => makeFolderBelow(dirname(path), FOLDER_MODE));
    }
    return await startLocalUpload(path, async () => {
      const found = await this.head(key);
      if (found) return found;
      throw new LifeboatError('DISK_FAILED', `${path} vanished after it was written`);
    });
  }

  async remove(key: string): Promise<void> {
    await this.#removeFile(this.#pathOf(key));
    await this.#syncFolder(await this.#removeEmptyFolders(key));
  }

  async removeUnfinished(prefix: string, belongs: (key: string) => boolean = () => true): Promise<void> {
    for await (const { key } of this.list(prefix)) {
      if (!key.endsWith(PARTIAL_SUFFIX) || !belongs(key.slice(0, -PARTIAL_SUFFIX.length))) continue;
      await this.#removeFile(this.#pathOf(key));
      await this.#removeEmptyFolders(key);
    }
  }

  /** A defect in the caller: ask `kind` first. */
  setTags(): Promise<void> {
    return Promise.reject(new LifeboatError('BUG', `The files of ${this.#folder} have no tags`));
  }

  tags(): Promise<Record<string, string>> {
    return Promise.resolve({});
  }

  async check({ writable }: { writable: boolean }): Promise<void> {
    if (writable) await this.#makeFolder();
    await onDisk(`Cannot use the folder ${this.#folder}`, async () => {
      const found = await stat(this.#folder).catch(nothingWhenMissing);
      if (!found) return;
      if (!found.isDirectory()) throw new LifeboatError('DISK_FAILED', `${this.#folder} is no folder`);
      const { R_OK, W_OK, X_OK } = constants;
      await access(this.#folder, writable ? R_OK | W_OK | X_OK : R_OK | X_OK);
    });
  }

  close(): void {
    // Holds nothing open between calls.
  }

  async #makeFolder(): Promise<void> {
    await onDisk(`Cannot make the folder ${this.#folder}`, () =>
      mkdir(this.#folder, { recursive: true, mode: FOLDER_MODE }),
    );
  }

  async #removeFile(path: string): Promise<void> {
    await onDisk(`Cannot remove ${path}`, () => unlink(path).catch(nothingWhenMissing));
  }

  /** The folders above `key`, as far as they hold nothing any more. @returns the first one that stays */
  async #removeEmptyFolders(key: string): Promise<string> {
    let folder = key;
    while (folder.includes('/')) {
      folder = dirname(folder);
      const path = this.#pathOf(folder);
      const removed = await rmdir(path).then(
        () => true,
        // In use again, or not ours to remove: an empty folder stands for nothing.
        (error: unknown) => isMissing(error),
      );
      if (!removed) return path;
    }
    return this.#folder;
  }

  async #syncFolder(folder: string): Promise<void> {
    await onDisk(`Cannot sync ${folder}`, () =>
      syncFolder(folder).catch((error: unknown) => {
        if (!isMissing(error)) throw error as Error;
      }),
    );
  }

  #pathOf(key: string): string {
    // Keys also come from manifests and from the command line: none may lead out of the folder.
    const parts = key.split('/');
    const plain = parts.every((part) => part !== '' && part !== '.' && !part.includes('..'));
    if (plain && !/[\\\0]/.test(key)) return join(this.#folder, key);
    throw new LifeboatError('USAGE', `${JSON.stringify(key)} is no file name in ${this.#folder}`, {
      hint: 'Run: lifeboat list',
    });
  }
}
