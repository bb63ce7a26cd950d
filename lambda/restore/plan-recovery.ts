import { chooseCluster, planRecovery, type RecoveryPlan } from '../../lib/domain/base/recovery-plan.ts';
import type { RecoveryRequest } from '../../lib/domain/base/recovery-target.ts';
import { LifeboatError } from '../../lib/domain/errors.ts';
import type { RestorableWindow } from '../../lib/domain/wal/window.ts';
import { readBaseCatalog } from '../base-catalog.ts';
import { readClusters, type PitrPlace } from './read-clusters.ts';

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
  const { bases } = await readBaseCatalog(place.backups, new Map(), place, place.state);
  if (bases.length === 0) {
    throw new LifeboatError('BACKUP_NOT_FOUND', `There is no base backup of ${place.app}`, {
      hint: 'Without one nothing can be recovered to a point in time; for the dumps: {"action":"list"}',
    });
  }
  const clusters = await readClusters(place, bases);
  const window = chooseCluster(
    request,
    clusters.map((each) => each.window),
  );
  const cluster = clusters.find((each) => each.window === window)!;
  const { kind } = request.target;
  const hidden = (kind === 'xid' || kind === 'name') && request.base === undefined;
  return { window: cluster.window, plan: hidden ? undefined : planRecovery(request, cluster) };
}
