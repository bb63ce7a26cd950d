import { isFromFuture, latestBackup, type Backup } from '../../../../lib/domain/backup/catalog.ts';
import { LifeboatError } from '../../../../lib/domain/errors.ts';
import { readCatalog } from '../../catalog/dumps.ts';
import type { RestorePorts } from '../../ports/restore.ts';
import { openPlaces, storePlace, type LocatedBackup, type UnreachableStore } from './restore-places.ts';

/**
 * Never takes a backup of which it is not sure that it is the newest.
 *
 * @throws LifeboatError BACKUP_NOT_FOUND, CORRUPT, MANIFEST_NEWER, or the failure of a configured store
 */
export async function findLatest(ports: RestorePorts): Promise<LocatedBackup> {
  const { reachable, unreachable, warnings } = await openPlaces(ports);
  const { backups } = await readCatalog(ports.app, reachable);
  const now = ports.clock.now();
  const latest = latestBackup(backups, now);
  requireAllReachable(unreachable, latest);
  requireNothingNewer(backups, latest);
  const ahead = backups.filter(({ time }) => isFromFuture(time, now) && latest && time > latest.time);
  if (ahead.length > 0) {
    const ids = ahead.map(({ id }) => id).join(', ');
    warnings.push(`Dated in the future by a wrong clock, so not taken for the latest: ${ids}`);
  }
  const unproven = backups.find(({ copies }) => copies.some(({ state }) => state === 'without manifest'));
  if (!latest && !unproven) {
    const where = ports.stores.map((store) => store.urlOf('')).join(' and ');
    throw new LifeboatError(
      'BACKUP_NOT_FOUND',
      `There is no backup of ${JSON.stringify(ports.app)} in ${where}`,
    );
  }
  if (latest && unproven && unproven.time > latest.time) {
    warnings.push(`${unproven.id} is newer, but has no manifest to prove it by; name it to restore from it.`);
  }
  const places = reachable.map((store) => storePlace(store, ''));
  const chosen = latest ?? (unproven as Backup);
  const manifest = chosen.copies.find((copy) => copy.state === 'complete')?.manifest;
  const name = manifest?.dump.key ?? chosen.copies.find(({ dump }) => dump)?.dump?.key ?? '';
  return { label: chosen.id, name, manifest, places, warnings };
}

/** What lies in a store that does not answer may be newer than all that can be seen. */
function requireAllReachable(unreachable: readonly UnreachableStore[], latest: Backup | undefined): void {
  const [first] = unreachable;
  if (!first) return;
  const { code, message, hint } = first.failure;
  throw new LifeboatError(
    code,
    `Which backup is the latest cannot be told without ${first.url}: ${message}`,
    {
      hint: latest
        ? `${hint} To restore the newest that can be reached: lifeboat restore ${latest.id}`
        : hint,
      cause: first.failure,
    },
  );
}

/** Older data than the user means by "latest" is never restored without their word. */
function requireNothingNewer(backups: readonly Backup[], latest: Backup | undefined): void {
  for (const backup of backups) {
    if (backup === latest) return;
    const bad = backup.copies.find(({ state }) => state === 'damaged' || state === 'unreadable');
    if (!bad) continue;
    const message = `The newest backup, ${backup.id}, cannot be used: ${bad.detail ?? bad.state}`;
    const before = latest && `To restore the one before it: lifeboat restore ${latest.id}`;
    const newer = bad.unreadable instanceof LifeboatError && bad.unreadable.code === 'MANIFEST_NEWER';
    if (!newer) throw new LifeboatError('CORRUPT', message, { hint: before ?? 'Run: lifeboat list' });
    const { code, hint } = bad.unreadable;
    throw new LifeboatError(code, message, { hint: before ? `${hint} ${before}` : hint });
  }
}
