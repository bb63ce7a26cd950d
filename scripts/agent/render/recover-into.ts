import { formatBytes } from '../../../lib/domain/quantities.ts';
import type { TargetAction } from '../commands/recover/recover-into-target.ts';
import type {
  PlannedRecoverInto,
  RecoveredInto,
  RecoverIntoRequest,
} from '../commands/recover/recover-into.ts';
import type { ToldRestore } from '../commands/restore/restore-and-tell.ts';
import { recoveredAsJson, recoveryPlanAsJson, renderRecoveryPlan } from './recovery.ts';
import { restoreAsJson } from './restore.ts';

export function renderRecoverIntoPlan({
  recovery,
  request,
  action,
  dumpBytes,
}: PlannedRecoverInto): string[] {
  const { database, load, keep } = request;
  const { dataDir } = request.recovery.place;
  const lines = renderRecoveryPlan(recovery);
  const what = load.tables === undefined ? '' : `tables ${load.tables} of `;
  return [
    ...lines.slice(0, -1),
    `To the side, into ${dataDir}, where only this run can reach it; then`,
    `  dump    ${what}the recovered database ${JSON.stringify(database)}, at most ${formatBytes(dumpBytes)} more on the same disk`,
    `  load    into ${JSON.stringify(load.database)} of the live server, ${describeAction(action)}`,
    '  check   the rows of every table against those that were dumped',
    ...(load.tables === undefined ? [`  swap    ${describeSwap(action, load.database)}`] : []),
    keep
      ? '  keep    the recovered cluster, open on its socket (--keep)'
      : '  remove  the recovered cluster (--keep leaves it open)',
    lines.at(-1)!,
  ];
}

function describeAction(action: TargetAction): string {
  switch (action.kind) {
    case 'create':
      return 'which does not exist yet';
    case 'fill':
      return 'which exists and is empty';
    case 'replace':
      return `which holds data: ${action.contents}`;
    case 'tables': {
      if (!action.exists) return 'which does not exist yet';
      if (action.moved.length === 0) return 'which has none of them';
      const moved = action.moved.map(({ schema, name, to }) => `${schema}.${name} to the schema ${to}`);
      return `in one transaction that first moves what is there: ${moved.join(', ')}`;
    }
    default:
      return action satisfies never;
  }
}

function describeSwap({ kind }: TargetAction, target: string): string {
  return kind === 'replace'
    ? `by rename; what is there now is kept as ${JSON.stringify(`${target}_before_<time>`)}`
    : `by rename, once all rows are there`;
}

export function recoverIntoPlanAsJson({ recovery, request, action, dumpBytes }: PlannedRecoverInto): object {
  const { database, load, keep } = request;
  return {
    ...recoveryPlanAsJson(recovery),
    dataDir: request.recovery.place.dataDir,
    database,
    tables: load.tables ?? null,
    target: load.database,
    replace: load.replace,
    action,
    dumpBytesAtMost: dumpBytes,
    keep,
  };
}

export function recoveredIntoAsJson(
  request: RecoverIntoRequest,
  told: ToldRestore,
  into: RecoveredInto | undefined,
): object {
  const restored = restoreAsJson(request.load, told) as object;
  if (!into) return restored;
  const { durations: loaded, dumpBytes, kept } = into;
  const { durationsMs, ...recovered } = recoveredAsJson(into.recovered) as { durationsMs: object };
  const { dumping, loading, total } = loaded;
  return {
    ...recovered,
    ...restored,
    from: request.database,
    dumpBytes,
    kept,
    durationsMs: {
      ...durationsMs,
      dumping: Math.round(dumping),
      loading: Math.round(loading),
      total: Math.round(total),
    },
  };
}
