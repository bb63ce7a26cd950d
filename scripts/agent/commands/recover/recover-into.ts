import type { Manifest } from '../../../../lib/domain/backup/manifest.ts';
import { LifeboatError } from '../../../../lib/domain/errors.ts';
import type { RecoveryPlan } from '../../../../lib/domain/base/recovery-plan.ts';
import { estimateDumpSize } from '../../../../lib/domain/backup/preflight.ts';
import { formatBytes, formatCount, formatDuration } from '../../../../lib/domain/quantities.ts';
import {
  chooseRecoveredTables,
  requireRecoveredDatabase,
} from '../../../../lib/domain/restore/recovered-selection.ts';
import { parseTableList } from '../../../../lib/domain/restore/table-names.ts';
import { formatLsn } from '../../../../lib/domain/wal/lsn.ts';
import type { RecoveryPlace, RecoveryPorts, RecoveryWorkplace } from '../../ports/recovery.ts';
import type { RestorePorts } from '../../ports/restore.ts';
import type { SideCluster, SideClusters } from '../../ports/side-cluster.ts';
import { backup } from '../backup/backup.ts';
import {
  describeReached,
  planOnly,
  recover,
  type PlannedRecovery,
  type Recovered,
  type RecoverRequest,
} from './recover.ts';
import { checkTarget, type TargetAction } from './recover-into-target.ts';
import { restore, type RestoreRequest, type RestoreResult } from '../restore/restore.ts';

export interface TakeoverPorts extends RecoveryPorts {
  readonly sides: SideClusters;
  /** Into the live server, from the dumps in a folder. */
  restoreFrom(folder: string): RestorePorts;
}

/** A database, or tables of it, as they were: out of a recovered cluster into the live server. */
export interface RecoverIntoRequest {
  readonly recovery: RecoverRequest & { readonly place: RecoveryPlace };
  /** Of the recovered cluster. */
  readonly database: string;
  /** What the load is asked for: target, tables, replace, …; its source is in words. */
  readonly load: RestoreRequest;
  /** The side cluster is left running. */
  readonly keep: boolean;
  readonly lifeboatVersion: string;
}

export interface PlannedRecoverInto {
  readonly recovery: PlannedRecovery;
  readonly request: RecoverIntoRequest;
  readonly action: TargetAction;
  /** At most; on the disk of the side cluster. */
  readonly dumpBytes: number;
}

export interface RecoveredInto {
  readonly recovered: Recovered;
  readonly restored: RestoreResult;
  readonly dumpBytes: number;
  readonly kept: boolean;
  /** Milliseconds. */
  readonly durations: { readonly dumping: number; readonly loading: number; readonly total: number };
}

/** `--dry-run`: reads, and touches nothing. @throws LifeboatError as `recoverInto` does before it begins */
export async function planRecoverInto(
  ports: TakeoverPorts,
  request: RecoverIntoRequest,
): Promise<PlannedRecoverInto> {
  const action = await checkTarget(ports.restoreFrom(request.recovery.place.dataDir), request.load);
  const recovery = await planOnly(ports, request.recovery);
  return { recovery, request, action, dumpBytes: dumpAtMost(recovery.plan) };
}

/** How large the database is that is to be dumped is known only once the cluster is there: no more than all of it. */
function dumpAtMost({ bytes }: RecoveryPlan): number {
  return estimateDumpSize(bytes.combined > 0 ? bytes.combined : bytes.baseRaw, undefined);
}

/**
 * Recovers the cluster to the side, dumps what is wanted, and restores that into the live server as any dump is restored:
 * beside what is there, rows compared, then swapped in. The side cluster goes when all is done. It is kept, stopped, when
 * something failed after the recovery, so that the hours which it took are not lost.
 *
 * @throws LifeboatError on any failure, with the target as it was
 */
export async function recoverInto(ports: TakeoverPorts, request: RecoverIntoRequest): Promise<RecoveredInto> {
  const { clock } = ports;
  const began = clock.monotonic();
  // Hours of recovery for a target that is then refused would be a poor trade.
  await checkTarget(ports.restoreFrom(request.recovery.place.dataDir), request.load);
  let done: Omit<RecoveredInto, 'recovered'> | undefined;
  const recovered = await recover(
    ports,
    { ...request.recovery, action: 'promote', besides: dumpAtMost },
    async (reached, workplace) => {
      done = await takeOver(ports, request, { reached, workplace, began });
    },
  );
  if (!done) throw new LifeboatError('BUG', 'A recovery ended well without being used');
  const into = { ...done, recovered };
  for (const line of describeRecoveredInto(ports, into)) ports.log.info(line);
  return into;
}

interface Side {
  readonly reached: Recovered;
  readonly workplace: RecoveryWorkplace;
  readonly began: number;
}

async function takeOver(
  ports: TakeoverPorts,
  request: RecoverIntoRequest,
  { reached, workplace, began }: Side,
): Promise<Omit<RecoveredInto, 'recovered'>> {
  const { clock, log } = ports;
  const recoveredAt = clock.monotonic();
  for (const line of describeReached(reached)) log.info(line);
  let side: SideCluster | undefined;
  try {
    side = await ports.sides.open(reached.place, reached.end);
    const manifest = await takeOut(ports, side, request);
    const dumped = clock.monotonic();
    const restored = await restore(ports.restoreFrom(side.folder), {
      ...request.load,
      source: manifest.id,
      began,
    });
    const loaded = clock.monotonic();
    await side.close();
    await (request.keep ? workplace.finish() : workplace.remove());
    const durations = {
      dumping: dumped - recoveredAt,
      loading: loaded - dumped,
      total: clock.monotonic() - began,
    };
    const told = withSource(restored, sourceInWords(request, reached));
    return { restored: told, dumpBytes: manifest.dump.size, kept: request.keep, durations };
  } catch (error) {
    throw await keepAfter(ports, { reached, workplace, side }, error);
  }
}

/** A dump as any backup is made, with its manifest: the restore compares rows with it. */
async function takeOut(
  ports: TakeoverPorts,
  side: SideCluster,
  { database, load, lifeboatVersion }: RecoverIntoRequest,
): Promise<Manifest> {
  requireRecoveredDatabase(database, await side.databases());
  const tables =
    load.tables === undefined
      ? undefined
      : chooseRecoveredTables(parseTableList(load.tables), await side.tables(database));
  const what = tables ? `${formatCount(tables.length, 'table')} of ` : '';
  ports.log.info(`Dumping ${what}the recovered database ${JSON.stringify(database)}...`);
  const { manifest } = await backup(side.backupPorts(database, tables), {
    app: ports.app,
    database,
    user: side.user,
    encoding: { format: 'plain', compression: 'zstd' },
    level: 1,
    localRetentionDays: 1,
    runId: load.runId,
    lifeboatVersion,
    allowStandby: false,
    adoptSeries: true,
    dryRun: false,
  });
  ports.log.info(`✅ Dumped (${formatBytes(manifest.dump.size)})`);
  return manifest;
}

/** For people: what stands in the target now, in the place of a backup's name. */
function sourceInWords({ database, load }: RecoverIntoRequest, { lastCommit, end }: Recovered): string {
  const commit = lastCommit === undefined ? '' : `, last commit ${lastCommit}`;
  const position = end.lsn === undefined ? '' : ` at ${formatLsn(end.lsn)}`;
  return `${load.source} (database ${JSON.stringify(database)}${commit}${position})`;
}

function withSource(result: RestoreResult, label: string): RestoreResult {
  const { plan } = result;
  return { ...result, plan: { ...plan, backup: { ...plan.backup, label } } };
}

/**
 * Whoever interrupts wants nothing left. After any other failure the cluster is worth keeping, but not its server.
 * @returns the error to throw
 */
async function keepAfter(
  { interrupted, sides, log }: TakeoverPorts,
  { reached, workplace, side }: Pick<Side, 'reached' | 'workplace'> & { side: SideCluster | undefined },
  error: unknown,
): Promise<unknown> {
  if (interrupted.aborted || !(error instanceof LifeboatError)) return error;
  try {
    await side?.close();
    await workplace.halt();
    await workplace.finish();
  } catch (failure) {
    // The first error is the one to report; the caller now removes what was recovered.
    log.warn(`The recovered cluster could not be kept: ${(failure as Error).message}`);
    return error;
  }
  const { start, look, remove } = sides.handling(reached.place, reached.programs);
  const kept = [
    error.hint,
    `The recovered cluster is kept, stopped, in ${reached.place.dataDir} (--data-dir names another place next time).`,
    `To use it: ${start}`,
    `  then:    ${look}`,
    `To remove it: ${remove}`,
  ];
  const { code, message, cause, problems } = error;
  return new LifeboatError(code, message, { hint: kept.join('\n'), cause: cause ?? error, problems });
}

/** For the log, behind what the restore itself has said. */
function describeRecoveredInto(
  { sides }: TakeoverPorts,
  { recovered, durations, kept }: RecoveredInto,
): string[] {
  const { planning, unpacking, verifying, replaying } = recovered.durations;
  const { place, programs, end } = recovered;
  const { stop, remove } = sides.handling(place, programs);
  const parts = [
    `plan ${formatDuration(planning)}`,
    `fetch ${formatDuration(unpacking)}`,
    `verify ${formatDuration(verifying)}`,
    `${formatCount(end.segments, 'segment')} replayed in ${formatDuration(replaying)}`,
    `dump ${formatDuration(durations.dumping)}`,
    `load ${formatDuration(durations.loading)}`,
  ];
  const cluster = kept
    ? [
        `The recovered cluster in ${place.dataDir} is kept and open: psql -h ${end.socketDir} -p ${end.port}`,
        `To end and remove it: ${stop}; ${remove}`,
      ]
    : ['The recovered cluster was shut down and removed'];
  return [...cluster, `Duration: ${formatDuration(durations.total)} (${parts.join(', ')})`];
}
