import { linkSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { mkdir, open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { randomId } from './state-files.ts';

/** Bytes gathered before they are written; bounds memory per request to about twice this. */
const WRITE_BATCH = 1024 * 1024;

/**
 * The bytes of one bucket. What is being received lies in `incoming/` and is moved to `data/` in one rename; a data file
 * never changes afterwards.
 */
export class DataFolder {
  readonly #incoming: string;
  readonly #data: string;

  constructor(bucketFolder: string) {
    this.#incoming = join(bucketFolder, 'incoming');
    this.#data = join(bucketFolder, 'data');
    // What a killed server was receiving was never promised to anyone.
    rmSync(this.#incoming, { recursive: true, force: true });
    mkdirSync(this.#incoming, { recursive: true });
    mkdirSync(this.#data, { recursive: true });
  }

  async createIncoming(): Promise<IncomingFile> {
    const name = randomId(16);
    const path = join(this.#incoming, name);
    await mkdir(this.#incoming, { recursive: true });
    return new IncomingFile(name, path, await open(path, 'wx'));
  }

  /** Makes a received file part of the bucket. */
  keep(incoming: IncomingFile): string {
    renameSync(incoming.path, join(this.#data, incoming.name));
    return incoming.name;
  }

  open(name: string): Promise<FileHandle> {
    return open(join(this.#data, name), 'r');
  }

  /** A second name for the same bytes, in this bucket or another one, so that copying an object copies nothing. */
  linkFrom(source: DataFolder, name: string): string {
    const copy = randomId(16);
    linkSync(join(source.#data, name), join(this.#data, copy));
    return copy;
  }

  /** Requests that are reading it go on: they hold it open. */
  remove(name: string): void {
    rmSync(join(this.#data, name), { force: true });
  }
}

/** Writes in large batches without copying, one batch in flight while the next is gathered. */
export class IncomingFile {
  readonly name: string;
  readonly path: string;
  readonly #handle: FileHandle;
  #batch: Buffer[] = [];
  #batchSize = 0;
  #writing: Promise<void> = Promise.resolve();
  size = 0;

  constructor(name: string, path: string, handle: FileHandle) {
    this.name = name;
    this.path = path;
    this.#handle = handle;
  }

  async write(chunk: Buffer): Promise<void> {
    this.size += chunk.length;
    this.#batch.push(chunk);
    this.#batchSize += chunk.length;
    if (this.#batchSize >= WRITE_BATCH) await this.#flush();
  }

  async #flush(): Promise<void> {
    await this.#writing;
    const batch = this.#batch;
    const expected = this.#batchSize;
    this.#batch = [];
    this.#batchSize = 0;
    this.#writing = this.#handle.writev(batch).then(({ bytesWritten }) => {
      if (bytesWritten !== expected) throw new Error(`disk took ${bytesWritten} of ${expected} bytes`);
    });
    // Rejections surface at the next await; without this one, Node would end the process first.
    this.#writing.catch(() => undefined);
  }

  async close(): Promise<void> {
    try {
      if (this.#batchSize > 0) await this.#flush();
      await this.#writing;
    } finally {
      await this.#handle.close();
    }
  }

  /** Idempotent; for bodies that were cut off or found wrong. */
  async discard(): Promise<void> {
    await this.#writing.catch(() => undefined);
    await this.#handle.close().catch(() => undefined);
    rmSync(this.path, { force: true });
  }
}
