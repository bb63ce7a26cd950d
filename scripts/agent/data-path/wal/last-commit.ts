import type { Lsn } from '../../../../lib/domain/wal/lsn.ts';
import type { TransactionAt } from './wal-listener.ts';
import { WAL_PAGE_SIZE } from './wal-page.ts';
import { WalScanner } from './wal-scanner.ts';

/** Under load the last few pages hold a commit. */
const FIRST_LOOK = 8 * WAL_PAGE_SIZE;

/**
 * The last commit whose record begins and ends in a stretch of WAL. It is looked for from the end, in stretches that grow: a
 * segment that is written to all the time need not be read whole.
 * @param bytes whole pages
 * @param start where they begin
 * @throws LifeboatError CORRUPT for what was read; earlier pages may not have been
 */
export function findLastCommit(bytes: Buffer, start: Lsn, segmentSize: number): TransactionAt | undefined {
  let until = bytes.length;
  for (let length = FIRST_LOOK; until > 0; length *= 2) {
    const from = Math.max(0, until - length);
    const commits: TransactionAt[] = [];
    const listener = { commit: (at: TransactionAt) => void commits.push(at) };
    const scanner = new WalScanner({ from: start + BigInt(from), segmentSize, listener });
    scanner.push(bytes.subarray(from, until));
    // The last record may go on in what was looked at before, where it counted as the rest of an earlier one.
    for (let at = until; at < bytes.length && scanner.complete < scanner.position; at += WAL_PAGE_SIZE)
      scanner.push(bytes.subarray(at, at + WAL_PAGE_SIZE));
    if (commits.length > 0) return commits.at(-1);
    until = from;
  }
  return undefined;
}
