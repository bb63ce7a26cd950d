import { describeBaseBackup } from '../notify/base-wording.ts';
import { describeBothBackups } from '../notify/both-wording.ts';
import type { Message } from '../notify/message.ts';
import { describeRecoveredCluster, recoveredLines } from '../notify/recovery-wording.ts';
import { describeReport, describeUnprovenRun, OPERATION_TITLE } from '../notify/run-wording.ts';
import { describeBackup, describeRestore } from '../notify/wording.ts';
import type { BackupKind } from '../run/backup-kind.ts';
import type { LastGoodBackup, RunFailure } from '../run/outcome.ts';
import type { RunResult } from '../run/result.ts';
import type { Judgement, RunEvidence } from './evidence.ts';
import type { ToldRequest } from './told-request.ts';

/** What is known beside the request and what the run left behind. */
export interface MessageFacts {
  readonly now: Date;
  /** Looked up for a dump that failed. */
  readonly lastGood: LastGoodBackup | 'unknown' | undefined;
  /** Looked up for a base backup that failed. */
  readonly lastGoodBase?: LastGoodBackup | 'unknown' | undefined;
  /** Of what was found about the run, one sentence each. */
  readonly doubts: readonly string[];
}

/** What a backup's run was to make. The host's own settings say it where the request does not. */
export function kindOf({ kind }: ToldRequest, outcome: RunResult['outcome']): BackupKind {
  if (outcome?.kind === 'base' || outcome?.kind === 'both') return outcome.kind;
  return kind ?? 'dump';
}

/** The message of a run, whatever it was to do, and however it ended. */
export function describeRun(
  request: ToldRequest,
  evidence: RunEvidence,
  judgement: Judgement,
  facts: MessageFacts,
): Message {
  const { operation } = request;
  const { failure: error } = judgement;
  const result = evidence.kind === 'result' ? evidence.result : undefined;
  const run = factsOf(request, judgement, result, facts);
  if (!error && evidence.kind === 'verdict')
    return describeUnprovenRun({ ...run, what: OPERATION_TITLE[operation] }, evidence.verdict.message);
  if (operation === 'restore') return describeRestoreRun(run, request, judgement, result);
  if (operation !== 'backup') {
    const lines = result?.outcome?.kind === 'report' ? result.outcome.lines : [];
    return describeReport({ ...run, what: OPERATION_TITLE[operation], lines, error });
  }
  return describeBackupRun(run, request, { error, outcome: result?.outcome ?? null }, facts);
}

function describeBackupRun(
  run: RunFacts,
  request: ToldRequest,
  { error, outcome }: { error: RunFailure | undefined; outcome: RunResult['outcome'] },
  { now, lastGood, lastGoodBase }: MessageFacts,
): Message {
  switch (kindOf(request, outcome)) {
    case 'base': {
      const stored = outcome?.kind === 'base' ? outcome : undefined;
      return describeBaseBackup({ ...run, stored, failure: error, lastGood: lastGoodBase }, now);
    }
    case 'both': {
      const { dump, base } = outcome?.kind === 'both' ? outcome : NOTHING_MADE;
      const made = { dump: dump ?? undefined, base: base ?? undefined };
      return describeBothBackups({ ...run, ...made, failure: error, lastGood, lastGoodBase }, now);
    }
    case 'dump':
      if (!error && outcome?.kind === 'backup')
        return describeBackup({ ...run, ...outcome, succeeded: true }, now);
      return describeBackup({ ...run, succeeded: false, error: error ?? NO_OUTCOME, lastGood }, now);
  }
}

const NOTHING_MADE = { dump: null, base: null } as const;
const NO_OUTCOME: RunFailure = {
  code: 'BUG',
  message: 'The run has neither outcome nor failure',
  hint: 'Report it.',
};
const NO_RESTORE: RunFailure = {
  code: 'BUG',
  message: 'The result of a restore tells of none',
  hint: 'Report it.',
};

interface RunFacts {
  readonly app: string;
  readonly runId: string;
  readonly host: string;
  readonly database: string;
  readonly durationMs: number;
  readonly warnings: readonly string[];
}

function factsOf(
  request: ToldRequest,
  { warnings }: Judgement,
  result: RunResult | undefined,
  { now, doubts }: MessageFacts,
): RunFacts {
  const { runId, series, restore, requestedAt, unreadable } = request;
  return {
    app: series.app,
    runId,
    host: hostOf(request, result),
    database: restore?.database ?? series.database,
    durationMs: result?.durationMs ?? now.getTime() - new Date(requestedAt).getTime(),
    warnings: [
      ...(unreadable === undefined ? [] : [unreadable]),
      ...doubts,
      ...warnings,
      ...(result?.warnings ?? []),
    ],
  };
}

function describeRestoreRun(
  run: RunFacts,
  { restore }: ToldRequest,
  { failure, began }: Judgement,
  result: RunResult | undefined,
): Message {
  const outcome = result?.outcome;
  if (failure || outcome?.kind !== 'restore') {
    const targetUntouched = result?.targetUntouched ?? !began;
    const error = failure ?? NO_RESTORE;
    return describeRestore({
      ...run,
      succeeded: false,
      error,
      targetUntouched,
      source: restore?.source ?? '',
    });
  }
  const { source, database, checked, keptAs, recovered } = outcome;
  if (recovered?.cluster) return describeRecoveredCluster(run, { ...recovered, cluster: recovered.cluster });
  return describeRestore({
    ...run,
    succeeded: true,
    source,
    database,
    checked: checked ?? undefined,
    keptAs: keptAs ?? undefined,
    ...(recovered && { recovered: recoveredLines(recovered) }),
  });
}

function hostOf({ instanceId }: ToldRequest, result: RunResult | undefined): string {
  if (instanceId === '') return result?.host ?? 'a host that is not known';
  return result && result.host !== instanceId ? `${result.host} (${instanceId})` : instanceId;
}
