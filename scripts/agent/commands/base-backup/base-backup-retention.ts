import { decideWithVerdicts } from '../../../../lib/domain/base/base-floor.ts';
import { LifeboatError } from '../../../../lib/domain/errors.ts';
import { clockWasSet } from '../../../../lib/domain/run/run-record.ts';
import { readBaseViews } from '../../catalog/bases.ts';
import type { BaseBackupPorts } from '../../ports/base-backup.ts';

type RetentionPorts = Pick<BaseBackupPorts, 'stores' | 'journal' | 'host' | 'clock' | 'log'>;

/** The host's own folder; in S3 the watcher decides. @throws LifeboatError CLOCK_SET, DISK_FAILED */
export async function removeExpiredBases(
  ports: RetentionPorts,
  { app, days, justMade }: { readonly app: string; readonly days: number; readonly justMade: string },
): Promise<void> {
  const [local] = ports.stores;
  const bases = await readBaseViews(app, local, { runs: await ports.journal.records() });
  // No WAL lies beside them: there is no window that they have to open.
  const expired = decideWithVerdicts(bases, [], { days, now: ports.clock.now() }).flatMap(
    ({ base, expire }) => (expire ? [base] : []),
  );
  if (expired.length === 0) return;
  const labels = expired.map(({ label }) => label);
  const now = { time: ports.clock.now(), boot: ports.host.boot() };
  // A clock that jumped would make a week of backups look old at once, or the new one.
  if (clockWasSet(await ports.journal.records(), now) || labels.includes(justMade)) {
    throw new LifeboatError(
      'CLOCK_SET',
      `the clock was set since an earlier run, and ${labels.join(', ')} may not be old`,
    );
  }
  for (const { label, files } of expired) {
    for (const key of manifestFirst(files)) await local.remove(key);
    ports.log.info(`Removed ${label}: older than ${days} days`);
  }
}

/** What an interruption leaves is then no longer a backup, instead of one with a file missing. */
export function manifestFirst(files: readonly { readonly key: string }[]): string[] {
  const keys = files.map(({ key }) => key);
  return keys.toSorted((one, other) => rank(one) - rank(other));
}

function rank(key: string): number {
  return key.endsWith('/manifest.json') ? 0 : 1;
}
