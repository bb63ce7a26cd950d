import { LifeboatError } from '../../../../lib/domain/errors.ts';
import { onDisk } from '../../host/durable-file.ts';
import type { FileDigest } from './file-digest.ts';
import type { TarExtraction } from './tar-extractor.ts';
import type { TarMember } from './tar-header.ts';
import type { StretchWriter } from './stretch-writer.ts';
import { TarReader } from './tar-reader.ts';
import type { UnpackedFile } from './unpacked-file.ts';

/** A kept member that is larger is no file of PostgreSQL's that somebody would keep. */
const LARGEST_KEPT = 16 * 1024 * 1024;
/** Small files at work at once in each volume; their cost is the waiting for the thread pool. */
const IN_FLIGHT = 8;

interface OpenFile {
  readonly place: Buffer;
  readonly member: TarMember;
  readonly pieces: Buffer[];
  /** Once a part of it was written. */
  target: UnpackedFile | undefined;
  /** For what comes in turn. */
  inTurn: StretchWriter | undefined;
  /** Or set aside to be. */
  written: number;
  readonly digest: FileDigest | undefined;
}

/** Bytes in the middle of a file, which are written while others of the same file are. */
export interface Stretch {
  /** The next of them. @throws LifeboatError DISK_FULL, DISK_FAILED */
  write(bytes: Buffer): Promise<void>;
  /** After the last of them. @throws LifeboatError DISK_FULL, DISK_FAILED */
  flush(): Promise<void>;
  /** Once all of them are written and flushed, and those of the stretches before it are joined. */
  join(): void;
}

/** One archive's bytes, in order. Pieces should be large: a mebibyte. */
export class VolumeExtractor {
  readonly #extraction: TarExtraction;
  readonly #where: string;
  readonly #reader: TarReader;
  readonly #active = new Set<Promise<void>>();
  #current: OpenFile | undefined;
  #failure: unknown;

  constructor(extraction: TarExtraction, where: string) {
    this.#extraction = extraction;
    this.#where = where;
    this.#reader = new TarReader(where);
  }

  /**
   * `bytes` may be used again once the promise has resolved. After an error nothing is at work any more; `abort` is to be
   * called.
   * @throws LifeboatError CORRUPT, DISK_FULL, DISK_FAILED
   */
  async push(bytes: Buffer): Promise<void> {
    try {
      for (const event of this.#reader.push(bytes)) {
        if (event.kind === 'member') await this.#begin(event.member);
        else if (event.kind === 'data') this.#current?.pieces.push(event.bytes);
        else if (event.kind === 'member-end') await this.#endMember();
        if (this.#failure !== undefined) break;
      }
      if (this.#current && this.#failure === undefined) await this.#writePieces(this.#current);
    } catch (error) {
      this.#failure ??= error;
    }
    await Promise.all(this.#active);
    if (this.#failure !== undefined) throw this.#failure;
    this.#extraction.requireWritten();
  }

  /**
   * Takes the archive's next bytes out of turn. Nothing is to be pushed before the stretch is written, flushed and joined; others
   * may be set aside.
   * @returns `undefined` unless all of them lie within a file that goes on behind them
   */
  async setAside(length: number): Promise<Stretch | undefined> {
    const file = this.#current;
    if (!file || length >= this.#reader.contentLeft || this.#isKept(file)) return undefined;
    const digest = file.digest?.stretch();
    if (file.digest && !digest) return undefined;
    const target = (file.target ??= await this.#extraction.createFile(file.place, file.member.size));
    const what = `Cannot write ${this.#nameOf(file)}`;
    await this.#flush(file);
    const writer = target.stretchAt(file.written);
    file.written += length;
    this.#reader.skip(length);
    return {
      write: async (bytes) => {
        const writing = onDisk(what, () => writer.write(bytes));
        digest?.update(bytes);
        await writing;
        this.#extraction.startWriteBack(target, what, bytes.length);
        this.#extraction.requireWritten();
      },
      flush: () => onDisk(what, () => writer.flush()),
      join: () => digest?.join(),
    };
  }

  /** @throws LifeboatError CORRUPT when the archive ends within a member; DISK_FULL, DISK_FAILED */
  finish(): void {
    this.#reader.finish();
    // All its files are closed, which waits for what the disk was told to write of them.
    this.#extraction.requireWritten();
  }

  /** Closes what is open; never throws, because the error that led here is the one to report. */
  async abort(): Promise<void> {
    await Promise.all(this.#active);
    await this.#current?.target?.close().catch(() => undefined);
    this.#current = undefined;
  }

  async #begin(member: TarMember): Promise<void> {
    const { folder, options } = this.#extraction;
    const place = folder.placeOf(member, this.#where);
    if (!place) return;
    const tablespace = /^pg_tblspc\/(\d+)$/.exec(place.toString('latin1'));
    if (member.type === 'directory') this.#start(folder.makeFolder(place));
    else if (member.type === 'file') {
      const digest = options.digestOf?.(place.toString('latin1'));
      this.#current = { place, member, pieces: [], target: undefined, inTurn: undefined, written: 0, digest };
    } else if (member.type === 'symlink' && tablespace && options.onTablespaceLink) {
      await options.onTablespaceLink({ oid: Number(tablespace[1]), target: member.linkTarget });
    } else if (member.type === 'symlink') {
      await folder.makeLink(place, member.linkTarget, this.#where);
    } else {
      const what = member.type === 'hard-link' ? 'a hard link' : 'no file, folder or link';
      throw new LifeboatError('CORRUPT', `${this.#where}: ${member.name} is ${what}`);
    }
  }

  async #endMember(): Promise<void> {
    const file = this.#current;
    if (!file) return;
    this.#current = undefined;
    const { kept } = this.#extraction;
    if (this.#isKept(file)) {
      kept.set(file.place.toString(), Buffer.concat(file.pieces));
      return;
    }
    this.#start(this.#completeFile(file));
    if (this.#active.size >= IN_FLIGHT) await Promise.race(this.#active);
  }

  /** Failures are kept for `push`: nothing may be left unhandled while other files are at work. */
  #start(work: Promise<void>): void {
    const settled = work.then(
      () => undefined,
      (error: unknown) => {
        this.#failure ??= error;
      },
    );
    this.#active.add(settled);
    void settled.then(() => this.#active.delete(settled));
  }

  async #completeFile(file: OpenFile): Promise<void> {
    try {
      await this.#writePieces(file);
      await this.#flush(file);
      if (file.digest)
        await onDisk(`Cannot bring ${this.#nameOf(file)} to the disk`, async () => file.target?.sync());
    } catch (error) {
      // A full disk may refuse that too; what failed first is what tells.
      await file.target?.close().catch(() => undefined);
      throw error;
    }
    await onDisk(`Cannot close ${this.#nameOf(file)}`, async () => file.target?.close());
    if (file.digest) this.#extraction.options.onDigest?.(file.place.toString('latin1'), file.digest.hex());
    this.#extraction.files += 1;
    this.#extraction.bytes += file.written;
  }

  /** A member that is to be kept stays in memory: its pieces are copied, since the caller uses the buffer again. */
  async #writePieces(file: OpenFile): Promise<void> {
    if (this.#isKept(file)) {
      if (file.member.size > LARGEST_KEPT) {
        throw new LifeboatError(
          'CORRUPT',
          `${this.#where}: ${file.member.name} has ${file.member.size} bytes`,
        );
      }
      file.pieces.splice(0, file.pieces.length, Buffer.concat(file.pieces));
      return;
    }
    const target = (file.target ??= await this.#extraction.createFile(file.place, file.member.size));
    const what = `Cannot write ${this.#nameOf(file)}`;
    for (const piece of file.pieces.splice(0)) {
      const writer = (file.inTurn ??= target.stretchAt(file.written));
      const writing = onDisk(what, () => writer.write(piece));
      // While the thread pool writes.
      file.digest?.update(piece);
      await writing;
      file.written += piece.length;
      this.#extraction.startWriteBack(target, what, piece.length);
    }
  }

  /** What came in turn, before something else comes behind it. */
  async #flush(file: OpenFile): Promise<void> {
    const { inTurn } = file;
    file.inTurn = undefined;
    await onDisk(`Cannot write ${this.#nameOf(file)}`, async () => inTurn?.flush());
  }

  #isKept({ place }: OpenFile): boolean {
    return this.#extraction.options.keep?.includes(place.toString()) ?? false;
  }

  #nameOf({ place }: OpenFile): string {
    return `${this.#extraction.options.folder}/${place.toString()}`;
  }
}
