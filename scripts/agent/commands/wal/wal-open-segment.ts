import { segmentName } from '../../../../lib/domain/wal/segment.ts';
import { LifeboatError } from '../../../../lib/domain/errors.ts';
import { formatLsn, type Lsn } from '../../../../lib/domain/wal/lsn.ts';
import type { JournalPiece, LastCommit, SegmentPlace } from '../../ports/wal.ts';

/** The segment that is being received: its bytes so far, and how many of them the journal holds. */
export class OpenSegment {
  readonly place: SegmentPlace;
  readonly start: Lsn;
  readonly buffer: Buffer;
  filled = 0;
  /** Bytes from its start that pieces in S3 hold; after a restart more than were received again yet. */
  journalled = 0;
  /** What S3 had when the session began: to be compared with what is received again. */
  unproven: JournalPiece[] = [];
  lastCommit: LastCommit | undefined;
  /** When its first byte arrived that is not in S3, by the clock that never jumps. */
  waitingSince: number | undefined;
  /** Its buffer is in use by so many writes, those to come included; WalReceiver counts them. */
  users = 0;

  constructor(timeline: number, start: Lsn, buffer: Buffer) {
    this.place = { timeline, segment: segmentName(timeline, start, buffer.length) };
    this.start = start;
    this.buffer = buffer;
  }

  get position(): Lsn {
    return this.start + BigInt(this.filled);
  }

  get end(): Lsn {
    return this.start + BigInt(this.buffer.length);
  }

  get complete(): boolean {
    return this.filled === this.buffer.length;
  }

  /** @returns how many of the bytes are of this segment */
  take(bytes: Buffer, from: number): number {
    const count = bytes.copy(this.buffer, this.filled, from);
    this.filled += count;
    return count;
  }

  /** Pieces of S3 whose bytes are all here again. */
  takeProvable(): JournalPiece[] {
    if (this.unproven.length === 0) return [];
    const here = this.unproven.filter(({ to }) => to <= this.position);
    this.unproven = this.unproven.filter(({ to }) => to > this.position);
    return here;
  }

  bytesOf({ from, to }: JournalPiece): Buffer {
    return this.buffer.subarray(Number(from - this.start), Number(to - this.start));
  }
}

/**
 * How far the journal reaches without a gap. Pieces after a gap are of no use: nothing can be replayed beyond it.
 * @param pieces in the order of their first bytes
 */
export function journalledTo(pieces: readonly JournalPiece[], start: Lsn): Lsn {
  let reached = start;
  for (const { from, to } of pieces) {
    if (from > reached) break;
    if (to > reached) reached = to;
  }
  return reached;
}

/** The last commit if it comes after `lsn`. */
export function newerThan(lsn: Lsn, commit: LastCommit | undefined): LastCommit | undefined {
  return commit && commit.lsn > lsn ? commit : undefined;
}

export function journalConflict({ timeline }: SegmentPlace, piece: JournalPiece): LifeboatError {
  const [from, to] = [formatLsn(piece.from), formatLsn(piece.to)];
  return new LifeboatError(
    'WAL_CONFLICT',
    `The journal in S3 holds other WAL from ${from} to ${to} on timeline ${timeline} than this server has there`,
  );
}
