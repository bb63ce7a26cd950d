import { parsePgTime, pgTimeOfDate } from '../wal/pg-time.ts';
import { isUsable, type Base, type UsableBase } from './base-catalog.ts';
import type { RecoveryTarget } from './recovery-target.ts';

/**
 * The base backups that would have been nearer to the target, had they been whole. One without a manifest was never a
 * backup.
 * @param bases of all clusters, newest first
 */
export function findPassedOver(
  bases: readonly Base[],
  chosen: UsableBase,
  target: RecoveryTarget,
): readonly Base[] {
  const { systemIdentifier } = chosen.series;
  return bases.filter((base) => {
    if (isUsable(base) || base.state === 'unfinished') return false;
    if (base.series.systemIdentifier !== systemIdentifier || base.time <= chosen.time) return false;
    return target.kind !== 'time' || endOf(base) <= parsePgTime(target.time);
  });
}

/** From here on it could have been recovered. */
function endOf({ manifest, time }: Base): bigint {
  return manifest?.stopTime === undefined ? pgTimeOfDate(time) : parsePgTime(manifest.stopTime);
}

/** For people. */
export function describePassedOver({ label, state, why }: Base, chosen: UsableBase): string {
  return `${label} cannot be used, ${state}: ${why}. ${chosen.label} before it is taken, with the WAL since then`;
}
