import type { RecoveryPlan } from './recovery-plan.ts';

type Reach = Pick<RecoveryPlan, 'target' | 'timeline' | 'latest'>;

/**
 * Whether a plan from other base backups may stand for the one that was wanted: nobody is to get another state unawares. Where
 * its base backup is left out, a whole timeline may go with it, and an older one answers in its place, whose positions are as
 * high. The latest state may lie behind a hole, and a base backup's end is that one's alone.
 */
export function leadsAsFar({ target, timeline, latest }: Reach, wanted: Reach): boolean {
  if (timeline !== wanted.timeline || target.kind === 'immediate') return false;
  return target.kind !== 'latest' || latest.lsn >= wanted.latest.lsn;
}
