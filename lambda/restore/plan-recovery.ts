import { separateClusters } from '../../lib/domain/base/base-catalog.ts';
import { chooseCluster, planRecovery, type RecoveryPlan } from '../../lib/domain/base/recovery-plan.ts';
import type { RecoveryRequest } from '../../lib/domain/base/recovery-target.ts';
import { LifeboatError } from '../../lib/domain/errors.ts';
import type { WalArchive } from '../../lib/domain/wal/archive.ts';
import type { LastCommit } from '../../lib/domain/wal/wal-metadata.ts';
import {
  commitCandidates,
  restorableWindow,
  withCommits,
  type RestorableWindow,
} from '../../lib/domain/wal/window.ts';
import { readBaseCatalog, type BaseCatalog } from '../base-catalog.ts';
import type { Bucket } from '../bucket.ts';
import { lastCommitIn, segmentSizeOf, WalSurvey, type WalPlace } from '../watch/wal-survey.ts';

export interface PitrPlace {
  readonly backups: Bucket;
  readonly state: Bucket;
  /** The series' folder in both, without a slash at its end. */
  readonly prefix: string;
  readonly app: string;
  /** Until the function is ended. */
  readonly remainingMs: () => number;
}

/** Left for the answer. */
const RESERVE_MS = 20_000;
/** More objects in a row without a commit are not asked: the end of a stretch is then told a little early. */
const MOST_ASKED = 200;

interface Cluster {
  readonly archive: WalArchive;
  readonly window: RestorableWindow;
  readonly commits: ReadonlyMap<string, LastCommit | null>;
}

export interface RemoteRecovery {
  readonly window: RestorableWindow;
  /** `undefined`: the target is a transaction or a name, which only whoever reads the WAL can find. */
  readonly plan: RecoveryPlan | undefined;
}

/**
 * From what lies in S3 alone, as the command on the host plans it.
 * @throws LifeboatError BACKUP_NOT_FOUND, TARGET_OUTSIDE_WINDOW with the window in its text; S3_UNAVAILABLE when there is no time
 * for all that has to be listed
 */
export async function planFromS3(place: PitrPlace, request: RecoveryRequest): Promise<RemoteRecovery> {
  const { bases } = await readBaseCatalog(place.backups, new Map(), place);
  if (bases.length === 0) {
    throw new LifeboatError('BACKUP_NOT_FOUND', `There is no base backup of ${place.app}`, {
      hint: 'Without one nothing can be recovered to a point in time; for the dumps: {"action":"list"}',
    });
  }
  const clusters: Cluster[] = [];
  for (const { systemIdentifier, bases: own } of separateClusters(bases))
    clusters.push(await readCluster(place, systemIdentifier, own));
  const window = chooseCluster(
    request,
    clusters.map((each) => each.window),
  );
  const cluster = clusters.find((each) => each.window === window)!;
  const { kind } = request.target;
  const hidden = (kind === 'xid' || kind === 'name') && request.base === undefined;
  return { window: cluster.window, plan: hidden ? undefined : planRecovery(request, cluster) };
}

async function readCluster(
  { backups, state, prefix, app, remainingMs }: PitrPlace,
  systemIdentifier: string,
  bases: BaseCatalog['bases'],
): Promise<Cluster> {
  const place: WalPlace = { backups, state, prefix, series: { app, systemIdentifier } };
  const known = bases.find(({ manifest }) => manifest)?.manifest?.server.walSegmentSize;
  const survey = new WalSurvey(place, await segmentSizeOf(place, known));
  const pages = survey.listAll();
  for (let page = await pages.next(); page.done !== true; page = await pages.next())
    requireTime(remainingMs, app);
  const { archive } = survey;
  const window = restorableWindow({ archive, bases });
  const commits = new Map<string, LastCommit | null>();
  for (const stretch of window.timelines.flatMap((line) => line.stretches)) {
    let asked = 0;
    for (const key of commitCandidates(stretch)) {
      requireTime(remainingMs, app);
      if (!commits.has(key)) commits.set(key, await lastCommitIn(place, key));
      asked += 1;
      if (commits.get(key) || asked === MOST_ASKED) break;
    }
  }
  return { archive, window: withCommits(window, commits), commits };
}

function requireTime(remainingMs: () => number, app: string): void {
  if (remainingMs() >= RESERVE_MS) return;
  throw new LifeboatError(
    'S3_UNAVAILABLE',
    `There is too much WAL of ${app} to be listed in this function’s time`,
    {
      hint: 'Plan it on the host, as the runbook’s “On a host of the stack” says: lifeboat restore --to-time … --dry-run. Nothing was touched.',
    },
  );
}
