import { isUsable, type Base } from '../../../../lib/domain/base/base-catalog.ts';
import { LifeboatError } from '../../../../lib/domain/errors.ts';
import { formatBytes, formatDuration } from '../../../../lib/domain/quantities.ts';
import { liesOn, walNeededFrom } from '../../../../lib/domain/wal/base-place.ts';
import { formatLsn } from '../../../../lib/domain/wal/lsn.ts';
import type { TimelineStretch } from '../../../../lib/domain/wal/timeline.ts';
import type { Clock, Log } from '../../ports/host.ts';
import type { BaseBackups, WalArchive, WalClusters, WalServerFacts } from '../../ports/wal.ts';
import { isOnPath } from './wal-resume.ts';

interface PreflightPorts {
  readonly clock: Clock;
  readonly log: Log;
  readonly clusters: WalClusters;
  readonly baseBackups: BaseBackups;
}

interface PreflightRequest {
  readonly app: string;
  readonly slotCapBytes: number;
  readonly adoptSeries: boolean;
}

/** A heartbeat a minute is written while a cluster lives: one that was silent for so long has been replaced. */
const ALIVE_MS = 5 * 60 * 1000;

/**
 * Before the first byte: whose WAL lies under this app's name. Clusters never mix, each has a folder of its own; but of two that
 * write at once, one has the other's settings. A cluster that fell silent was replaced, by pg_upgrade for instance: the new
 * one goes on under the app's name, and needs a base backup of its own at once.
 * @throws LifeboatError SERIES_MISMATCH, S3_…
 */
export async function checkCluster(
  { clock, log, clusters }: PreflightPorts,
  { app, adoptSeries }: PreflightRequest,
  { systemIdentifier }: WalServerFacts,
): Promise<void> {
  const identifiers = await clusters.identifiers();
  const others = identifiers.filter((each) => each !== systemIdentifier);
  const known = identifiers.includes(systemIdentifier);
  for (const other of others) {
    const at = await clusters.lastWrittenAt(other);
    const ageMs = at && clock.now().getTime() - at.getTime();
    if (ageMs === undefined || ageMs > ALIVE_MS) continue;
    const said = `Another cluster (${other}) streams WAL as ${app}, and did so ${formatDuration(ageMs)} ago; this server is ${systemIdentifier}`;
    // Whoever was there first is not to be kept out by an intruder.
    if (known || adoptSeries) log.warn(said);
    else throw intruder(said);
  }
  if (others.length > 0 && !known) {
    log.warn(`${app} is another cluster now: ${systemIdentifier} instead of ${others.join(', ')}`);
  }
}

function intruder(said: string): LifeboatError {
  return new LifeboatError('SERIES_MISMATCH', said, {
    hint: `Choose another APP_NAME for this server. Has it replaced the other one? Then wait ${formatDuration(ALIVE_MS)}, or confirm it with --adopt-series.`,
  });
}

/**
 * Nothing can be restored to a point in time without a base backup behind the last hole, or without any. Where it is missing
 * because something happened, one is asked for; a first one is left to the user, who may not want it in working hours.
 * @param path the way to the server's timeline: what lies beside it, of a timeline that was left, neither hurts nor helps
 * @throws LifeboatError S3_…
 */
export async function requestMissingBase(
  { log, clusters, baseBackups }: PreflightPorts,
  archive: WalArchive,
  bases: readonly Base[],
  path: readonly TimelineStretch[],
): Promise<void> {
  const { systemIdentifier } = archive;
  const own = bases.filter(isUsable).filter(({ series }) => series.systemIdentifier === systemIdentifier);
  const onPath = own.filter((base) => liesOn(base, path));
  const reached = onPath.map(walNeededFrom).reduce((last, lsn) => (lsn > last ? lsn : last), -1n);
  // The last one: a base backup that was just asked for because of it does for those before it.
  const open = (await archive.holes())
    .filter((hole) => isOnPath(path, hole) && hole.to > reached)
    .toSorted((one, other) => (one.to < other.to ? -1 : 1))
    .at(-1);
  const others = (await clusters.identifiers()).some((each) => each !== systemIdentifier);
  if (open) {
    const missing = `WAL is missing before ${formatLsn(open.to)}`;
    baseBackups.request(`${missing}, and no base backup was made since`, open);
  } else if (onPath.length > 0) return;
  else if (own.length > 0) baseBackups.request(`none leads to timeline ${path.at(-1)?.timeline}`);
  else if (others) baseBackups.request(`the cluster ${systemIdentifier} has none yet`);
  else {
    log.warn(
      'There is no base backup yet, so nothing can be restored to a point in time: lifeboat backup --kind base',
    );
  }
}

/** What does not keep us from streaming, but will hurt one day. */
export function warnOfServer(
  { log }: PreflightPorts,
  { slotCapBytes }: PreflightRequest,
  { slotCapBytes: serverCap }: WalServerFacts,
): void {
  if (serverCap !== undefined) return;
  const cap = `${Math.max(1, Math.floor(slotCapBytes / 1024 ** 3))}GB`;
  log.warn(
    `max_slot_wal_keep_size is -1: while S3 is away PostgreSQL keeps WAL without a limit of its own (this agent lets go at ${formatBytes(slotCapBytes)}, as long as it runs). Set one: ALTER SYSTEM SET max_slot_wal_keep_size = '${cap}'; SELECT pg_reload_conf();`,
  );
}
