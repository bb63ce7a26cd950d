import { chown, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import type { FileOwner } from '../data-path/tar/extraction-folder.ts';
import { isMissing, onDisk, writeFully } from '../host/durable-file.ts';
import { RESTORE_SCRIPT } from './restore-script.ts';

const READY = 'ready';
const WANT = 'want';

/** The folder through which the agent and restore_command talk to each other; see `RESTORE_SCRIPT` for what lies where. */
export class FeedFolder {
  readonly folder: string;
  readonly #owner: FileOwner | undefined;
  #writes = 0;

  constructor(folder: string, owner: FileOwner | undefined) {
    this.folder = folder;
    this.#owner = owner;
  }

  /** Where the script leaves the names of what it wants and of what it took. */
  get wants(): string {
    return path.join(this.folder, WANT);
  }

  /** @throws LifeboatError DISK_FULL, DISK_FAILED, as everything here does */
  async make(histories: ReadonlyMap<string, Buffer>): Promise<void> {
    await onDisk(`Cannot write to ${this.folder}`, async () => {
      for (const name of ['', WANT, READY, 'absent', 'history'])
        await this.#makeFolder(path.join(this.folder, name));
    });
    await this.write('restore.sh', Buffer.from(RESTORE_SCRIPT));
    await this.write('agent', Buffer.from(`${process.pid}\n`));
    for (const [name, content] of histories) await this.write(`history/${name}`, content);
  }

  async #makeFolder(folder: string): Promise<void> {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    if (this.#owner) await chown(folder, this.#owner.uid, this.#owner.gid);
  }

  /** In order of their names; each is told once. */
  async takeWants(): Promise<string[]> {
    const names = (await readdir(this.wants)).toSorted();
    for (const name of names) await rm(path.join(this.wants, name), { force: true });
    return names;
  }

  /** Whole or absent. */
  async write(name: string, bytes: Buffer): Promise<void> {
    const target = path.join(this.folder, name);
    this.#writes += 1;
    // A name of its own: a failure and the end may both be told at one time.
    const unfinished = path.join(this.folder, `.${path.basename(name)}.${this.#writes}.tmp`);
    await this.#writeFile(unfinished, bytes);
    await onDisk(`Cannot write ${target}`, () => rename(unfinished, target));
  }

  /** A segment, where the script does not see it yet. */
  async writeSegment(name: string, bytes: Buffer): Promise<void> {
    await this.#writeFile(this.#unready(name), bytes);
  }

  /** Brings a segment to the disk. It may be handed over meanwhile. */
  async syncSegment(name: string): Promise<void> {
    await onDisk(`Cannot write ${this.#unready(name)}`, async () => {
      try {
        const file = await open(this.#unready(name), 'r');
        try {
          await file.datasync();
        } finally {
          await file.close();
        }
      } catch (error) {
        if (!isMissing(error)) throw error;
      }
    });
  }

  async handOver(name: string): Promise<void> {
    const target = path.join(this.folder, READY, name);
    await onDisk(`Cannot write ${target}`, () => rename(this.#unready(name), target));
  }

  async removeSegments(): Promise<void> {
    const folder = path.join(this.folder, READY);
    await onDisk(`Cannot clear ${folder}`, async () => {
      for (const name of await readdir(folder)) await rm(path.join(folder, name), { force: true });
    });
  }

  #unready(name: string): string {
    return path.join(this.folder, READY, `${name}.unready`);
  }

  async #writeFile(target: string, bytes: Buffer): Promise<void> {
    await onDisk(`Cannot write ${target}`, async () => {
      const file = await open(target, 'w', 0o600);
      try {
        await writeFully(file, bytes);
        if (this.#owner) await file.chown(this.#owner.uid, this.#owner.gid);
      } finally {
        await file.close();
      }
    });
  }
}
