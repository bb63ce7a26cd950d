import { asLifeboatError, type LifeboatError } from '../../lib/domain/errors.ts';
import { METRIC } from '../../lib/domain/names.ts';
import { isDue, type WatchedFolder } from '../../lib/domain/watch/places.ts';
import { forEachOf } from '../pool.ts';
import { retainRecovery, type RetentionDone } from './recovery-retention.ts';
import { seriesName, type RecoveryMemory, type RecoveryPorts, type SeriesRecovery } from './recovery.ts';

const AT_ONCE = 4;
const RESERVE_MS = 10_000;

/**
 * Base backups, WAL and journal of every series whose turn it is, for as long as there is time. What is not done then goes on
 * in the next invocation where it was left; where something failed, it is tried again within the hour.
 */
export async function retainAll(
  ports: RecoveryPorts,
  memory: RecoveryMemory,
  folders: readonly WatchedFolder[],
  everywhere: boolean,
): Promise<RetentionDone> {
  const all = folders.flatMap((folder) => folder.apps.map((app) => ({ folder, app })));
  const due = all.flatMap(({ folder, app }) => {
    const series = memory.series.get(seriesName(folder, app));
    if (!series || series.clusters.length === 0) return [];
    const begin = everywhere || isTurnOf(ports, folder, series);
    return begin || series.retention ? [{ folder, app, series }] : [];
  });
  const problems: LifeboatError[] = [];
  const sum = { tagged: 0, removed: 0 };
  await forEachOf(due, AT_ONCE, async ({ folder, app, series }) => {
    try {
      const done = await goOn(ports, memory, folder, app, series);
      if (!done) return;
      series.retryRetention = done.problems.length > 0;
      problems.push(...done.problems);
      sum.tagged += done.tagged;
      sum.removed += done.removed;
      ports.log.metrics(app, { [METRIC.expirableObjects]: done.tagged });
    } catch (error) {
      series.retention = undefined;
      series.retryRetention = true;
      problems.push(asLifeboatError(error));
    }
  });
  for (const { message } of problems)
    ports.log.error('The retention of base backups and WAL left something undone', { error: message });
  return { ...sum, problems };
}

function isTurnOf(
  { clock }: RecoveryPorts,
  folder: WatchedFolder,
  { retryRetention }: SeriesRecovery,
): boolean {
  return isDue(retryRetention ? 'listing' : 'tagging', folder, clock.now());
}

/** @returns `undefined` where it is not done yet */
async function goOn(
  { backups, state, config, clock, log, remainingMs }: RecoveryPorts,
  { manifests }: RecoveryMemory,
  { prefix }: WatchedFolder,
  app: string,
  series: SeriesRecovery,
): Promise<RetentionDone | undefined> {
  const days = config.storage.retentionDays;
  const work = { backups, state, manifests, log, prefix, app, days, now: clock.now() };
  const retention = (series.retention ??= retainRecovery(work));
  while (remainingMs() > RESERVE_MS) {
    const step = await retention.next();
    if (!step.done) continue;
    series.retention = undefined;
    return step.value;
  }
  return undefined;
}
