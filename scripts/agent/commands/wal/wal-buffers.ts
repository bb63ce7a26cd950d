import type { Clock } from '../../ports/host.ts';
import { LifeboatError } from '../../../../lib/domain/errors.ts';

/** Raw WAL in memory: of the segment that is received, and of those that are being packed. */
const MEMORY = 48 * 1024 * 1024;
const FEWEST = 2;
const MOST = 16;

/**
 * With every buffer waiting for so long the stream is given up, and taken up again where S3 is then: a server that nobody
 * reads from could not shut down.
 */
const STALL_MS = 10_000;

/** Buffers of one segment each, which go round: how much WAL is held in memory is bounded by how many there are. */
export class SegmentBuffers {
  readonly #segmentSize: number;
  readonly #clock: Clock;
  readonly #free: Buffer[] = [];
  /** That may still be made. */
  #unmade: number;
  #waiting: (() => void) | undefined;

  constructor(segmentSize: number, clock: Clock) {
    this.#segmentSize = segmentSize;
    this.#clock = clock;
    this.#unmade = Math.min(MOST, Math.max(FEWEST, Math.floor(MEMORY / segmentSize)));
  }

  /** `undefined` while all are in use. */
  take(): Buffer | undefined {
    const free = this.#free.pop();
    if (free || this.#unmade === 0) return free;
    this.#unmade -= 1;
    // Shared, so that other threads pack it without a copy.
    return Buffer.from(new SharedArrayBuffer(this.#segmentSize));
  }

  giveBack(buffer: Buffer): void {
    this.#free.push(buffer);
    this.#waiting?.();
    this.#waiting = undefined;
  }

  /** However long that takes: where nobody else waits. For one at a time. */
  async takeWhenFree(): Promise<Buffer> {
    for (;;) {
      const buffer = this.take();
      if (buffer) return buffer;
      await new Promise<void>((resolve) => {
        this.#waiting = resolve;
      });
    }
  }

  /** For one at a time. @throws LifeboatError S3_UNAVAILABLE when none was given back for long */
  async untilFree(): Promise<void> {
    const freed = new Promise<boolean>((resolve) => {
      this.#waiting = () => resolve(true);
    });
    const late = this.#clock.sleep(STALL_MS).then(() => false);
    if (await Promise.race([freed, late])) return;
    throw new LifeboatError('S3_UNAVAILABLE', `S3 has taken no WAL for ${STALL_MS / 1000} seconds`);
  }
}
