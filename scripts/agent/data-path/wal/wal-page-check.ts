import { formatLsn } from '../../../../lib/domain/wal/lsn.ts';
import type { WalOrigin } from './wal-origin.ts';
import {
  LONG_PAGE_HEADER,
  readPageHeader,
  readSegmentFacts,
  WAL_PAGE_SIZE,
  type WalPageHeader,
} from './wal-page.ts';

/** Whether pages follow one another: address, server version, timeline, cluster. */
export class WalPageCheck {
  readonly #origin: WalOrigin;
  readonly #expected: bigint | undefined;
  /** Of the last page; 0 before the first. */
  timeline = 0;
  major: number;
  /** `undefined` before the first start of a segment. */
  systemIdentifier: bigint | undefined;

  /** @param expected any cluster's, any version's when left out */
  constructor(origin: WalOrigin, expected: { readonly systemIdentifier?: bigint; readonly major?: number }) {
    this.#origin = origin;
    this.#expected = expected.systemIdentifier;
    this.major = expected.major ?? 0;
  }

  /**
   * @param bytes the page's header
   * @param page where the page begins
   * @returns `undefined` for a page that was never written
   * @throws LifeboatError CORRUPT
   */
  read(bytes: Buffer, page: number): WalPageHeader | undefined {
    const header = readPageHeader(bytes, 0);
    if (header.magic === 0) return undefined;
    const startsSegment = page % this.#origin.segmentSize === 0;
    if (header.major === undefined || !header.known || header.long !== startsSegment) {
      const magic = `magic 0x${header.magic.toString(16)}`;
      throw this.#origin.corrupt(page, `no WAL page of PostgreSQL 14 to 18 (${magic})`);
    }
    this.#checkAddress(header, page);
    if (header.timeline < this.timeline || (this.major !== 0 && header.major !== this.major)) {
      const found = `timeline ${header.timeline} of PostgreSQL ${header.major}`;
      throw this.#origin.corrupt(page, `${found} where timeline ${this.timeline} of ${this.major} was`);
    }
    this.timeline = header.timeline;
    this.major = header.major;
    if (startsSegment) this.#checkSegment(bytes.subarray(0, LONG_PAGE_HEADER), page);
    return header;
  }

  #checkAddress({ addressLow, addressHigh }: WalPageHeader, page: number): void {
    const low = (this.#origin.low + page) >>> 0;
    if (addressLow === low && addressHigh === this.#origin.high(page)) return;
    const found = (BigInt(addressHigh) << 32n) | BigInt(addressLow);
    throw this.#origin.corrupt(page, `the page there is that of ${formatLsn(found)}`);
  }

  #checkSegment(bytes: Buffer, page: number): void {
    const { systemIdentifier, segmentSize, pageSize } = readSegmentFacts(bytes, 0);
    if (segmentSize !== this.#origin.segmentSize || pageSize !== WAL_PAGE_SIZE) {
      const found = `segments of ${segmentSize} and pages of ${pageSize} bytes`;
      const expected = `${this.#origin.segmentSize} and ${WAL_PAGE_SIZE}`;
      throw this.#origin.corrupt(page, `${found} instead of ${expected}`);
    }
    const expected = this.systemIdentifier ?? this.#expected;
    if (expected !== undefined && systemIdentifier !== expected) {
      throw this.#origin.corrupt(page, `it is WAL of the cluster ${systemIdentifier}, not of ${expected}`);
    }
    this.systemIdentifier = systemIdentifier;
  }
}
