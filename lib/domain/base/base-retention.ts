import { isFromFuture } from '../backup/catalog.ts';
import { isUsable, type Base } from './base-catalog.ts';
import { holdsDamage } from './increment.ts';

const DAY_MS = 24 * 60 * 60 * 1000;

/**
 * Base backups of one store that may be removed from it, newest first: older than `days`, with a newer good one standing,
 * and nothing that stays built upon them. What has no manifest is left alone.
 */
export function expiredBases(
  bases: readonly Base[],
  { days, now }: { readonly days: number; readonly now: Date },
): Base[] {
  const ordered = bases.toSorted((one, other) => other.time.getTime() - one.time.getTime());
  const newest = ordered.find((base) => isGood(base) && !isFromFuture(base.time, now));
  if (!newest) return [];
  const stays = ({ time }: Base): boolean =>
    time >= newest.time || now.getTime() - time.getTime() < days * DAY_MS;
  const needed = new Set<string>();
  for (const base of ordered.filter(stays)) {
    for (const label of base.manifest?.chain ?? []) needed.add(`${base.series.systemIdentifier} ${label}`);
  }
  return ordered.filter((base) => {
    const { manifest, series, label } = base;
    return manifest !== undefined && !stays(base) && !needed.has(`${series.systemIdentifier} ${label}`);
  });
}

function isGood(base: Base): boolean {
  return isUsable(base) && !holdsDamage(base);
}
