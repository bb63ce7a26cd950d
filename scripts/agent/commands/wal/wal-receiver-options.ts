import type { Lsn } from '../../../../lib/domain/wal/lsn.ts';
import type { Clock } from '../../ports/host.ts';
import type { CommitWatch, JournalPiece, WalArchive } from '../../ports/wal.ts';

export interface ReceiverOptions {
  readonly archive: WalArchive;
  readonly clock: Clock;
  readonly segmentSize: number;
  /** Keeps trying until S3 has taken it; rejects only when that can never be, or nobody wants it any more. */
  readonly persist: <T>(write: () => Promise<T>) => Promise<T>;
  /** Everything before `lsn` lies in S3. */
  readonly onSafe: (lsn: Lsn) => void;
  /** What can never be stored; told once. */
  readonly onFailure: (error: unknown) => void;
  readonly watchCommits: (from: Lsn, segmentSize: number) => CommitWatch;
}

export interface ReceiverStart {
  readonly timeline: number;
  /** A segment's start, the first byte that will be received. */
  readonly from: Lsn;
  /** S3 holds what is received before it: that is compared. A segment's start. */
  readonly resume: Lsn;
  /** Of the segment at `resume`, in S3: what is received again must be the same, and new pieces begin where they end. */
  readonly pieces: readonly JournalPiece[];
}
