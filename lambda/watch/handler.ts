import type { DeploymentConfig, SeriesConfig } from '../../lib/domain/deployment/config.ts';
import { combineProblems } from '../../lib/domain/errors.ts';
import { METRIC } from '../../lib/domain/names.ts';
import { recoveryMetrics } from '../../lib/domain/watch/recovery-facts.ts';
import { parseWatchPayload } from '../../lib/domain/watch/payload.ts';
import { backupAges, NO_FACTS } from '../../lib/domain/watch/series-facts.ts';
import { cacheManifests, openManifests, type Manifests } from '../catalog.ts';
import type { Handler } from '../handler.ts';
import type { Log } from '../log.ts';
import type { ReportingPorts } from '../reporting.ts';
import type { HostSources } from '../tagged-hosts.ts';
import { folderName, watchBackups, type BackupMemory, type BackupsSeen } from './backups.ts';
import { findCarriers, type CarrierMemory, type Carriers } from './carriers.ts';
import { retainAll } from './recovery-passes.ts';
import { seriesName, watchRecovery, type RecoveryMemory } from './recovery.ts';
import { backupsAskedFor, emptyRunMemory, watchRuns, type RunMemory, type RunsSeen } from './runs.ts';

export type WatchEdges = Omit<ReportingPorts, 'requestId'> &
  HostSources & { readonly config: DeploymentConfig };

export interface WatchAnswer {
  readonly series: number;
  readonly tagged: number;
  /** Pieces of the journal and records that the state bucket needs no more. */
  readonly removed: number;
}

interface Memory {
  readonly runs: RunMemory;
  readonly backups: BackupMemory;
  readonly carriers: CarrierMemory;
  readonly manifests: Manifests;
  readonly recovery: RecoveryMemory;
}

/**
 * Every five minutes, from what lies in S3: reports what no event reported, measures what the alarms watch, and tags what the
 * lifecycle may remove. One series' trouble does not keep it from the others; it is thrown in the end.
 */
export function makeHandler(edges: WatchEdges): Handler<WatchAnswer> {
  const memory: Memory = {
    runs: emptyRunMemory(),
    backups: new Map(),
    carriers: new Map(),
    manifests: cacheManifests(openManifests(edges.backups)),
    recovery: { series: new Map(), manifests: new Map() },
  };
  return async (event, context) => {
    const { config, log, clock, backups, state } = edges;
    const { retention } = parseWatchPayload(event);
    const ports = { ...edges, requestId: context.awsRequestId, runMinutes: config.limits.runMinutes };
    const runs = await watchRuns(ports, memory.runs);
    const remainingMs = (): number => context.getRemainingTimeInMillis();
    const seen = await watchBackups(
      { config, backups, clock, log, remainingMs, manifests: memory.manifests, tagAll: retention === 'all' },
      memory.backups,
      runs,
    );
    const watching = { config, backups, state, clock, log, remainingMs };
    const unmeasured = await watchRecovery(watching, memory.recovery, seen.folders, runs);
    const carriers = await findCarriers({ ...edges, remainingMs }, memory.carriers, seen.folders);
    const { recovery } = memory;
    emitMetrics(log, { config, memory: memory.backups, recovery, runs, seen, carriers, now: clock.now() });
    // Last, and with what time is left: nobody is called for a backup that stays a day longer.
    const retained = await retainAll(watching, recovery, seen.folders, retention === 'all');
    const problem = combineProblems(
      [...runs.problems, ...seen.problems, ...unmeasured, ...carriers.problems, ...retained.problems].slice(
        0,
        20,
      ),
    );
    if (problem) throw problem;
    const expirable = [...seen.tagged.values()].reduce((sum, count) => sum + count, retained.tagged);
    log.info('Watched', {
      series: config.series.length,
      folders: seen.folders.length,
      runs: runs.asked.size,
      tagged: expirable,
      removed: retained.removed,
    });
    return { series: config.series.length, tagged: expirable, removed: retained.removed };
  };
}

interface Measured {
  readonly config: DeploymentConfig;
  readonly memory: BackupMemory;
  readonly recovery: RecoveryMemory;
  readonly runs: RunsSeen;
  readonly seen: BackupsSeen;
  readonly carriers: Carriers;
  readonly now: Date;
}

function emitMetrics(log: Log, measured: Measured): void {
  const { config, runs, seen } = measured;
  for (const series of config.series) {
    const { app } = series;
    const shares = runs.shares.get(app) ?? [];
    log.metrics(app, {
      ...measureSeries(measured, series),
      ...(shares.length > 0 && { [METRIC.runningShare]: shares }),
      ...(seen.tagged.has(app) && { [METRIC.expirableObjects]: seen.tagged.get(app)! }),
    });
  }
}

/** Values of all its hosts, by metric. */
function measureSeries(
  { memory, recovery, runs, seen, carriers, now }: Measured,
  series: SeriesConfig,
): Record<string, number[]> {
  const { app } = series;
  const values: Record<string, number[]> = {};
  for (const folder of seen.folders.filter(({ apps }) => apps.includes(app))) {
    const known = memory.get(folderName(folder));
    const asked = runs.asked.get(backupsAskedFor(app, folder.instanceId));
    // A host that has lost its tag or is no more: its last backup may grow old in peace.
    if (!known || !(carriers.has(series, folder.instanceId) ?? asked)) continue;
    const facts = known.facts.get(app) ?? NO_FACTS;
    const age = backupAges(facts, asked?.firstAskedAt, now);
    const recoverable = recovery.series.get(seriesName(folder, app))?.facts;
    const found = {
      ...(age && { [METRIC.backupAge]: age.sinceFinish, [METRIC.recoveryPointAge]: age.sinceStart }),
      ...(facts.sizeRatio !== undefined && { [METRIC.sizeRatio]: facts.sizeRatio }),
      ...(recoverable && recoveryMetrics(recoverable, now)),
    };
    for (const [name, value] of Object.entries(found)) (values[name] ??= []).push(value);
  }
  return values;
}
