import { isUsable, separateClusters, type Base } from '../../../../lib/domain/base/base-catalog.ts';
import { describePassedOver, findPassedOver } from '../../../../lib/domain/base/passed-over.ts';
import { requireOnlyOne } from '../../../../lib/domain/base/located-target.ts';
import type { LocatedTarget } from '../../../../lib/domain/base/recovery-choice.ts';
import { findHostProblems, type HostDifference } from '../../../../lib/domain/base/recovery-host.ts';
import { leadsAsFar } from '../../../../lib/domain/base/recovery-instead.ts';
import { chooseCluster, planRecovery, type RecoveryPlan } from '../../../../lib/domain/base/recovery-plan.ts';
import { describeTarget, type RecoveryRequest } from '../../../../lib/domain/base/recovery-target.ts';
import { majorOf } from '../../../../lib/domain/server-version.ts';
import { combineProblems, LifeboatError } from '../../../../lib/domain/errors.ts';
import { followWal, type WalArchive } from '../../../../lib/domain/wal/archive.ts';
import { DEFAULT_SEGMENT_SIZE } from '../../../../lib/domain/wal/segment.ts';
import type { LastCommit } from '../../../../lib/domain/wal/wal-metadata.ts';
import { walNeededFrom } from '../../../../lib/domain/wal/base-place.ts';
import {
  commitCandidates,
  restorableWindow,
  withCommits,
  type RestorableWindow,
} from '../../../../lib/domain/wal/window.ts';
import { readBases } from '../../catalog/bases.ts';
import type { RecoveryPorts, ServerPrograms } from '../../ports/recovery.ts';
import { lastCommitOf, readWalArchive } from '../../catalog/wal.ts';

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
  requireUsable(request, bases);
  const plan = withWarnings(await planFrom(ports, request, bases), request, bases);
  const programs = await findPrograms(ports, plan, overrides);
  if (plan.chain.length === 1 || programs.canCombine) return { plan, programs };
  return { plan: await planWithoutChains(ports, request, { bases, plan, programs }), programs };
}

/** Where one is asked for by its name, what is wrong with it says more than that nothing leads from it to the target. */
function requireUsable({ base: label }: RecoveryRequest, bases: readonly Base[]): void {
  const asked = bases.find((base) => base.label === label);
  if (!asked || isUsable(asked)) return;
  throw new LifeboatError('RESTORE_REFUSED', `${asked.label} cannot be used, ${asked.state}: ${asked.why}`, {
    hint: 'Without --base the newest one that is whole is taken. Nothing was touched.',
  });
}

function withWarnings(plan: RecoveryPlan, { base }: RecoveryRequest, bases: readonly Base[]): RecoveryPlan {
  if (base !== undefined) return plan;
  const passedOver = findPassedOver(bases, plan.base, plan.target);
  return { ...plan, warnings: passedOver.map((each) => describePassedOver(each, plan.base)) };
}

async function planFrom(
  ports: RecoveryPorts,
  request: RecoveryRequest,
  bases: readonly Base[],
): Promise<RecoveryPlan> {
  const clusters: Cluster[] = [];
  for (const cluster of separateClusters(bases))
    clusters.push(await readCluster(ports, cluster.systemIdentifier, cluster.bases));
  const window = chooseCluster(
    request,
    clusters.map((each) => each.window),
  );
  const cluster = clusters.find((each) => each.window === window)!;
  const located = await locate(ports, request, cluster);
  return planRecovery(request, { ...cluster, ...(located && { located }) });
}

interface ChainThatCannotBe {
  readonly bases: readonly Base[];
  readonly plan: RecoveryPlan;
  readonly programs: ServerPrograms;
}

/** From the full base backups of the same cluster alone. @throws LifeboatError RESTORE_REFUSED where only a chain leads to the target */
async function planWithoutChains(
  ports: RecoveryPorts,
  request: RecoveryRequest,
  { bases, plan, programs }: ChainThatCannotBe,
): Promise<RecoveryPlan> {
  const { base, systemIdentifier } = plan;
  const wanted = majorOf(base.manifest.server.versionNumber);
  const missing = `${base.label} is an incremental backup, and ${programs.folder} has no pg_combinebackup of PostgreSQL ${wanted}, which it takes to combine it with ${describeMembers(plan)}`;
  const full = bases.filter(
    (each) => each.series.systemIdentifier === systemIdentifier && each.chain.length === 1,
  );
  const hint = `Install it, as in: sudo apt-get install postgresql-${wanted}, or set PG_BIN_DIR to the folder that has it beside postgres. Nothing was touched.`;
  if (request.base !== undefined) throw new LifeboatError('RESTORE_REFUSED', missing, { hint });
  const found = await tryPlan(ports, request, full);
  if (!found || !leadsAsFar(found, plan)) {
    const message = `${missing}; no full one leads to ${describeTarget(request.target)}`;
    throw new LifeboatError('RESTORE_REFUSED', message, { hint });
  }
  const instead = `${missing}. ${found.base.label} is taken instead, with the WAL since then`;
  return { ...found, warnings: [...plan.warnings, instead] };
}

async function tryPlan(
  ports: RecoveryPorts,
  request: RecoveryRequest,
  bases: readonly Base[],
): Promise<RecoveryPlan | undefined> {
  try {
    return await planFrom(ports, request, bases);
  } catch (error) {
    if (error instanceof LifeboatError && error.code === 'TARGET_OUTSIDE_WINDOW') return undefined;
    throw error;
  }
}

function describeMembers({ chain }: RecoveryPlan): string {
  return chain
    .slice(0, -1)
    .map(({ label }) => label)
    .join(', ');
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

/**
 * Newest timeline first, as PostgreSQL's own choice is; each stretch from its oldest base backup on. All that is there of a name:
 * it can have been given twice.
 * @throws LifeboatError RESTORE_REFUSED for a name that several restore points have
 */
async function locate(
  { search, log }: RecoveryPorts,
  { target, base, timeline }: RecoveryRequest,
  { archive, window }: Cluster,
): Promise<LocatedTarget | undefined> {
  if (target.kind !== 'xid' && target.kind !== 'name') return undefined;
  log.info('Looking for the target in the WAL...');
  const firstOnly = target.kind === 'xid' || base !== undefined;
  const { segmentSize } = archive;
  for (const line of window.timelines.toReversed()) {
    if (timeline !== undefined && line.timeline !== timeline) continue;
    const found: LocatedTarget[] = [];
    for (const { bases } of line.stretches.toReversed()) {
      const from = bases.find(({ manifest }) => base === undefined || manifest.label === base);
      if (!from || (firstOnly && found.length > 0)) continue;
      const files = [...followWal(archive, line.path, walNeededFrom(from))];
      found.unshift(...(await search.find({ target, files, path: line.path, segmentSize, firstOnly })));
    }
    if (found.length > 0) return requireOnlyOne(target, line.timeline, found);
  }
  return undefined;
}

async function findPrograms(
  { servers, host }: RecoveryPorts,
  { base: { manifest } }: RecoveryPlan,
  overrides: ReadonlySet<HostDifference>,
): Promise<ServerPrograms> {
  const programs = await servers.find(majorOf(manifest.server.versionNumber));
  const { architecture, libc } = host.facts();
  const here = { architecture, libc, versionNumber: programs?.versionNumber };
  const problem = combineProblems(findHostProblems(manifest, here, overrides));
  if (problem) throw problem;
  return programs!;
}
