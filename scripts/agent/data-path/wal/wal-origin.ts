import { LifeboatError } from '../../../../lib/domain/errors.ts';
import { formatLsn, type Lsn } from '../../../../lib/domain/wal/lsn.ts';

/**
 * The start of the segment in which a scan began. Positions within the scan are numbers counted from it: there are
 * millions of records, and 64-bit integers are slow.
 */
export class WalOrigin {
  readonly segmentSize: number;
  readonly #base: Lsn;
  /** The lower 32 bits of the origin, to be compared with those of back links and page addresses. */
  readonly low: number;
  readonly #high: number;
  readonly #where: string;

  constructor(within: Lsn, segmentSize: number, where: string) {
    this.segmentSize = segmentSize;
    this.#base = within - (within % BigInt(segmentSize));
    this.low = Number(this.#base & 0xffff_ffffn);
    this.#high = Number(this.#base >> 32n);
    this.#where = where;
  }

  lsn(relative: number): Lsn {
    return this.#base + BigInt(relative);
  }

  /** The upper 32 bits of a position. */
  high(relative: number): number {
    return this.#high + Math.floor((this.low + relative) / 0x1_0000_0000);
  }

  segmentEnd(relative: number): number {
    return relative - (relative % this.segmentSize) + this.segmentSize;
  }

  corrupt(relative: number, problem: string, cause?: unknown): LifeboatError {
    const message = `${this.#where} is damaged at ${formatLsn(this.lsn(relative))}: ${problem}`;
    return new LifeboatError('CORRUPT', message, { hint: HINT, ...(cause === undefined ? {} : { cause }) });
  }
}

const HINT = 'Recovery cannot go beyond this point. Take a new base backup now: lifeboat backup --kind base';
