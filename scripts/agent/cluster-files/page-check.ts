import { readSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Lsn } from '../../../lib/domain/wal/lsn.ts';
import { PAGE_SIZE } from '../data-path/pages/page-checksum.ts';
import type { FileMember } from './cluster-walk.ts';
import { cannotRead } from './disk-failure.ts';
import type { Chunk } from './file-reads.ts';

/** As many as are kept of the server’s own. */
const MOST_WARNINGS = 100;
/** Of one file. */
const MOST_BLOCKS_NAMED = 5;
/** A page that is being written looks damaged until its write is over. */
const REREADS = 5;
const BETWEEN_REREADS_MS = 20;
/** A file with so many damaged pages is damaged; to wait for each of them would take hours. */
const WAITED_FOR = 20;

/** What was found of one file. */
interface FileVerdict {
  failures: number;
  /** The file's size is not one of whole pages, so they cannot be told apart. */
  unchecked: boolean;
}

/**
 * Checks the pages of a backup as the server does (sendFile in basebackup.c): those that changed since the backup's start pass,
 * as they will be replayed; a page that does not match is read again.
 */
export class PageCheck {
  /** PostgreSQL's words, at most a hundred lines. */
  readonly warnings: string[] = [];
  failures = 0;
  readonly #start: Lsn;
  #file: FileVerdict = { failures: 0, unchecked: false };

  /** @param start of the backup */
  constructor(start: Lsn) {
    this.#start = start;
  }

  warn(text: string): void {
    if (this.warnings.length < MOST_WARNINGS) this.warnings.push(text);
  }

  /** In order. Puts right in the chunk what a second look showed otherwise. @throws LifeboatError DISK_FAILED */
  async check(member: FileMember, chunk: Chunk): Promise<void> {
    const { relation } = member;
    if (!relation) return;
    if (chunk.offset === 0) this.#file = { failures: 0, unchecked: false };
    if (this.#file.unchecked) return;
    const first = relation.firstBlock + chunk.offset / PAGE_SIZE;
    const rest = chunk.read % PAGE_SIZE;
    const whole = chunk.bytes.subarray(0, chunk.read - rest);
    for (const block of chunk.memory.unsoundPages(whole, first, this.#start)) {
      const at = (block - first) * PAGE_SIZE;
      const page = chunk.bytes.subarray(at, at + PAGE_SIZE);
      if (!(await this.#isSoundAfterAll(member, chunk, { page, block, at }))) this.#note(member.name, block);
    }
    if (rest > 0) this.#noteUnchecked(member.name, first + whole.length / PAGE_SIZE, rest);
  }

  /** After a file's last chunk. */
  endFile({ name, relation }: FileMember): void {
    const { failures } = this.#file;
    if (relation && failures > 1)
      this.warn(`file "./${name}" has a total of ${failures} checksum verification failures`);
    this.#file = { failures: 0, unchecked: false };
  }

  async #isSoundAfterAll(
    member: FileMember,
    chunk: Chunk,
    { page, block, at }: { readonly page: Buffer; readonly block: number; readonly at: number },
  ): Promise<boolean> {
    for (let time = 0; time < REREADS; time += 1) {
      const isLost = this.#file.failures >= WAITED_FOR;
      if (time > 0 && !isLost) await sleep(BETWEEN_REREADS_MS);
      const count = readPage(member, page, chunk.offset + at);
      // Cut off since: whoever did that has told the WAL.
      if (count < PAGE_SIZE) page.fill(0, count);
      if (count === 0 || chunk.memory.unsoundPages(page, block, this.#start).length === 0) return true;
      if (isLost) return false;
    }
    return false;
  }

  #note(name: string, block: number): void {
    this.failures += 1;
    this.#file.failures += 1;
    const { failures } = this.#file;
    if (failures <= MOST_BLOCKS_NAMED)
      this.warn(`checksum verification failed in file "./${name}", block ${block}`);
    if (failures === MOST_BLOCKS_NAMED)
      this.warn(`further checksum verification failures in file "./${name}" will not be reported`);
  }

  #noteUnchecked(name: string, block: number, size: number): void {
    this.#file.unchecked = true;
    this.warn(
      `could not verify checksum in file "./${name}", block ${block}: read buffer size ${size} and page size ${PAGE_SIZE} differ`,
    );
  }
}

function readPage({ name, file }: FileMember, page: Buffer, offset: number): number {
  let done = 0;
  try {
    while (done < page.length) {
      const count = readSync(file.fd, page, done, page.length - done, offset + done);
      if (count === 0) break;
      done += count;
    }
  } catch (error) {
    throw cannotRead(name, error);
  }
  return done;
}
