import { separateClusters } from '../../lib/domain/base/base-catalog.ts';
import { LifeboatError } from '../../lib/domain/errors.ts';
import type { WalArchive } from '../../lib/domain/wal/archive.ts';
import type { LastCommit } from '../../lib/domain/wal/wal-metadata.ts';
import { restorableWindow, withCommits, type RestorableWindow } from '../../lib/domain/wal/window.ts';
import type { BaseCatalog } from '../base-catalog.ts';
import type { Bucket } from '../bucket.ts';
import { readLastCommits } from '../last-commits.ts';
import { segmentSizeOf, WalSurvey, type WalPlace } from '../watch/wal-survey.ts';

export interface PitrPlace {
  readonly backups: Bucket;
  readonly state: Bucket;
  /** The series' folder in both, without a slash at its end. */
  readonly prefix: string;
  readonly app: string;
  /** Until the function is ended. */
  readonly remainingMs: () => number;
}

export interface Cluster {
  readonly archive: WalArchive;
  readonly window: RestorableWindow;
  readonly commits: ReadonlyMap<string, LastCommit | null>;
}

/** Left for the answer. */
const RESERVE_MS = 20_000;

/**
 * What can be recovered of each cluster that has a base backup, the one with the newest first. All its WAL is listed.
 * @throws LifeboatError S3_UNAVAILABLE when there is no time for that
 */
export async function readClusters(place: PitrPlace, bases: BaseCatalog['bases']): Promise<Cluster[]> {
  const clusters: Cluster[] = [];
  for (const { systemIdentifier, bases: own } of separateClusters(bases))
    clusters.push(await readCluster(place, systemIdentifier, own));
  return clusters;
}

async function readCluster(
  { backups, state, prefix, app, remainingMs }: PitrPlace,
  systemIdentifier: string,
  bases: BaseCatalog['bases'],
): Promise<Cluster> {
  const place: WalPlace = { backups, state, prefix, series: { app, systemIdentifier } };
  const requireTime = (): void => {
    if (remainingMs() < RESERVE_MS) throw noTime(app);
  };
  const known = bases.find(({ manifest }) => manifest)?.manifest?.server.walSegmentSize;
  const survey = new WalSurvey(place, await segmentSizeOf(place, known), 'without what is damaged');
  const pages = survey.listAll();
  for (let page = await pages.next(); page.done !== true; page = await pages.next()) requireTime();
  const { archive } = survey;
  const window = restorableWindow({ archive, bases });
  const stretches = window.timelines.flatMap((line) => line.stretches);
  const commits = await readLastCommits(place, stretches, requireTime);
  return { archive, window: withCommits(window, commits), commits };
}

function noTime(app: string): LifeboatError {
  return new LifeboatError(
    'S3_UNAVAILABLE',
    `There is too much WAL of ${app} to be listed in this function’s time`,
    {
      hint: 'Ask on the host, as the runbook’s “On a host of the stack” says: lifeboat wal status, lifeboat restore --to-time … --dry-run. Nothing was touched.',
    },
  );
}
