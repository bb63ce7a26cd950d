import { asLifeboatError, type LifeboatError } from '../../../lib/domain/errors.ts';
import type { Lsn } from '../../../lib/domain/wal/lsn.ts';
import { formatPgTime } from '../../../lib/domain/wal/pg-time.ts';
import type { LastCommit } from '../../../lib/domain/wal/wal-metadata.ts';
import { findLastCommit } from '../data-path/wal/last-commit.ts';
import type { TransactionAt } from '../data-path/wal/wal-listener.ts';
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
  const note = ({ time, end }: TransactionAt): void => {
    newest = { time, end };
  };
  const scannerFrom = (start: Lsn): WalScanner =>
    new WalScanner({ from: start, segmentSize, listener: { commit: note } });
  let scanner = scannerFrom(from);
  const untilBroken = (look: () => void): void => {
    if (broken) return;
    try {
      look();
    } catch (error) {
      broken = true;
      onTrouble(asLifeboatError(error));
    }
  };
  return {
    push: (bytes) => untilBroken(() => scanner.push(bytes)),
    pushSegment: (bytes) =>
      untilBroken(() => {
        const found = findLastCommit(bytes, scanner.position, segmentSize);
        if (found) note(found);
        scanner = scannerFrom(scanner.position + BigInt(segmentSize));
      }),
    get last(): LastCommit | undefined {
      // Asked with every message, of which few bring a commit.
      if (newest && newest.end !== last?.lsn) last = { time: formatPgTime(newest.time), lsn: newest.end };
      return last;
    },
  };
}
