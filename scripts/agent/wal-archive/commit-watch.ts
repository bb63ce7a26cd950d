import { asLifeboatError, type LifeboatError } from '../../../lib/domain/errors.ts';
import type { Lsn } from '../../../lib/domain/wal/lsn.ts';
import { formatPgTime } from '../../../lib/domain/wal/pg-time.ts';
import type { LastCommit } from '../../../lib/domain/wal/wal-metadata.ts';
import { WalScanner } from '../data-path/wal/wal-scanner.ts';
import type { CommitWatch } from '../ports/wal.ts';

/**
 * @param from a segment's start
 * @param onTrouble told once; the WAL itself is kept all the same, only the times of its commits are not known
 */
export function watchCommits(
  from: Lsn,
  segmentSize: number,
  onTrouble: (error: LifeboatError) => void,
): CommitWatch {
  let newest: { readonly time: bigint; readonly end: Lsn } | undefined;
  let last: LastCommit | undefined;
  let broken = false;
  const scanner = new WalScanner({
    from,
    segmentSize,
    listener: {
      commit: ({ time, end }) => {
        newest = { time, end };
      },
    },
  });
  return {
    push: (bytes) => {
      if (broken) return;
      try {
        scanner.push(bytes);
      } catch (error) {
        broken = true;
        onTrouble(asLifeboatError(error));
      }
    },
    get last(): LastCommit | undefined {
      // Asked with every message, of which few bring a commit.
      if (newest && newest.end !== last?.lsn) last = { time: formatPgTime(newest.time), lsn: newest.end };
      return last;
    },
  };
}
