import { LifeboatError } from '../../../../lib/domain/errors.ts';
import { formatLsn, type Lsn } from '../../../../lib/domain/wal/lsn.ts';
import { CRC32C_START, finishCrc32c, updateCrc32c } from './crc32c.ts';
import { OpenRecord } from './open-record.ts';
import { isHeard, tell, type WalListener } from './wal-listener.ts';
import { WalOrigin } from './wal-origin.ts';
import { WalPageCheck } from './wal-page-check.ts';
import { LONG_PAGE_HEADER, SHORT_PAGE_HEADER, WAL_PAGE_SIZE } from './wal-page.ts';
import { kindOfRecord, LARGEST_RECORD, RECORD_HEADER, RECORD_KINDS, type RecordKind } from './wal-record.ts';

export interface WalScannerOptions {
  /**
   * A page's start, where the rest of an earlier record is passed over; or, within a page, a record's start, such as the
   * `end` of the one before.
   */
  readonly from: Lsn;
  readonly segmentSize: number;
  readonly listener: WalListener;
  /** Also compare each record's CRC-32C, and refuse anything but zeros after the end of WAL. */
  readonly verify?: boolean;
  /** Begins the message of an error; "WAL" when left out. */
  readonly where?: string;
  /** Refuse the WAL of another cluster. Only a segment's first page tells. */
  readonly systemIdentifier?: bigint;
  /** The server's major version, where it is known: WAL of another is refused. Needed where `from` is within a page. */
  readonly major?: number;
}

const CRC_OFFSET = 20;
const ZEROS = Buffer.alloc(WAL_PAGE_SIZE);

/**
 * Reads consecutive WAL as it comes, in pieces of any size, and tells of the records that recovery targets hang on. Of a
 * record that nobody asked for and that lies inside a page, only the header is read. What PostgreSQL would refuse to
 * replay is refused: page addresses, lengths, back links and continuations that do not fit.
 */
export class WalScanner {
  readonly #listener: WalListener;
  readonly #heard: ReadonlySet<RecordKind>;
  readonly #verify: boolean;
  readonly #origin: WalOrigin;
  readonly #pages: WalPageCheck;
  readonly #firstPage: number;
  readonly #pageHeader = Buffer.alloc(LONG_PAGE_HEADER);
  /** Counted from the origin, like every position here. */
  #position: number;
  #open: OpenRecord | undefined;
  /** Low half of the last record's LSN: the next one points back to it. */
  #previousLow: number | undefined;
  /** Zeros are expected up to here: after a switch, or where WAL ends. */
  #zerosUntil = 0;
  #endOfWal: number | undefined;
  #complete: number;
  #records = 0;

  constructor(options: WalScannerOptions) {
    const { from, segmentSize } = options;
    this.#listener = options.listener;
    this.#heard = new Set(RECORD_KINDS.filter((kind) => isHeard(options.listener, kind)));
    this.#verify = options.verify ?? false;
    this.#origin = new WalOrigin(from, segmentSize, options.where ?? 'WAL');
    this.#pages = new WalPageCheck(this.#origin, options);
    this.#position = Number(from % BigInt(segmentSize));
    this.#complete = this.#position;
    const inPage = this.#position % WAL_PAGE_SIZE;
    this.#firstPage = inPage === 0 ? this.#position : -1;
    if (inPage !== 0 && (inPage < this.#headerLength() || inPage % 8 !== 0)) {
      throw new LifeboatError('BUG', `WAL cannot be read from ${formatLsn(from)}: no record begins there`);
    }
  }

  /** The LSN of the byte to be pushed next. */
  get position(): Lsn {
    return this.#origin.lsn(this.#position);
  }

  /** End of the last whole record: so far can be replayed what was pushed. */
  get complete(): Lsn {
    return this.#origin.lsn(align(this.#complete));
  }

  /** Where WAL ended without a switch, only zeros coming after it. `undefined` while it goes on. */
  get endOfWal(): Lsn | undefined {
    return this.#endOfWal === undefined ? undefined : this.#origin.lsn(this.#endOfWal);
  }

  /** Of the last page; 0 before the first. */
  get timeline(): number {
    return this.#pages.timeline;
  }

  /** The server's major version, by the pages' magic number; 0 before the first page. */
  get major(): number {
    return this.#pages.major;
  }

  /** `undefined` before the first start of a segment. */
  get systemIdentifier(): bigint | undefined {
    return this.#pages.systemIdentifier;
  }

  /** Whole records so far. */
  get records(): number {
    return this.#records;
  }

  /**
   * What was told before an error stands; after it the scanner takes no more.
   * @throws LifeboatError CORRUPT naming the LSN
   */
  push(bytes: Buffer): void {
    for (let at = 0; at < bytes.length;) {
      const inPage = this.#position % WAL_PAGE_SIZE;
      let next: number;
      if (this.#position < this.#zerosUntil) next = this.#takeZeros(bytes, at);
      else if (inPage < this.#headerLength()) next = this.#takePageHeader(bytes, at, inPage);
      else next = this.#takeRecords(bytes, at, Math.min(bytes.length, at + WAL_PAGE_SIZE - inPage));
      this.#position += next - at;
      at = next;
    }
  }

  #headerLength(): number {
    return this.#position % this.#origin.segmentSize < WAL_PAGE_SIZE ? LONG_PAGE_HEADER : SHORT_PAGE_HEADER;
  }

  #takePageHeader(bytes: Buffer, at: number, inPage: number): number {
    const length = this.#headerLength();
    const next = at + bytes.copy(this.#pageHeader, inPage, at, at + length - inPage);
    if (inPage + next - at === length) this.#enterPage(this.#position - inPage, length);
    return next;
  }

  #enterPage(page: number, headerLength: number): void {
    const header = this.#pages.read(this.#pageHeader, page);
    if (!header) {
      // A record that should go on here was not finished.
      this.#reachEnd(this.#open?.start ?? page, this.#pageHeader.subarray(0, headerLength));
      return;
    }
    if (this.#endOfWal !== undefined) {
      const next = formatLsn(this.#origin.lsn(page));
      throw this.#origin.corrupt(this.#endOfWal, `only zeros come after it, but WAL goes on at ${next}`);
    }
    const open = this.#open;
    if (!open) {
      if (header.continues && page !== this.#firstPage) {
        throw this.#origin.corrupt(page, 'the page continues a record that was not begun');
      }
      if (header.continues) this.#open = OpenRecord.restOf(header.remaining);
      return;
    }
    // The server crashed before it had written the rest, and went on without it.
    if (header.overwrites) this.#open = undefined;
    else if (!header.continues || header.remaining !== open.remaining) {
      const found = header.continues ? `${header.remaining} bytes` : 'nothing';
      throw this.#origin.corrupt(
        page,
        `the record before lacks ${open.remaining} bytes, the page has ${found} of it`,
      );
    }
  }

  /** What lies in `[from, limit)` of one page. @returns how far it got */
  #takeRecords(bytes: Buffer, from: number, limit: number): number {
    const shift = this.#position - from;
    for (let at = from; at < limit;) {
      if (this.#open) {
        at = this.#continueRecord(this.#open, bytes, at, limit, shift);
        if (this.#zerosUntil > shift + at) return at;
        continue;
      }
      const padding = align(shift + at) - (shift + at);
      const length = padding === 0 && limit - at >= RECORD_HEADER ? bytes.readUInt32LE(at) : 0;
      if (padding !== 0) at = Math.min(limit, at + padding);
      else if (length === 0 || length > limit - at) this.#open = OpenRecord.startingAt(shift + at);
      else {
        this.#takeWholeRecord(bytes, at, length, shift + at);
        at += length;
        if (this.#zerosUntil > shift + at) return at;
      }
    }
    return limit;
  }

  #takeWholeRecord(bytes: Buffer, at: number, length: number, start: number): void {
    this.#checkHeader(bytes, at, start);
    if (this.#verify) {
      const bodyCrc = updateCrc32c(CRC32C_START, bytes, at + RECORD_HEADER, at + length);
      this.#checkCrc(bytes, at, bodyCrc, start);
    }
    this.#finishRecord(start, start + length);
    const kind = kindOfRecord(bytes[at + 17]!, bytes[at + 16]!);
    if (kind) this.#tell(kind, bytes.subarray(at, at + length), start);
  }

  /** @returns how far it got */
  #continueRecord(open: OpenRecord, bytes: Buffer, from: number, limit: number, shift: number): number {
    const { start } = open;
    let at = from;
    if (start !== undefined && open.headerMissing) {
      at = open.takeHeader(bytes, at, limit);
      if (open.isNothing) this.#reachEnd(start, open.kept);
      if (open.isNothing || open.headerMissing) return at;
      this.#checkHeader(open.kept, 0, start);
      open.prepareBody((kind) => this.#heard.has(kind));
    }
    at = open.takeBody(bytes, at, limit, this.#verify && start !== undefined);
    if (open.remaining > 0) return at;
    this.#open = undefined;
    this.#complete = shift + at;
    if (start === undefined) return at;
    if (this.#verify) this.#checkCrc(open.kept, 0, open.bodyCrc, start);
    this.#finishRecord(start, shift + at);
    if (open.kind) this.#tell(open.kind, open.kept, start);
    return at;
  }

  #finishRecord(start: number, end: number): void {
    this.#previousLow = (this.#origin.low + start) >>> 0;
    this.#complete = end;
    this.#records += 1;
  }

  #tell(kind: RecordKind, record: Buffer, start: number): void {
    if (kind === 'switch') {
      this.#complete = this.#origin.segmentEnd(this.#complete - 1);
      this.#zerosUntil = this.#complete;
    }
    if (!this.#heard.has(kind)) return;
    const place = { lsn: this.#origin.lsn(start), end: this.complete };
    try {
      tell(this.#listener, kind, record, place, this.major);
    } catch (cause) {
      if (!(cause instanceof RangeError)) throw cause;
      throw this.#origin.corrupt(start, `no valid ${kind} record: ${cause.message}`, cause);
    }
  }

  #checkHeader(bytes: Buffer, at: number, start: number): void {
    const length = bytes.readUInt32LE(at);
    if (length < RECORD_HEADER || length > LARGEST_RECORD) {
      throw this.#origin.corrupt(start, `a record of ${length} bytes`);
    }
    const back = bytes.readUInt32LE(at + 8);
    if (this.#previousLow !== undefined && back !== this.#previousLow) {
      throw this.#origin.corrupt(start, 'the record does not point back to the one before it');
    }
  }

  #checkCrc(bytes: Buffer, at: number, bodyCrc: number, start: number): void {
    const expected = bytes.readUInt32LE(at + CRC_OFFSET);
    if (finishCrc32c(updateCrc32c(bodyCrc, bytes, at, at + CRC_OFFSET)) !== expected) {
      throw this.#origin.corrupt(start, 'the record’s checksum does not match');
    }
  }

  /** @param seen what was read of it already */
  #reachEnd(start: number, seen: Buffer): void {
    this.#open = undefined;
    this.#zerosUntil = this.#origin.segmentEnd(this.#position);
    // A scan that begins among zeros cannot know whether a switch was before them.
    if (this.#firstPage === -1 || this.timeline !== 0) this.#endOfWal = start;
    this.#requireZeros(seen, 0, seen.length);
  }

  /** @returns how far it got */
  #takeZeros(bytes: Buffer, at: number): number {
    const end = Math.min(bytes.length, at + this.#zerosUntil - this.#position);
    this.#requireZeros(bytes, at, end);
    return end;
  }

  #requireZeros(bytes: Buffer, from: number, to: number): void {
    // A segment that PostgreSQL used before holds old pages beyond the end of WAL.
    if (this.#endOfWal !== undefined && !this.#verify) return;
    for (let at = from; at < to; at += ZEROS.length) {
      const end = Math.min(to, at + ZEROS.length);
      if (ZEROS.compare(bytes, at, end, 0, end - at) !== 0) {
        throw this.#origin.corrupt(align(this.#complete), 'not only zeros come after it');
      }
    }
  }
}

/** Records begin at multiples of eight. */
function align(position: number): number {
  return position + (-position & 7);
}
