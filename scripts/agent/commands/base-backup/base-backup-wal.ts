import { LifeboatError } from '../../../../lib/domain/errors.ts';
import { formatLsn } from '../../../../lib/domain/wal/lsn.ts';
import { parseSegmentName, segmentsBetween } from '../../../../lib/domain/wal/segment.ts';
import type { WrittenBase } from '../../ports/base-backup.ts';
import type { BaseBackupStream } from '../../ports/replication.ts';

/**
 * Every segment from the backup's start to its stop is in it, so that it restores without an archive. They may be of two
 * timelines, where a standby's upstream was promoted meanwhile.
 * @throws LifeboatError WAL_INCOMPLETE naming what is missing
 */
export function requireWholeWal(
  start: BaseBackupStream['start'],
  { walSegments, end }: Pick<WrittenBase, 'walSegments' | 'end'>,
  segmentSize: number,
): void {
  const there = new Set(walSegments.map((name) => parseSegmentName(name, segmentSize)?.start));
  const needed = segmentsBetween(end.timeline, start.lsn, end.lsn, segmentSize);
  const missing = needed.filter((name) => !there.has(parseSegmentName(name, segmentSize)!.start));
  if (missing.length === 0) return;
  throw new LifeboatError(
    'WAL_INCOMPLETE',
    `The base backup goes from ${formatLsn(start.lsn)} to ${formatLsn(end.lsn)}, and of its WAL the server did not send ${missing.length} of ${needed.length} segments: ${missing.slice(0, 3).join(', ')}${missing.length > 3 ? ', …' : ''}`,
  );
}
