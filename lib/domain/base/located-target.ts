import { LifeboatError } from '../errors.ts';
import { formatLsn } from '../wal/lsn.ts';
import type { LocatedTarget } from './recovery-choice.ts';
import { describeTarget, type RecoveryTarget } from './recovery-target.ts';

/**
 * A restore point's name can be given twice, as by every deployment. PostgreSQL takes the first behind the base backup, whichever
 * was meant.
 * @param timeline that was searched, ancestors included
 * @param found in WAL order
 * @throws LifeboatError RESTORE_REFUSED where there are several
 */
export function requireOnlyOne(
  target: RecoveryTarget,
  timeline: number,
  found: readonly LocatedTarget[],
): LocatedTarget | undefined {
  const [last, another] = found.toReversed();
  if (!another) return last;
  const places = found.map(
    (each) => `- ${formatLsn(each.lsn)} of timeline ${each.timeline}${each.time ? `, ${each.time}` : ''}`,
  );
  throw new LifeboatError(
    'RESTORE_REFUSED',
    `The WAL has ${describeTarget(target)} ${found.length} times:\n${places.join('\n')}`,
    {
      hint: `Say which by its LSN, as in: --to-lsn ${formatLsn(last!.lsn)} --timeline ${timeline}; or --base with the last base backup before it, from which the first one counts. Nothing was touched.`,
    },
  );
}
