import { separateClusters, type Base } from '../../../lib/domain/base/base-catalog.ts';
import type { LocatedTarget } from '../../../lib/domain/base/recovery-choice.ts';
import { findHostProblems, type HostDifference } from '../../../lib/domain/base/recovery-host.ts';
import { chooseCluster, planRecovery, type RecoveryPlan } from '../../../lib/domain/base/recovery-plan.ts';
import type { RecoveryRequest } from '../../../lib/domain/base/recovery-target.ts';
import { major } from '../../../lib/domain/backup/preflight.ts';
import { combineProblems, LifeboatError } from '../../../lib/domain/errors.ts';
import { followWal, type WalArchive } from '../../../lib/domain/wal/archive.ts';
import { DEFAULT_SEGMENT_SIZE } from '../../../lib/domain/wal/segment.ts';
import type { LastCommit } from '../../../lib/domain/wal/wal-metadata.ts';
import {
  commitCandidates,
  restorableWindow,
  walNeededFrom,
  withCommits,
  type RestorableWindow,
} from '../../../lib/domain/wal/window.ts';
import { readBases } from '../base-catalog.ts';
import type { RecoveryPorts, ServerPrograms } from '../ports/recovery.ts';
import { lastCommitOf, readWalArchive } from '../wal-listing.ts';

/** What S3 holds of one cluster. */
interface Cluster {
  readonly archive: WalArchive;
  readonly window: RestorableWindow;
  readonly commits: ReadonlyMap<string, LastCommit | null>;
}

export interface ReadyRecovery {
  readonly plan: RecoveryPlan;
  readonly programs: ServerPrograms;
}

/**
 * Decides on what is to be recovered from what, and with which server; reads only.
 * @throws LifeboatError TARGET_OUTSIDE_WINDOW, HOST_DIFFERS, BACKUP_NOT_FOUND, RESTORE_REFUSED
 */
export async function planRecover(
  ports: RecoveryPorts,
  request: RecoveryRequest,
  overrides: ReadonlySet<HostDifference>,
): Promise<ReadyRecovery> {
  const bases = await readBases(ports.app, ports.stores.backups);
  if (bases.length === 0) {
    throw new LifeboatError('BACKUP_NOT_FOUND', `There is no base backup of ${ports.app}`, {
      hint: 'Check APP_NAME, S3_BUCKET and S3_PREFIX; a dump is restored by: lifeboat restore latest',
    });
  }
  const clusters: Cluster[] = [];
  for (const cluster of separateClusters(bases))
    clusters.push(await readCluster(ports, cluster.systemIdentifier, cluster.bases));
  const window = chooseCluster(
    request,
    clusters.map((each) => each.window),
  );
  const cluster = clusters.find((each) => each.window === window)!;
  const located = await locate(ports, request, cluster);
  const plan = planRecovery(request, { ...cluster, ...(located && { located }) });
  requireSimpleChain(plan);
  return { plan, programs: await findPrograms(ports, plan, overrides) };
}

async function readCluster(
  { stores, app }: RecoveryPorts,
  systemIdentifier: string,
  bases: readonly Base[],
): Promise<Cluster> {
  const known = bases.find(({ manifest }) => manifest)?.manifest?.server.walSegmentSize;
  const archive = await readWalArchive(stores, { app, systemIdentifier }, known ?? DEFAULT_SEGMENT_SIZE);
  const window = restorableWindow({ archive, bases });
  const commits = new Map<string, LastCommit | null>();
  for (const stretch of window.timelines.flatMap((line) => line.stretches)) {
    for (const key of commitCandidates(stretch)) {
      if (!commits.has(key)) commits.set(key, await lastCommitOf(stores, key));
      if (commits.get(key)) break;
    }
  }
  return { archive, window: withCommits(window, commits), commits };
}

/** Newest timeline first, as PostgreSQL's own choice is; each stretch from its oldest base backup on. */
async function locate(
  { search, log }: RecoveryPorts,
  { target, base, timeline }: RecoveryRequest,
  { archive, window }: Cluster,
): Promise<LocatedTarget | undefined> {
  if (target.kind !== 'xid' && target.kind !== 'name') return undefined;
  log.info('Looking for the target in the WAL...');
  for (const line of window.timelines.toReversed()) {
    if (timeline !== undefined && line.timeline !== timeline) continue;
    for (const { bases } of line.stretches.toReversed()) {
      const from = bases.find(({ manifest }) => base === undefined || manifest.label === base);
      if (!from) continue;
      const files = [...followWal(archive, line.path, walNeededFrom(from))];
      const found = await search.find(target, files, line.path, archive.segmentSize);
      if (found) return found;
    }
  }
  return undefined;
}

function requireSimpleChain({ chain, base }: RecoveryPlan): void {
  if (chain.length === 1) return;
  throw new LifeboatError(
    'RESTORE_REFUSED',
    `${base.label} is an incremental backup, on ${chain
      .slice(0, -1)
      .map(({ label }) => label)
      .join(', ')}: this version recovers from full ones`,
    { hint: `Recover from the full one, with the WAL since then: --base ${chain[0]!.label}` },
  );
}

async function findPrograms(
  { servers, host }: RecoveryPorts,
  { base: { manifest } }: RecoveryPlan,
  overrides: ReadonlySet<HostDifference>,
): Promise<ServerPrograms> {
  const programs = await servers.find(major(manifest.server.versionNumber));
  const { architecture, libc } = host.facts();
  const here = { architecture, libc, versionNumber: programs?.versionNumber };
  const problem = combineProblems(findHostProblems(manifest, here, overrides));
  if (problem) throw problem;
  return programs!;
}
