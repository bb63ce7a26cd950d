import type { DeploymentConfig } from '../../lib/domain/deployment/config.ts';
import { combineProblems } from '../../lib/domain/errors.ts';
import { METRIC } from '../../lib/domain/names.ts';
import { parseWatchPayload } from '../../lib/domain/watch/payload.ts';
import { backupAges, NO_FACTS } from '../../lib/domain/watch/series-facts.ts';
import { cacheManifests, openManifests, type Manifests } from '../catalog.ts';
import type { Handler } from '../handler.ts';
import type { Log } from '../log.ts';
import type { ReportingPorts } from '../reporting.ts';
import type { HostSources } from '../tagged-hosts.ts';
import { folderName, watchBackups, type BackupMemory, type BackupsSeen } from './backups.ts';
import { findCarriers, type CarrierMemory, type Carriers } from './carriers.ts';
import { backupsAskedFor, emptyRunMemory, watchRuns, type RunMemory, type RunsSeen } from './runs.ts';

export type WatchEdges = Omit<ReportingPorts, 'requestId'> &
  HostSources & { readonly config: DeploymentConfig };

export interface WatchAnswer {
  readonly series: number;
  readonly tagged: number;
}

interface Memory {
  readonly runs: RunMemory;
  readonly backups: BackupMemory;
  readonly carriers: CarrierMemory;
  readonly manifests: Manifests;
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
  };
  return async (event, context) => {
    const { config, log, clock, backups } = edges;
    const { retention } = parseWatchPayload(event);
    const ports = { ...edges, requestId: context.awsRequestId, runMinutes: config.limits.runMinutes };
    const runs = await watchRuns(ports, memory.runs);
    const remainingMs = (): number => context.getRemainingTimeInMillis();
    const seen = await watchBackups(
      { config, backups, clock, log, remainingMs, manifests: memory.manifests, tagAll: retention === 'all' },
      memory.backups,
      runs,
    );
    const carriers = await findCarriers({ ...edges, remainingMs }, memory.carriers, seen.folders);
    emitMetrics(log, { config, memory: memory.backups, runs, seen, carriers, now: clock.now() });
    const problem = combineProblems([...runs.problems, ...seen.problems, ...carriers.problems].slice(0, 20));
    if (problem) throw problem;
    const expirable = [...seen.tagged.values()].reduce((sum, count) => sum + count, 0);
    log.info('Watched', {
      series: config.series.length,
      folders: seen.folders.length,
      runs: runs.asked.size,
      tagged: expirable,
    });
    return { series: config.series.length, tagged: expirable };
  };
}

interface Measured {
  readonly config: DeploymentConfig;
  readonly memory: BackupMemory;
  readonly runs: RunsSeen;
  readonly seen: BackupsSeen;
  readonly carriers: Carriers;
  readonly now: Date;
}

function emitMetrics(log: Log, { config, memory, runs, seen, carriers, now }: Measured): void {
  for (const series of config.series) {
    const { app } = series;
    const ages: number[] = [];
    const recoveryPointAges: number[] = [];
    const ratios: number[] = [];
    for (const folder of seen.folders.filter(({ apps }) => apps.includes(app))) {
      const known = memory.get(folderName(folder));
      const asked = runs.asked.get(backupsAskedFor(app, folder.instanceId));
      // A host that has lost its tag or is no more: its last backup may grow old in peace.
      if (!known || !(carriers.has(series, folder.instanceId) ?? asked)) continue;
      const facts = known.facts.get(app) ?? NO_FACTS;
      const age = backupAges(facts, asked?.firstAskedAt, now);
      if (age) {
        ages.push(age.sinceFinish);
        recoveryPointAges.push(age.sinceStart);
      }
      if (facts.sizeRatio !== undefined) ratios.push(facts.sizeRatio);
    }
    const shares = runs.shares.get(app) ?? [];
    log.metrics(app, {
      ...(ages.length > 0 && {
        [METRIC.backupAge]: ages,
        [METRIC.recoveryPointAge]: recoveryPointAges,
      }),
      ...(ratios.length > 0 && { [METRIC.sizeRatio]: ratios }),
      ...(shares.length > 0 && { [METRIC.runningShare]: shares }),
      ...(seen.tagged.has(app) && { [METRIC.expirableObjects]: seen.tagged.get(app)! }),
    });
  }
}
