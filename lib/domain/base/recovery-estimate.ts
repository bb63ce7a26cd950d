import type { RecoveryPlan } from './recovery-plan.ts';

/** Bytes a second, cautious: what small disks and two cores do. */
const UNPACKED_PER_SECOND = 150 * 1024 * 1024;
const REPLAYED_PER_SECOND = 30 * 1024 * 1024;
const START_MS = 3_000;

/** Milliseconds until the cluster is there. */
export function estimateRecovery({ bytes }: Pick<RecoveryPlan, 'bytes'>): number {
  const files = bytes.baseRaw + bytes.combined;
  return START_MS + (files / UNPACKED_PER_SECOND + bytes.walRaw / REPLAYED_PER_SECOND) * 1000;
}
