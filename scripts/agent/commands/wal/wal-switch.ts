import { segmentStart } from '../../../../lib/domain/wal/segment.ts';
import type { Lsn } from '../../../../lib/domain/wal/lsn.ts';
import type { Clock } from '../../ports/host.ts';

/**
 * An idle database writes a few bytes a minute, so one segment may stay open for months: thousands of pieces in the state bucket,
 * which has no lock, each of them needed. A complete segment is one object, under the backup bucket's lock.
 */
const LONGEST_OPEN_MS = 24 * 60 * 60 * 1000;

/** Knows since when the segment that is being filled has been open: across sessions, not across processes. */
export class SegmentAge {
  readonly #clock: Clock;
  #segment: Lsn | undefined;
  #since = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether the server should begin a new segment now; asked for again only a day later. @param position of the next byte to come */
  isDue(position: Lsn, segmentSize: number): boolean {
    const segment = segmentStart(position, segmentSize);
    const now = this.#clock.monotonic();
    if (segment !== this.#segment) {
      this.#segment = segment;
      this.#since = now;
    }
    if (position === segment || now - this.#since < LONGEST_OPEN_MS) return false;
    this.#since = now;
    return true;
  }
}
