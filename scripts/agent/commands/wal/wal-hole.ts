import { formatLsn, type Lsn } from '../../../../lib/domain/wal/lsn.ts';
import { segmentName } from '../../../../lib/domain/wal/segment.ts';
import type { LastCommit, WalArchive } from '../../ports/wal.ts';
import { journalledTo } from './wal-open-segment.ts';
import type { StreamStart } from './wal-resume.ts';

/** How many objects are asked for their last commit: beyond, the hole's beginning is told without a time. */
const LOOK_BACK = 50;

export interface HoleInput {
  /** Where what S3 holds in segments ends. */
  readonly lost: StreamStart;
  /** Where WAL is held again. */
  readonly resumed: StreamStart;
  readonly segmentSize: number;
  /** The server's clock. */
  readonly now: Date;
  readonly reason: string;
}

/**
 * Records WAL that cannot be had any more, before anything after it is stored: whoever looks at S3 later must know that it was
 * noticed.
 * @returns a line for people
 */
export async function recordHole(archive: WalArchive, input: HoleInput): Promise<string> {
  const { lost, resumed, segmentSize, now, reason } = input;
  const place = { timeline: lost.timeline, segment: segmentName(lost.timeline, lost.from, segmentSize) };
  const from = journalledTo(await archive.pieces(place), lost.from);
  if (from >= resumed.from) return 'The journal in S3 has what the server no longer has';
  const since = await findLastCommit(archive, lost, segmentSize);
  await archive.putHole({
    timeline: lost.timeline,
    from,
    to: resumed.from,
    since: since?.time,
    recordedAt: now,
    reason,
  });
  const between = since
    ? `commits after ${since.time} and before ${now.toISOString()}`
    : `commits before ${now.toISOString()}`;
  return `WAL from ${formatLsn(from)} to ${formatLsn(resumed.from)} is lost (${between}): ${reason}`;
}

/** The last commit that S3 holds before the bytes at `end`, in the journal or in the segments before. */
async function findLastCommit(
  archive: WalArchive,
  { timeline, from }: StreamStart,
  segmentSize: number,
): Promise<LastCommit | undefined> {
  const open = { timeline, segment: segmentName(timeline, from, segmentSize) };
  const pieces = await archive.pieces(open);
  for (const piece of pieces.toReversed().slice(0, LOOK_BACK)) {
    const found = await archive.pieceCommit(open, piece);
    if (found) return found;
  }
  const size = BigInt(segmentSize);
  let start: Lsn = from - size;
  for (let count = 0; count < LOOK_BACK && start >= 0n; count += 1, start -= size) {
    const found = await archive.segmentCommit({
      timeline,
      segment: segmentName(timeline, start, segmentSize),
    });
    if (found) return found;
  }
  return undefined;
}
