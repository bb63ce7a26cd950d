import { newestUsable, separateClusters, type Base } from '../../../../lib/domain/base/base-catalog.ts';
import { holdsDamage } from '../../../../lib/domain/base/increment.ts';
import { isFromFuture, latestBackup, type Backup } from '../../../../lib/domain/backup/catalog.ts';
import { estimateRestore, monthlyS3Cost, type RestoreEstimate } from '../../../../lib/domain/backup/costs.ts';
import { asLifeboatError, LifeboatError } from '../../../../lib/domain/errors.ts';
import { formatDuration } from '../../../../lib/domain/quantities.ts';
import type { RunRecord } from '../../../../lib/domain/run/run-record.ts';
import { restorableWindow, type RestorableWindow } from '../../../../lib/domain/wal/window.ts';
import { readBases } from '../../catalog/bases.ts';
import { readCatalog } from '../../catalog/dumps.ts';
import type { Clock, Host } from '../../ports/host.ts';
import type { Journal } from '../../ports/journal.ts';
import type { ObjectStore } from '../../ports/store.ts';
import { readLastCommits, readWalArchive, type WalStores } from '../../catalog/wal.ts';

export interface StatusPorts {
  readonly stores: readonly [local: ObjectStore, s3?: ObjectStore];
  /** Both buckets of point-in-time recovery, where there is S3. */
  readonly wal?: WalStores | undefined;
  readonly journal: Journal;
  readonly host: Host;
  readonly clock: Clock;
}

export interface StatusRequest {
  readonly app: string;
  readonly maxAgeMs: number;
}

export interface StatusResult {
  readonly app: string;
  readonly lastGood:
    { readonly id: string; readonly ageMs: number; readonly stores: readonly string[] } | undefined;
  /** Where there are base backups: the newest good one. */
  readonly lastBase:
    { readonly label: string; readonly ageMs: number; readonly stores: readonly string[] } | undefined;
  /** Of the newest cluster with a base backup in S3: which instants can be recovered. */
  readonly window: RestorableWindow | undefined;
  readonly maxAgeMs: number;
  /** Dump sizes, oldest first. */
  readonly trend: readonly { readonly id: string; readonly time: Date; readonly bytes: number }[];
  readonly lastFailure: RunRecord | undefined;
  readonly stored: readonly { readonly store: string; readonly backups: number; readonly bytes: number }[];
  readonly freeBytes: number;
  readonly monthlyCost: number | undefined;
  readonly restore: RestoreEstimate | undefined;
  /** ATTENTION: the reason why a monitoring check should page; a store that cannot be read comes first. */
  readonly failure: LifeboatError | undefined;
}

const TREND_LENGTH = 30;

/** `lifeboat status`: what an on-call engineer asks first, and a verdict for a monitoring check. */
export async function status(ports: StatusPorts, request: StatusRequest): Promise<StatusResult> {
  const [local] = ports.stores;
  const runs = await ports.journal.records();
  const { backups, bases, ...read } = await readWhatCanBe(ports, request.app, runs);
  const { window, failure = read.failure } = await readWindow(ports, request.app, bases);
  const now = ports.clock.now();
  const latest = latestBackup(backups, now);
  const lastGood = latest && {
    id: latest.id,
    ageMs: now.getTime() - new Date(latest.manifest!.finishedAt).getTime(),
    stores: latest.copies.filter(({ state }) => state === 'complete').map(({ store }) => store),
  };
  const stored = ports.stores.flatMap((store) => (store ? [sumUp(store.kind, backups)] : []));
  const lastFailure = findLastFailure(runs);
  return {
    app: request.app,
    lastGood,
    lastBase: findLastBase(bases, now),
    window,
    maxAgeMs: request.maxAgeMs,
    trend: trendOf(backups),
    lastFailure,
    stored,
    freeBytes: await ports.host.freeBytes(local.urlOf('')),
    monthlyCost: stored.filter(({ store }) => store === 's3').map(({ bytes }) => monthlyS3Cost(bytes))[0],
    restore: latest?.manifest && estimateRestore(latest.manifest.dump, measuredRestores(runs)),
    failure:
      failure ??
      (latest && judgeClock(latest, now)) ??
      judgeStores(ports, request, backups, now) ??
      judgeLastRun(runs),
  };
}

async function readWhatCanBe(
  ports: StatusPorts,
  app: string,
  runs: readonly RunRecord[],
): Promise<Known & { failure: LifeboatError | undefined }> {
  const [local] = ports.stores;
  const read = async (stores: readonly ObjectStore[]): Promise<Known> => ({
    backups: (await readCatalog(app, stores, runs)).backups,
    bases: await Promise.all(
      stores.map(async (store) => ({ store: store.kind, bases: await readBases(app, store, runs) })),
    ),
  });
  try {
    const all = ports.stores.filter((store) => store !== undefined);
    return { ...(await read(all)), failure: undefined };
  } catch (error) {
    // S3 is away: the local half is still worth telling, and the failure is the verdict.
    return { ...(await read([local])), failure: asLifeboatError(error) };
  }
}

async function readWindow(
  { wal }: StatusPorts,
  app: string,
  known: Known['bases'],
): Promise<{ window: RestorableWindow | undefined; failure?: LifeboatError }> {
  const stored = known.find(({ store }) => store === 's3')?.bases ?? [];
  const [newest] = separateClusters(stored);
  const size = newest && newestUsable(newest.bases)?.manifest.server.walSegmentSize;
  if (!wal || !newest || size === undefined) return { window: undefined };
  try {
    const series = { app, systemIdentifier: newest.systemIdentifier };
    const archive = await readWalArchive(wal, series, size);
    return { window: await readLastCommits(wal, restorableWindow({ archive, bases: newest.bases })) };
  } catch (error) {
    return { window: undefined, failure: asLifeboatError(error) };
  }
}

interface Known {
  readonly backups: readonly Backup[];
  readonly bases: readonly { readonly store: string; readonly bases: readonly Base[] }[];
}

function findLastBase(known: Known['bases'], now: Date): StatusResult['lastBase'] {
  const good = known.flatMap(({ bases }) => bases.filter((base) => !holdsDamage(base)));
  const last = newestUsable(good, now);
  return (
    last && {
      label: last.label,
      ageMs: now.getTime() - last.time.getTime(),
      stores: known
        .filter(({ bases }) => bases.some(({ label, state }) => label === last.label && state === 'usable'))
        .map(({ store }) => store),
    }
  );
}

function trendOf(backups: readonly Backup[]): StatusResult['trend'] {
  const sized = backups.flatMap(({ id, time, manifest }) =>
    manifest ? [{ id, time, bytes: manifest.dump.size }] : [],
  );
  return sized.slice(0, TREND_LENGTH).toReversed();
}

function sumUp(kind: 'local' | 's3', backups: readonly Backup[]): StatusResult['stored'][number] {
  const copies = backups.flatMap((backup) => backup.copies).filter(({ store }) => store === kind);
  const bytes = copies.flatMap(({ files }) => files).reduce((sum, { size }) => sum + size, 0);
  return { store: kind, backups: copies.filter(({ state }) => state === 'complete').length, bytes };
}

function findLastFailure(runs: readonly RunRecord[]): RunRecord | undefined {
  // A restore that was refused says nothing about the backups.
  return runs.findLast(({ succeeded, operation }) => !succeeded && operation !== 'restore');
}

function measuredRestores(runs: readonly RunRecord[]): { durationMs: number; rawBytes: number }[] {
  return runs.flatMap(({ operation, succeeded, durationMs, rawBytes }) =>
    operation === 'restore' && succeeded && rawBytes ? [{ durationMs, rawBytes }] : [],
  );
}

function judgeClock({ id, time }: Backup, now: Date): LifeboatError | undefined {
  if (!isFromFuture(time, now)) return undefined;
  return new LifeboatError(
    'ATTENTION',
    `The only good backup, ${id}, is dated in the future, so its age is unknown: the clock was set`,
    { hint: 'Check the clock (timedatectl), then run: lifeboat backup' },
  );
}

/** A copy on the host alone is lost with the host: where a bucket is configured, its newest copy counts too. */
function judgeStores(
  { stores: [, s3] }: StatusPorts,
  { app, maxAgeMs }: StatusRequest,
  backups: readonly Backup[],
  now: Date,
): LifeboatError | undefined {
  const inS3 = backups.map((backup) => ({
    ...backup,
    copies: backup.copies.filter(({ store }) => store === 's3'),
  }));
  const anywhere = judgeAge(`of ${app}`, latestBackup(backups, now), maxAgeMs, now);
  return anywhere ?? (s3 && judgeAge(`of ${app} in S3`, latestBackup(inS3, now), maxAgeMs, now));
}

function judgeAge(
  what: string,
  latest: Backup | undefined,
  maxAgeMs: number,
  now: Date,
): LifeboatError | undefined {
  if (!latest) return new LifeboatError('ATTENTION', `There is no good backup ${what}`);
  const ageMs = now.getTime() - new Date(latest.manifest!.finishedAt).getTime();
  if (ageMs <= maxAgeMs) return undefined;
  const [age, limit] = [formatDuration(ageMs), formatDuration(maxAgeMs)];
  return new LifeboatError(
    'ATTENTION',
    `The last good backup ${what} is ${age} old; at most ${limit} is allowed`,
  );
}

/** A dump that went well says nothing about the base backup before it. */
function judgeLastRun(runs: readonly RunRecord[]): LifeboatError | undefined {
  const last = (['dump', 'base'] as const)
    .map((wanted) =>
      runs.findLast(({ operation, kind = 'dump' }) => operation === 'backup' && kind === wanted),
    )
    .find((run) => run && !run.succeeded);
  if (!last) return undefined;
  return new LifeboatError(
    'ATTENTION',
    `The last backup run failed at ${last.at}: ${last.message ?? last.code ?? ''}`,
  );
}
