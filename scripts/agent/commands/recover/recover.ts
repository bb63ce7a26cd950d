import type { HostDifference } from '../../../../lib/domain/base/recovery-host.ts';
import { estimateRecovery } from '../../../../lib/domain/base/recovery-estimate.ts';
import type { RecoveryPlan } from '../../../../lib/domain/base/recovery-plan.ts';
import { describeTarget, type RecoveryRequest } from '../../../../lib/domain/base/recovery-target.ts';
import { LifeboatError } from '../../../../lib/domain/errors.ts';
import { formatBytes, formatCount, formatDuration } from '../../../../lib/domain/quantities.ts';
import { formatLsn } from '../../../../lib/domain/wal/lsn.ts';
import { dateOfPgTime, parsePgTime } from '../../../../lib/domain/wal/pg-time.ts';
import type {
  RecoveryAction,
  RecoveryPlace,
  RecoveryPorts,
  RecoveryWorkplace,
  ReplayEnd,
  ServerPrograms,
} from '../../ports/recovery.ts';
import { planRecover, type ReadyRecovery } from './recover-plan.ts';
import { requireRoom } from './recovery-room.ts';

export interface RecoverRequest {
  readonly request: RecoveryRequest;
  readonly overrides: ReadonlySet<HostDifference>;
  /** `undefined`: the plan alone. */
  readonly place: RecoveryPlace | undefined;
  readonly action: RecoveryAction;
  readonly runId: string;
  /** Bytes that `use` needs on the same disk. */
  readonly besides?: (plan: RecoveryPlan) => number;
  /** Planned, and the room for it checked, by whoever asks. */
  readonly ready?: ReadyRecovery;
}

/**
 * What is done with the recovered cluster; it ends by `finish` or `remove` of the workplace. While it is at work, the server
 * ends with us, and an error removes what was recovered, unless it was finished before.
 */
type UseRecovered = (recovered: Recovered, workplace: RecoveryWorkplace) => Promise<void>;

const keepRecovered: UseRecovered = async (_, workplace) => await workplace.finish();

export interface PlannedRecovery {
  readonly plan: RecoveryPlan;
  readonly programs: ServerPrograms;
  /** On the disk of the data directory; `undefined`: none was named. */
  readonly freeBytes: number | undefined;
  readonly estimatedMs: number;
}

export interface Recovered {
  readonly plan: RecoveryPlan;
  readonly place: RecoveryPlace;
  readonly programs: ServerPrograms;
  readonly action: RecoveryAction;
  readonly end: ReplayEnd;
  /** The last commit that is in it; `undefined`: none behind the base backup's start. */
  readonly lastCommit: string | undefined;
  /** From that commit to the time asked for, or for the latest state to when it was asked for: what may be missing. */
  readonly lossMs: number | undefined;
  readonly verifiedFiles: number;
  readonly durations: RecoveryDurations;
}

/** Milliseconds. */
interface RecoveryDurations {
  readonly planning: number;
  readonly unpacking: number;
  readonly verifying: number;
  readonly replaying: number;
  readonly total: number;
}

/** `--dry-run`: reads, and touches nothing. @throws as `recover` does before it begins */
export async function planOnly(ports: RecoveryPorts, asked: RecoverRequest): Promise<PlannedRecovery> {
  const ready = await planRecover(ports, asked.request, asked.overrides);
  const { place } = asked;
  if (place) await ports.servers.open(place);
  const freeBytes = place && (await ports.host.freeBytes(place.dataDir));
  return { ...ready, freeBytes, estimatedMs: estimateRecovery(ready.plan) };
}

/**
 * `lifeboat restore --to-…`: a cluster of its own beside whatever runs, from a base backup and WAL.
 * @throws LifeboatError on any failure; what was made is removed then, and no server is left running
 */
export async function recover(
  ports: RecoveryPorts,
  asked: RecoverRequest & { readonly place: RecoveryPlace },
  use = keepRecovered,
): Promise<Recovered> {
  const { place, runId } = asked;
  const lock = await ports.host.lock(`recovery:${place.dataDir}`, `recovery, run ${runId}`);
  try {
    return await recoverAlone(ports, asked, use);
  } catch (error) {
    throw withDiskHint(error, place);
  } finally {
    await lock.release();
  }
}

async function recoverAlone(
  ports: RecoveryPorts,
  asked: RecoverRequest & { readonly place: RecoveryPlace },
  use: UseRecovered,
): Promise<Recovered> {
  const { log, clock, host, interrupted } = ports;
  const { place, action } = asked;
  const began = clock.monotonic();
  const askedAt = clock.now();
  const workplace = await ports.servers.open(place);
  const { plan, programs } = asked.ready ?? (await planRecover(ports, asked.request, asked.overrides));
  announce(ports, plan, place);
  if (workplace.abandoned) log.warn(`Clearing away what a recovery that was killed left in ${place.dataDir}`);
  else if (!asked.ready)
    requireRoom(plan, {
      place,
      free: await host.freeBytes(place.dataDir),
      reserve: await workplace.reserve(plan),
      besides: asked.besides?.(plan) ?? 0,
    });
  interrupted.throwIfAborted();
  const planned = clock.monotonic();
  try {
    await workplace.prepare(plan);
    await unpack(ports, workplace, { plan, programs });
    const unpacked = clock.monotonic();
    const verifiedFiles = await verify(ports, workplace, plan);
    const verified = clock.monotonic();
    const end = await replay(ports, workplace, { plan, programs, action });
    const replayed = clock.monotonic();
    const durations = {
      planning: planned - began,
      unpacking: unpacked - planned,
      verifying: verified - unpacked,
      replaying: replayed - verified,
      total: replayed - began,
    };
    const { lastCommit } = end;
    const lossMs = measureLoss(plan, lastCommit, askedAt);
    const recovered = { plan, place, programs, action, end, lastCommit, lossMs, verifiedFiles, durations };
    await use(recovered, workplace);
    return recovered;
  } catch (error) {
    // The error that led here is the one to report; what could not be removed, the next run clears away.
    await workplace
      .remove()
      .catch((failure: Error) => log.warn(`Not everything was removed: ${failure.message}`));
    throw error;
  }
}

function measureLoss(
  { target }: RecoveryPlan,
  lastCommit: string | undefined,
  askedAt: Date,
): number | undefined {
  if (lastCommit === undefined || (target.kind !== 'time' && target.kind !== 'latest')) return undefined;
  const wanted = target.kind === 'time' ? dateOfPgTime(parsePgTime(target.time)) : askedAt;
  return Math.max(0, wanted.getTime() - dateOfPgTime(parsePgTime(lastCommit)).getTime());
}

function announce({ log }: RecoveryPorts, plan: RecoveryPlan, { dataDir }: RecoveryPlace): void {
  const { base, chain, target, timeline, bytes, walNeeded, notes, warnings } = plan;
  log.info(`Recovering to ${describeTarget(target)} on timeline ${timeline}, into ${dataDir}`);
  const on = chain.slice(0, -1).map(({ label }) => label);
  const members = on.length > 0 ? `, incremental on ${on.join(', ')},` : '';
  log.info(
    `Base backup ${base.label}${members} (${formatBytes(bytes.base)}), then ${formatCount(walNeeded, 'WAL segment')} (${formatBytes(bytes.wal)})`,
  );
  for (const note of notes) log.info(`Note: ${note}`);
  for (const warning of warnings) log.warn(warning);
}

async function unpack(
  ports: RecoveryPorts,
  workplace: RecoveryWorkplace,
  { plan, programs }: PlanAndPrograms,
): Promise<void> {
  const { bytes, chain } = plan;
  ports.progress.start('Unpacking', bytes.baseRaw);
  try {
    await workplace.unpack(plan, programs, (done) => ports.progress.update(done));
  } finally {
    ports.progress.stop();
  }
  const combined = chain.length > 1 ? `, and combined ${formatCount(chain.length, 'base backup')}` : '';
  ports.log.info(`✅ Unpacked ${formatBytes(bytes.baseRaw)}${combined}`);
}

interface PlanAndPrograms {
  readonly plan: RecoveryPlan;
  readonly programs: ServerPrograms;
}

async function verify(
  ports: RecoveryPorts,
  workplace: RecoveryWorkplace,
  { base, bytes }: RecoveryPlan,
): Promise<number> {
  ports.progress.start('Verifying', bytes.baseRaw);
  try {
    const files = await workplace.verify(base.manifest, (done) => ports.progress.update(done));
    ports.log.info(`✅ Verified ${formatCount(files, 'file')}`);
    return files;
  } finally {
    ports.progress.stop();
  }
}

async function replay(
  ports: RecoveryPorts,
  workplace: RecoveryWorkplace,
  { plan, programs, action }: Pick<Recovered, 'plan' | 'action'> & { readonly programs: ServerPrograms },
): Promise<ReplayEnd> {
  const segmentSize = plan.base.manifest.server.walSegmentSize;
  ports.log.info('Replaying WAL...');
  ports.progress.start('Replaying', plan.walNeeded * segmentSize);
  try {
    return await workplace.replay(plan, programs, action, (segments) =>
      ports.progress.update(segments * segmentSize),
    );
  } finally {
    ports.progress.stop();
  }
}

function withDiskHint(error: unknown, { dataDir }: RecoveryPlace): unknown {
  if (!(error instanceof LifeboatError) || error.code !== 'DISK_FULL') return error;
  if (error.hint.includes('--data-dir')) return error;
  return new LifeboatError('DISK_FULL', error.message, {
    cause: error,
    hint: `What was unpacked was removed. Free space for ${dataDir}, or choose a larger disk with --data-dir.`,
  });
}

/** For the log: which commit was reached, and what may be missing. */
export function describeReached(recovered: Recovered): string[] {
  const {
    end,
    lastCommit,
    plan: { target },
  } = recovered;
  const loss = lossInWords(recovered);
  const position = end.lsn === undefined ? '' : ` at ${formatLsn(end.lsn)}`;
  const commit = lastCommit === undefined ? 'no commit behind the base backup' : `last commit ${lastCommit}`;
  return [
    `✅ Recovered to ${describeTarget(target)}: ${commit}${position}`,
    ...(end.endOfWal ? [describeEndOfWal(target)] : []),
    ...(loss === undefined ? [] : [loss]),
  ];
}

/** What was asked for needs no more than all there is, or lies behind it. */
export function describeEndOfWal({ kind }: RecoveryPlan['target']): string {
  return kind === 'latest'
    ? 'There is no WAL in S3 behind that.'
    : 'The target was reached at the end of the WAL: S3 has no commit behind it.';
}

/** For the log, once all is done. */
export function describeRecovered(recovered: Recovered): string[] {
  const { end, action, place, durations } = recovered;
  const psql = `psql -h ${place.dataDir === end.socketDir ? place.dataDir : end.socketDir} -p ${end.port}`;
  const state = {
    promote: `open on timeline ${end.timeline}: ${psql}`,
    pause: `paused, for reading: ${psql}; to promote it: SELECT ${end.endOfWal ? 'pg_promote()' : 'pg_wal_replay_resume()'};`,
    shutdown: `promoted to timeline ${end.timeline} and stopped`,
  }[action];
  return [
    ...describeReached(recovered),
    `The cluster in ${place.dataDir} is ${state}`,
    `Duration: ${formatDuration(durations.total)} (plan ${formatDuration(durations.planning)}, unpacking ${formatDuration(durations.unpacking)}, verifying ${formatDuration(durations.verifying)}, ${formatCount(end.segments, 'segment')} replayed in ${formatDuration(durations.replaying)})`,
  ];
}

/** `undefined` where the target is no time. */
export function lossInWords({ plan, end, lossMs }: Recovered): string | undefined {
  if (lossMs === undefined) return undefined;
  const seconds = (lossMs / 1000).toFixed(3);
  if (plan.target.kind === 'time') {
    return end.endOfWal
      ? `That commit is ${seconds} s before the time asked for, and the last one in S3.`
      : `That commit is ${seconds} s before the time asked for; none between the two is in the WAL.`;
  }
  return `Whatever was committed since, in the ${seconds} s before this recovery began, is not in S3.`;
}
