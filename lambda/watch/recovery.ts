import type { DeploymentConfig } from '../../lib/domain/deployment/config.ts';
import { newestUsable, separateClusters, type Base } from '../../lib/domain/base/base-catalog.ts';
import { asLifeboatError, LifeboatError } from '../../lib/domain/errors.ts';
import type { WalSeries } from '../../lib/domain/wal/keys.ts';
import { dateOfPgTime, parsePgTime } from '../../lib/domain/wal/pg-time.ts';
import {
  restorableWindow,
  withCommits,
  type RestorableStretch,
  type RestorableWindow,
} from '../../lib/domain/wal/window.ts';
import { isDue, type WatchedFolder } from '../../lib/domain/watch/places.ts';
import { recoveryFacts, type RecoveryFacts } from '../../lib/domain/watch/recovery-facts.ts';
import { readBaseCatalog, type BaseManifestMemory } from '../base-catalog.ts';
import type { Bucket } from '../bucket.ts';
import type { Clock } from '../clock.ts';
import { readLastCommits } from '../last-commits.ts';
import type { Log } from '../log.ts';
import { forEachOf } from '../pool.ts';
import type { WalRetention } from './recovery-retention.ts';
import { backupsAskedFor, type RunsSeen } from './runs.ts';
import { segmentSizeOf, WalSurvey, type Steps, type WalPlace } from './wal-survey.ts';

/**
 * What is known of the point-in-time recovery of a series on a host. Base backups are listed once an hour and after a new
 * result; WAL is listed whole after a cold start and once a day, and in between only behind what is known: two listings and
 * a few questions about single objects every five minutes, however large the archive is.
 */
export interface SeriesRecovery {
  readonly listedAt: Date;
  readonly clusters: readonly string[];
  /** Their files left out. */
  readonly bases: readonly Base[];
  live: LiveCluster | undefined;
  facts: RecoveryFacts | undefined;
  /** Under way, and taken up by the next invocation where there was no time. */
  retention: WalRetention | undefined;
  /** The last one left something undone. */
  retryRetention: boolean;
}

interface LiveCluster {
  readonly place: WalPlace;
  readonly survey: WalSurvey;
  readonly segmentSize: number;
  /** `undefined`: it has not been listed whole yet. */
  surveyedAt: Date | undefined;
  readonly surveying: Steps<void>;
}

/** By folder and app. */
export interface RecoveryMemory {
  readonly series: Map<string, SeriesRecovery>;
  readonly manifests: BaseManifestMemory;
}

export interface RecoveryPorts {
  readonly config: DeploymentConfig;
  readonly backups: Bucket;
  readonly state: Bucket;
  readonly clock: Clock;
  readonly log: Log;
  /** Until the function is ended. */
  readonly remainingMs: () => number;
}

const AT_ONCE = 8;
/** Left for the metrics. */
const RESERVE_MS = 30_000;
const DAY_MS = 24 * 60 * 60 * 1000;

export function seriesName({ prefix }: WatchedFolder, app: string): string {
  return `${prefix} ${app}`;
}

/** Measures the restorable window of every series. @returns what went wrong; the facts of such a series only age */
export async function watchRecovery(
  ports: RecoveryPorts,
  memory: RecoveryMemory,
  folders: readonly WatchedFolder[],
  runs: RunsSeen,
): Promise<LifeboatError[]> {
  const all = folders.flatMap((folder) => folder.apps.map((app) => ({ folder, app })));
  const names = new Set(all.map(({ folder, app }) => seriesName(folder, app)));
  for (const name of memory.series.keys()) if (!names.has(name)) memory.series.delete(name);
  const problems: LifeboatError[] = [];
  let left = 0;
  await forEachOf(all, AT_ONCE, async ({ folder, app }) => {
    try {
      if (!(await measure(ports, memory, folder, app, runs))) left += 1;
    } catch (error) {
      problems.push(asLifeboatError(error));
      ports.log.error('The restorable window of a series could not be measured', {
        app,
        prefix: folder.prefix,
        error: problems.at(-1)!.message,
      });
    }
  });
  if (left > 0) problems.push(noTime(left));
  return problems;
}

function noTime(left: number): LifeboatError {
  return new LifeboatError(
    'S3_UNAVAILABLE',
    `There was no time to measure the restorable window of ${left} series`,
    {
      hint: 'The next invocation goes on from there. If this goes on, give the watch function more time or memory.',
    },
  );
}

/** @returns whether there was time for it */
async function measure(
  ports: RecoveryPorts,
  memory: RecoveryMemory,
  folder: WatchedFolder,
  app: string,
  runs: RunsSeen,
): Promise<boolean> {
  const inTime = (): boolean => ports.remainingMs() >= RESERVE_MS;
  if (!inTime()) return false;
  const name = seriesName(folder, app);
  const known = memory.series.get(name);
  const now = ports.clock.now();
  const relist =
    !known || isLost(known) || isDue('listing', folder, now) || hasNewResult(known, folder, app, runs);
  const series = relist ? await listSeries(ports, memory, folder, app, known) : known;
  memory.series.set(name, series);
  const { live } = series;
  if (!live) return true;
  if (!live.surveyedAt) {
    series.live = undefined;
    const done = await finish(live.surveying, inTime);
    series.live = live;
    if (!done) return false;
    live.surveyedAt = now;
    // A whole listing takes its time: what was listed first is older than what was listed last.
    await live.survey.listNew();
  } else {
    await live.survey.listNew();
    if (relist) await live.survey.listHoles();
  }
  const bases = series.bases.filter((base) => isOfCluster(base, live.place.series));
  const window = await readWindow(live, bases);
  const { newestAt, oldestAt } = live.survey;
  const seen = { window, bases, walReceivedAt: newestAt, walSince: oldestAt };
  series.facts = recoveryFacts(seen, series.facts, now);
  return true;
}

/** Its listing failed on the way, and has to begin anew. */
function isLost({ live, clusters }: SeriesRecovery): boolean {
  return live === undefined && clusters.length > 0;
}

function hasNewResult(
  { listedAt }: SeriesRecovery,
  { instanceId }: WatchedFolder,
  app: string,
  { asked }: RunsSeen,
): boolean {
  const result = asked.get(backupsAskedFor(app, instanceId))?.lastResultAt;
  return result !== undefined && result >= listedAt;
}

async function listSeries(
  { backups, state, clock }: RecoveryPorts,
  { manifests }: RecoveryMemory,
  { prefix }: WatchedFolder,
  app: string,
  known: SeriesRecovery | undefined,
): Promise<SeriesRecovery> {
  const listedAt = clock.now();
  const { clusters, bases } = await readBaseCatalog(backups, manifests, { prefix, app }, state);
  const common = { listedAt, clusters, bases: bases.map((base) => ({ ...base, files: [] })) };
  const going = { retention: known?.retention, retryRetention: known?.retryRetention ?? false };
  const systemIdentifier = separateClusters(bases)[0]?.systemIdentifier ?? clusters.at(-1);
  if (systemIdentifier === undefined) return { ...common, ...going, live: undefined, facts: undefined };
  const place = { backups, state, prefix, series: { app, systemIdentifier } };
  return {
    ...common,
    ...going,
    live: known && goesOn(known, place, listedAt) ? known.live : await beginSurvey(place, bases),
    facts: known?.facts?.systemIdentifier === systemIdentifier ? known.facts : undefined,
  };
}

/** Not while there is a hole: whatever fills it lies before what is listed as new. */
function goesOn({ live, facts }: SeriesRecovery, { series }: WalPlace, now: Date): boolean {
  if (live?.place.series.systemIdentifier !== series.systemIdentifier) return false;
  const { surveyedAt } = live;
  if (surveyedAt === undefined) return true;
  return now.getTime() - surveyedAt.getTime() < DAY_MS && (facts?.openHoles ?? 0) === 0;
}

async function beginSurvey(place: WalPlace, bases: readonly Base[]): Promise<LiveCluster> {
  const own = bases.filter((base) => isOfCluster(base, place.series));
  const segmentSize = await segmentSizeOf(place, newestUsable(own)?.manifest.server.walSegmentSize);
  const survey = new WalSurvey(place, segmentSize, 'without what is damaged');
  return { place, survey, segmentSize, surveyedAt: undefined, surveying: survey.listAll() };
}

function isOfCluster({ series }: Base, { systemIdentifier }: WalSeries): boolean {
  return series.systemIdentifier === systemIdentifier;
}

/** @returns whether the work is done; what is left goes on with the next call */
async function finish<Answer>(work: Steps<Answer>, inTime: () => boolean): Promise<boolean> {
  while (inTime()) if ((await work.next()).done) return true;
  return false;
}

/** With the last commits that may tell the latest restorable instant. */
async function readWindow({ survey, place }: LiveCluster, bases: readonly Base[]): Promise<RestorableWindow> {
  const window = restorableWindow({ archive: survey.archive, bases });
  return withCommits(window, await readLastCommits(place, endsInUse(window)));
}

/**
 * Of the newest timeline, and of an older one that S3 received WAL of after the newest had begun, as where a recovery in place was
 * undone. Of the others nothing new is to be learnt.
 */
function endsInUse({ timelines }: RestorableWindow): RestorableStretch[] {
  const newest = timelines.at(-1);
  if (!newest) return [];
  const began = dateOfPgTime(parsePgTime(newest.began.time));
  return timelines.flatMap((line) => {
    const end = line.stretches.at(-1)!;
    const received = end.tail.last?.files.at(-1)?.modifiedAt;
    const goesOn = line.putBackAt !== undefined || (received && received >= began);
    return line === newest || goesOn ? [end] : [];
  });
}
