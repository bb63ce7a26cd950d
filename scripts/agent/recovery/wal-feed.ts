import { watch, type FSWatcher } from 'node:fs';
import { asLifeboatError, type LifeboatError } from '../../../lib/domain/errors.ts';
import { WAL_AHEAD } from '../../../lib/domain/base/wal-room.ts';
import type { WalFile } from '../../../lib/domain/wal/archive.ts';
import type { FileOwner } from '../data-path/tar/extraction-folder.ts';
import { releaseMemory } from '../data-path/release-memory.ts';
import { FeedFolder } from './feed-folder.ts';

export interface WalFeedOptions {
  /** Below the data directory, on the disk of pg_wal, so that a segment is moved, not copied. */
  readonly folder: string;
  /** All that the server may have, in order. */
  readonly wal: readonly WalFile[];
  /** History files by name. */
  readonly histories: ReadonlyMap<string, Buffer>;
  readonly segmentSize: number;
  readonly owner: FileOwner | undefined;
  /** A whole segment. @throws LifeboatError */
  readonly fetch: (file: WalFile) => Promise<Buffer>;
  /** @param count of segments handed over so far */
  readonly onTaken: (count: number) => void;
}

const MIB = 1024 * 1024;
/** What is being fetched at a time, in memory. */
const FETCHING_BYTES = 32 * MIB;
/** Should a change in the folder go unnoticed. */
const LOOK_EVERY_MS = 200;

/**
 * Lays segments ready for restore_command before it asks for them, within a bounded window. What is not in the list is
 * refused at once.
 */
export class WalFeed {
  readonly #options: WalFeedOptions;
  readonly #files: FeedFolder;
  readonly #index: ReadonlyMap<string, number>;
  readonly #ahead: number;
  readonly #atOnce: number;
  /** By name: on its way, on the disk but not handed out, or laid ready and not taken yet. */
  readonly #state = new Map<string, 'waiting' | 'fetching' | 'written' | 'ready'>();
  /** Asked for by the server, which waits for it. */
  readonly #wanted = new Set<string>();
  readonly #fetches = new Set<Promise<void>>();
  /** One file after the other: more would take the thread pool from the fetches. */
  #syncing: Promise<void> = Promise.resolve();
  /** What was found damaged before it was asked for; it may never be. */
  readonly #damaged = new Map<string, LifeboatError>();
  #watcher: FSWatcher | undefined;
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;
  #lookAgain = false;
  #ended = false;
  #taken = 0;
  #lastAsked = '';
  #repeats = 0;
  failure: LifeboatError | undefined;

  constructor(options: WalFeedOptions) {
    const { wal, segmentSize, folder, owner } = options;
    this.#options = options;
    this.#files = new FeedFolder(folder, owner);
    this.#index = new Map(wal.map(({ name }, index) => [name, index]));
    this.#ahead = Math.max(2, Math.min(64, Math.floor(WAL_AHEAD / segmentSize)));
    this.#atOnce = Math.max(1, Math.min(4, Math.floor(FETCHING_BYTES / segmentSize)));
  }

  get taken(): number {
    return this.#taken;
  }

  /** The name of the file that was asked for last, be it there or not; empty before the first. */
  get lastAsked(): string {
    return this.#lastAsked;
  }

  /** The same file was asked for again and again: a standby has read all there is. */
  get exhausted(): boolean {
    return this.#repeats >= 2;
  }

  async open(): Promise<void> {
    await this.#files.make(this.#options.histories);
    this.#watcher = watch(this.#files.wants, () => this.#look());
    // The timer looks as well, and a folder that is gone takes the server with it.
    this.#watcher.on('error', () => undefined);
    this.#timer = setInterval(() => this.#look(), LOOK_EVERY_MS);
    this.#prefetch(0);
  }

  /** @param failed `false`: whoever asks from now on is told that there is no more. */
  async close(failed: boolean): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    this.#watcher?.close();
    clearInterval(this.#timer);
    await this.#looking;
    // Not the fetches that are under way, which nobody waits for any more: a slow S3 would keep the cluster from its owner.
    await this.#files.write(failed ? 'failed' : 'ended', Buffer.alloc(0));
    await this.#files.removeSegments();
  }

  #look(): void {
    if (this.#ended) return;
    if (this.#looking) {
      this.#lookAgain = true;
      return;
    }
    this.#lookAgain = false;
    this.#looking = this.#readWants()
      .catch((error: unknown) => this.#fail(error))
      .finally(() => {
        this.#looking = undefined;
        if (this.#lookAgain) this.#look();
      });
  }

  async #readWants(): Promise<void> {
    for (const entry of await this.#files.takeWants()) {
      const name = entry.replace(/\.taken$/, '');
      if (entry === name) await this.#answer(name);
      else this.#noteTaken(name);
    }
  }

  #noteTaken(name: string): void {
    this.#state.delete(name);
    this.#wanted.delete(name);
    this.#taken += 1;
    this.#options.onTaken(this.#taken);
    this.#prefetch((this.#index.get(name) ?? 0) + 1);
  }

  async #answer(name: string): Promise<void> {
    this.#repeats = name === this.#lastAsked ? this.#repeats + 1 : 0;
    this.#lastAsked = name;
    const index = this.#index.get(name);
    if (index === undefined) {
      // Names come from the server; only such as a segment has become files.
      if (/^[0-9A-Za-z._-]{1,64}$/.test(name)) await this.#files.write(`absent/${name}`, Buffer.alloc(0));
      return;
    }
    this.#wanted.add(name);
    const damage = this.#damaged.get(name);
    if (damage) return await this.#fail(damage);
    await this.#layReady(name);
    this.#prefetch(index);
  }

  /** From `index` on, as far as the window goes. */
  #prefetch(index: number): void {
    for (const { name } of this.#options.wal.slice(index, index + this.#ahead)) {
      if (!this.#state.has(name) && !this.#damaged.has(name)) this.#state.set(name, 'waiting');
    }
    this.#startFetches();
  }

  #startFetches(): void {
    if (this.#ended || this.failure) return;
    const waiting = [...this.#state].filter(([, state]) => state === 'waiting').map(([name]) => name);
    waiting.sort((one, other) => this.#rank(one) - this.#rank(other));
    for (const name of waiting) {
      if (this.#fetches.size >= this.#atOnce) return;
      this.#state.set(name, 'fetching');
      const fetch = this.#fetch(name).finally(() => {
        this.#fetches.delete(fetch);
        this.#startFetches();
      });
      this.#fetches.add(fetch);
    }
  }

  #rank(name: string): number {
    return this.#wanted.has(name) ? -1 : this.#index.get(name)!;
  }

  async #fetch(name: string): Promise<void> {
    const wanted = this.#wanted.has(name);
    try {
      const segment = await this.#options.fetch(this.#options.wal[this.#index.get(name)!]!);
      if (this.#ended) return;
      await this.#files.writeSegment(name, segment);
      releaseMemory(segment);
      this.#state.set(name, 'written');
      if (this.#wanted.has(name)) await this.#layReady(name);
      else this.#syncing = this.#syncing.then(() => this.#syncAhead(name));
    } catch (error) {
      this.#state.delete(name);
      // Only what the server cannot do without ends the recovery: the target may come before the damage.
      const known = asLifeboatError(error);
      if (known.code === 'CORRUPT') this.#damaged.set(name, known);
      if (this.#ended) return;
      if (wanted || (this.#wanted.has(name) && known.code === 'CORRUPT')) await this.#fail(error);
      else if (this.#wanted.has(name)) this.#state.set(name, 'waiting');
    }
  }

  /**
   * PostgreSQL brings a segment to the disk before it reads it (durable_rename), and replays nothing meanwhile: a tenth of a
   * second for each on a small disk. Whatever is there by now costs it nothing.
   */
  async #syncAhead(name: string): Promise<void> {
    if (this.#ended || this.#state.get(name) !== 'written') return;
    try {
      await this.#files.syncSegment(name);
      await this.#layReady(name);
    } catch (error) {
      await this.#fail(error);
    }
  }

  /** Nothing where it is not written yet, or has been laid ready already. */
  async #layReady(name: string): Promise<void> {
    if (this.#ended || this.#state.get(name) !== 'written') return;
    this.#state.set(name, 'ready');
    await this.#files.handOver(name);
  }

  async #fail(error: unknown): Promise<void> {
    if (this.#ended) return;
    this.failure ??= asLifeboatError(error);
    // Best effort: should even this fail, the script ends with the agent.
    await this.#files.write('failed', Buffer.alloc(0)).catch(() => undefined);
  }
}
