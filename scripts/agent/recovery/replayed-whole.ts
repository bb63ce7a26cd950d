import type { RecoveryPlan } from '../../../lib/domain/base/recovery-plan.ts';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import { formatLsn, type Lsn } from '../../../lib/domain/wal/lsn.ts';
import { parseSegmentName } from '../../../lib/domain/wal/segment.ts';

/** How far a server came that was given all the WAL of a plan. */
export interface ReachedEnd {
  /** The first byte that was not replayed; `undefined`: the paused server did not answer. */
  readonly lsn: Lsn | undefined;
  /** The last segment that it asked for. */
  readonly asked: string;
  /** The end of its log. */
  readonly said: string;
}

/**
 * PostgreSQL takes whatever it cannot read for the end of the WAL, also a record that was damaged on the source's disk, whose
 * SHA-256 in S3 fits. So it must have come past the last commit that S3 is known to hold; or to the LSN asked for, should that
 * come before. Not to the last byte: there may be half a record behind the commit.
 * @throws LifeboatError CORRUPT
 */
export function requireReplayedWhole(plan: RecoveryPlan, reached: ReachedEnd): void {
  const { target, latest, base } = plan;
  const size = base.manifest.server.walSegmentSize;
  const needed = target.kind === 'lsn' && target.lsn < latest.lsn ? target.lsn : latest.lsn;
  const asked = parseSegmentName(reached.asked, size);
  const atMost = reached.lsn ?? (asked && asked.start + BigInt(size));
  if (atMost !== undefined && atMost < needed)
    throw endedEarly(plan, reached.lsn ?? asked!.start, reached.said);
}

function endedEarly({ wal, latest }: RecoveryPlan, lsn: Lsn, said: string): LifeboatError {
  const segment =
    wal.find(({ start, end }) => start <= lsn && lsn < end)?.name ?? 'the base backup’s own WAL';
  const reason = REASON.exec(said)?.[1];
  const told = reason === undefined ? '' : ` (${reason})`;
  return new LifeboatError(
    'CORRUPT',
    `WAL cannot be read beyond ${formatLsn(lsn)}, in ${segment}${told}. S3 holds what was committed up to ${formatLsn(latest.lsn)}, of ${latest.time}. The SHA-256 of that segment is right: it came damaged from the source`,
    {
      hint: `What was recovered was removed. All that comes before: --to-lsn ${formatLsn(lsn)}. A new base backup makes whatever is committed from then on recoverable: lifeboat backup --kind base`,
    },
  );
}

/** What xlogreader.c says of a record or a page. */
const REASON =
  /LOG: {2}((?:incorrect|invalid|unexpected|out-of-sequence|record with|there is no contrecord|missing contrecord) .*)/;
