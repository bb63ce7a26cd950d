import { LifeboatError } from '../../../../lib/domain/errors.ts';
import { countNewlines } from '../count-newlines.ts';
import { readArchiveHead, type ArchiveEntry, type ArchiveHead } from './archive-reader.ts';

/**
 * Walks a custom-format archive (pg_dump -Fc -Z0) as it streams by. After the table of contents come data blocks: type,
 * dumpId, then chunks of length and bytes until a length of zero; a block of large objects holds one such run for each.
 */
export interface BlockListener {
  head?(head: ArchiveHead): void;
  /**
   * @param offset of the block's type byte in the archive, where a restore may seek to
   * @param body the block's type, and the offset at which its data begins
   */
  blockStart?(entry: ArchiveEntry, offset: number, body: BlockBody): void;
  /** Bytes of the entry's data. What lies in `chunk` before `from` is not looked at again. */
  data?(chunk: Buffer, from: number, to: number): void;
  /** @param rows of COPY data; 0 for large objects. @param offset after the block */
  blockEnd?(entry: ArchiveEntry, rows: number, offset: number): void;
}

export interface BlockBody {
  readonly type: number;
  readonly offset: number;
}

const TABLE_DATA = 1;
const LARGE_OBJECTS = 3;
const NEWLINE = 10;
/** What pg_dump writes after a table's last row. */
const COPY_END = Buffer.from('\\.\n\n\n').readUIntBE(0, 5);
const COPY_END_LENGTH = 5;

function newlinesIn(chunk: Buffer, from: number, to: number): number {
  let found = 0;
  for (let index = from; index < to; index += 1) if (chunk[index] === NEWLINE) found += 1;
  return found;
}

/** A table of contents larger than this is no table of contents. */
const HEAD_LIMIT = 1 << 30;

type State = 'head' | 'block type' | 'block id' | 'object id' | 'chunk length' | 'chunk data';

export class BlockWalker {
  readonly #listener: BlockListener;
  readonly #countsRows: boolean;
  #state: State = 'head';
  #head: ArchiveHead | undefined;
  #entries = new Map<number, ArchiveEntry>();
  #headBytes = Buffer.alloc(0);
  #nextTry = 64 * 1024;
  #offset = 0;
  #blockType = 0;
  #blockOffset = 0;
  #entry: ArchiveEntry | undefined;
  #blocks = 0;
  #number: number[] = [];
  #chunkLeft = 0;
  #newlines = 0;
  /** The last five bytes of the block's data, as one number. */
  #tail = 0;

  /**
   * @param options.countsRows false: `data` may change what it has seen, and `blockEnd` says 0
   * @param options.head read already; what is pushed begins after it
   */
  constructor(listener: BlockListener, options: { countsRows?: boolean; head?: ArchiveHead } = {}) {
    this.#listener = listener;
    this.#countsRows = options.countsRows ?? true;
    if (options.head) this.#start(options.head);
  }

  /** True when the archive may end here: table of contents read, and every entry's data seen to its end. */
  get complete(): boolean {
    const expected = this.#head?.entries.filter((entry) => entry.hasData).length;
    return this.#state === 'block type' && this.#blocks === expected;
  }

  push(chunk: Buffer): void {
    if (this.#state === 'head') this.#readHead(chunk);
    else this.#walk(chunk);
  }

  /** To be called at the archive's end: a small one may have ended before the first try at its head. */
  end(): void {
    if (this.#state !== 'head') return;
    this.#nextTry = 0;
    this.#readHead(Buffer.alloc(0));
  }

  #readHead(chunk: Buffer): void {
    this.#headBytes = Buffer.concat([this.#headBytes, chunk]);
    if (this.#headBytes.length < this.#nextTry) return;
    const head = readArchiveHead(this.#headBytes);
    if (!head) {
      if (this.#headBytes.length > HEAD_LIMIT)
        throw new LifeboatError('CORRUPT', 'The archive’s table of contents has no end');
      this.#nextTry = this.#headBytes.length * 2;
      return;
    }
    this.#listener.head?.(head);
    const rest = this.#headBytes.subarray(head.length);
    this.#headBytes = Buffer.alloc(0);
    this.#start(head);
    this.#walk(rest);
  }

  #start(head: ArchiveHead): void {
    this.#head = head;
    this.#entries = new Map(head.entries.map((entry) => [entry.dumpId, entry]));
    this.#state = 'block type';
    this.#offset = head.length;
  }

  #walk(chunk: Buffer): void {
    let position = 0;
    while (position < chunk.length) {
      if (this.#state === 'chunk data' || this.#state === 'chunk length')
        position = this.#chunks(chunk, position);
      else position = this.#blockHead(chunk, position);
    }
    this.#offset += chunk.length;
  }

  #blockHead(chunk: Buffer, position: number): number {
    if (this.#state === 'block type') {
      this.#blockType = chunk[position]!;
      this.#blockOffset = this.#offset + position;
      if (this.#blockType !== TABLE_DATA && this.#blockType !== LARGE_OBJECTS) {
        throw new LifeboatError(
          'CORRUPT',
          `Unknown block type ${this.#blockType} at byte ${this.#blockOffset} of the archive`,
        );
      }
      this.#state = 'block id';
      return position + 1;
    }
    const value = this.#integer(chunk[position]!);
    if (value === undefined) return position + 1;
    const next = this.#offset + position + 1;
    if (this.#state === 'block id') this.#startBlock(value, next);
    else if (value === 0) this.#endBlock(0, next);
    else this.#state = 'chunk length';
    return position + 1;
  }

  #startBlock(dumpId: number, bodyOffset: number): void {
    this.#entry = this.#entries.get(dumpId);
    if (!this.#entry)
      throw new LifeboatError(
        'CORRUPT',
        `A data block of unknown entry ${dumpId} at byte ${this.#blockOffset} of the archive`,
      );
    const body = { type: this.#blockType, offset: bodyOffset };
    this.#listener.blockStart?.(this.#entry, this.#blockOffset, body);
    this.#newlines = 0;
    this.#tail = 0;
    this.#state = this.#blockType === TABLE_DATA ? 'chunk length' : 'object id';
  }

  #endBlock(rows: number, offset: number): void {
    this.#blocks += 1;
    this.#state = 'block type';
    this.#listener.blockEnd?.(this.#entry!, rows, offset);
  }

  /**
   * Chunks are often as short as a row, so newlines are counted over the whole stretch at once and those that are
   * really bytes of a length are taken off again.
   */
  #chunks(chunk: Buffer, position: number): number {
    let at = position;
    let inLengths = 0;
    while (at < chunk.length && (this.#state === 'chunk data' || this.#state === 'chunk length')) {
      if (this.#state === 'chunk data') {
        at = this.#chunkData(chunk, at);
        continue;
      }
      const start = at;
      at = this.#chunkLength(chunk, at);
      if (this.#countsRows) inLengths += newlinesIn(chunk, start, at);
    }
    if (this.#countsRows) this.#newlines += countNewlines(chunk, position, at) - inLengths;
    if (this.#state === 'object id' && this.#blockType === TABLE_DATA) {
      const rows = this.#countsRows ? this.#newlines - (this.#tail === COPY_END ? 3 : 0) : 0;
      this.#endBlock(rows, this.#offset + at);
    }
    return at;
  }

  #chunkData(chunk: Buffer, at: number): number {
    const stop = Math.min(chunk.length, at + this.#chunkLeft);
    this.#chunkLeft -= stop - at;
    if (stop - at >= COPY_END_LENGTH) this.#tail = chunk.readUIntBE(stop - COPY_END_LENGTH, COPY_END_LENGTH);
    else
      for (let index = at; index < stop; index += 1)
        this.#tail = (this.#tail * 256 + chunk[index]!) % 2 ** 40;
    this.#listener.data?.(chunk, at, stop);
    if (this.#chunkLeft === 0) this.#state = 'chunk length';
    return stop;
  }

  #chunkLength(chunk: Buffer, at: number): number {
    const whole = this.#number.length === 0 && this.#head!.integerSize === 4 && at + 5 <= chunk.length;
    const length = whole ? chunk.readUInt32LE(at + 1) : this.#integer(chunk[at]!);
    if (length !== undefined) {
      this.#chunkLeft = length;
      this.#state = length > 0 ? 'chunk data' : 'object id';
    }
    return at + (whole ? 5 : 1);
  }

  /** Collects a sign byte and the integer's bytes, little endian; `undefined` until the last one. */
  #integer(byte: number): number | undefined {
    this.#number.push(byte);
    if (this.#number.length <= this.#head!.integerSize) return undefined;
    let value = 0;
    for (let index = this.#number.length - 1; index > 0; index -= 1)
      value = value * 256 + this.#number[index]!;
    const negative = this.#number[0] !== 0;
    this.#number = [];
    return negative ? -value : value;
  }
}
