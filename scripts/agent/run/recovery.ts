import {
  recoverySource,
  takesOut,
  type RequestedRecovery,
} from '../../../lib/domain/run/requested-recovery.ts';
import type { RunRequest } from '../../../lib/domain/run/request.ts';
import type { RecoveredFacts } from '../../../lib/domain/run/result.ts';
import { asLifeboatError } from '../../../lib/domain/errors.ts';
import { formatLsn } from '../../../lib/domain/wal/lsn.ts';
import { chooseSidePlace, describeInto, openTakeoverPorts, recoverIntoAndTell } from '../cli/recover-into.ts';
import { describeRecovery, openRecoveryPorts } from '../cli/recover.ts';
import { describeRecovered, recover, lossInWords, type Recovered } from '../commands/recover/recover.ts';
import { isUntouched } from '../commands/restore/restore-and-tell.ts';
import type { Context } from '../context.ts';
import { handlingOf } from '../recovery/side-clusters.ts';
import type { OperationEnd } from './operations.ts';

type RecoveryWish = NonNullable<RunRequest['restore']> & { readonly recovery: RequestedRecovery };

/** What the restore function planned: a cluster beside the live one, or a database or tables out of such a one. */
export async function runRecovery(context: Context, wish: RecoveryWish): Promise<OperationEnd> {
  const options = optionsOf(wish);
  return takesOut(wish.recovery)
    ? await takeOut(context, wish, options)
    : await recoverCluster(context, wish, options);
}

type Options = Readonly<Record<string, unknown>>;

/** As the command line would have them. */
function optionsOf({ recovery, database, replace, globals }: RecoveryWish): Options {
  const { timeline, port, end, ...rest } = recovery;
  return {
    ...rest,
    ...(timeline === undefined ? {} : { timeline: String(timeline) }),
    ...(port === undefined ? {} : { port: String(port) }),
    ...(end === undefined ? {} : { action: end }),
    ...(takesOut(recovery) ? { toDatabase: database, replace, globals } : {}),
  };
}

async function recoverCluster(
  context: Context,
  { database, recovery }: RecoveryWish,
  options: Options,
): Promise<OperationEnd> {
  try {
    const ports = openRecoveryPorts(context);
    const asked = describeRecovery(context, options);
    const place = asked.place ?? (await chooseSidePlace(context, options));
    const recovered = await recover(ports, { ...asked, place });
    for (const line of describeRecovered(recovered)) context.log.info(line);
    const outcome = {
      kind: 'restore',
      source: recoverySource(recovery),
      database,
      checked: null,
      keptAs: null,
      recovered: factsOf(recovery, recovered, recovered.durations, true),
    } as const;
    return { outcome, warnings: [], failure: undefined };
  } catch (error) {
    return { outcome: null, warnings: [], failure: asLifeboatError(error), targetUntouched: true };
  }
}

async function takeOut(
  context: Context,
  { database, recovery }: RecoveryWish,
  options: Options,
): Promise<OperationEnd> {
  const ports = openTakeoverPorts(context);
  const request = await describeInto(context, options);
  const { told, into } = await recoverIntoAndTell(context, ports, request);
  const { failure, result } = told;
  if (failure || !into)
    return { outcome: null, warnings: [], failure, targetUntouched: !failure || isUntouched(failure) };
  const durations = { ...into.recovered.durations, ...into.durations };
  const outcome = {
    kind: 'restore',
    source: result?.plan.backup.label ?? request.load.source,
    database,
    checked: result?.completed?.checked ?? null,
    keptAs: result?.completed?.keptAs ?? null,
    recovered: factsOf(recovery, into.recovered, durations, into.kept),
  } as const;
  return { outcome, warnings: result?.completed?.warnings ?? [], failure: undefined };
}

const STATE = { promote: 'open', pause: 'paused', shutdown: 'stopped' } as const;

function factsOf(
  recovery: RequestedRecovery,
  recovered: Recovered,
  durations: Readonly<Record<keyof Recovered['durations'], number>>,
  kept: boolean,
): RecoveredFacts {
  const { plan, end, lastCommit, place, programs, action } = recovered;
  const { look, stop, remove } = handlingOf(place, programs, { socketDir: end.socketDir, port: end.port });
  return {
    target: recoverySource(recovery),
    base: plan.base.label,
    timeline: end.timeline ?? null,
    lsn: end.lsn === undefined ? null : formatLsn(end.lsn),
    lastCommit: lastCommit ?? null,
    loss: lossInWords(recovered) ?? null,
    durationsMs: Object.fromEntries(
      Object.entries(durations).map(([name, milliseconds]) => [name, Math.round(milliseconds)]),
    ),
    cluster: kept ? { dataDir: place.dataDir, state: STATE[action], look, stop, remove } : null,
  };
}
