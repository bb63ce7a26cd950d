import { z } from 'zod';
import { METRIC } from '../names.ts';
import type { Message } from '../notify/message.ts';
import {
  describeReport,
  describeUnprovenRun,
  OPERATION_TITLE,
  withLinks,
  type RunLinks,
} from '../notify/run-wording.ts';
import { describeBaseBackup } from '../notify/base-wording.ts';
import { describeBothBackups } from '../notify/both-wording.ts';
import { describeRecoveredCluster, recoveredLines } from '../notify/recovery-wording.ts';
import { describeBackup, describeRestore } from '../notify/wording.ts';
import type { BackupKind } from '../run/backup-kind.ts';
import type { LastGoodBackup, RunFailure } from '../run/outcome.ts';
import type { RunOperation } from '../run/request.ts';
import type { RunResult } from '../run/result.ts';
import { consoleOutputUrl } from './console-links.ts';
import { judge, type Judgement, type RunEvidence } from './evidence.ts';
import { withStackCommands, type FunctionNames } from './stack-commands.ts';
import type { ToldRequest } from './told-request.ts';

/** `report.json`: whoever wrote it publishes the message that it holds. */
const reportRecordSchema = z.object({
  runId: z.string(),
  claimedAt: z.iso.datetime(),
  /** The invocation's id: a retry of the same invocation knows that its first try is over. */
  claimedBy: z.string(),
  succeeded: z.boolean(),
  subject: z.string(),
  body: z.string(),
});

export type ReportRecord = z.infer<typeof reportRecordSchema>;

/** `undefined` for what is no such record. */
export function parseReportRecord(json: string): ReportRecord | undefined {
  try {
    return reportRecordSchema.parse(JSON.parse(json));
  } catch {
    return undefined;
  }
}

/** A publisher that has not finished after this long is dead: publishing takes seconds. */
const PUBLISHER_DEAD_MS = 5 * 60 * 1000;

/** Whether a claim that has no `reported.json` is to be published again, by whoever looks at it now. */
export function isAbandoned(record: ReportRecord, who: { now: Date; requestId: string }): boolean {
  if (record.claimedBy === who.requestId) return true;
  return who.now.getTime() - new Date(record.claimedAt).getTime() > PUBLISHER_DEAD_MS;
}

export interface ReportFacts {
  readonly now: Date;
  readonly commandId: string | undefined;
  readonly dashboardUrl: string | undefined;
  readonly functions: FunctionNames;
  /** Looked up for a dump that failed. */
  readonly lastGood: LastGoodBackup | 'unknown' | undefined;
  /** Looked up for a base backup that failed. */
  readonly lastGoodBase?: LastGoodBackup | 'unknown' | undefined;
  /** Of what was found about the run, one sentence each. */
  readonly doubts: readonly string[];
}

export interface RunReport {
  readonly succeeded: boolean;
  readonly message: Message;
  readonly metrics: Readonly<Record<string, number>>;
}

/** One message and its metrics, for any way in which a run can end. */
export function reportRun(request: ToldRequest, evidence: RunEvidence, facts: ReportFacts): RunReport {
  const judgement = judge(request, evidence);
  const links: RunLinks = {
    commandId: facts.commandId,
    dashboardUrl: facts.dashboardUrl,
    outputUrl: outputUrlOf(request, facts.commandId),
  };
  const { subject, body } = describe(request, evidence, judgement, facts);
  return {
    succeeded: !judgement.failure,
    message: withLinks({ subject, body: withStackCommands(body, request, facts.functions) }, links),
    metrics: measure(request, evidence, judgement),
  };
}

function outputUrlOf(
  { storage, instanceId }: ToldRequest,
  commandId: string | undefined,
): string | undefined {
  if (commandId === undefined || storage.region === '' || instanceId === '') return undefined;
  return consoleOutputUrl(storage.region, commandId, instanceId);
}

/** Which last good backups the message needs to know: of what was to be made and was not. */
export function needsLastGoodOf(
  request: ToldRequest,
  evidence: RunEvidence,
): { readonly dump: boolean; readonly base: boolean } {
  const failed = request.operation === 'backup' && judge(request, evidence).failure !== undefined;
  if (!failed) return { dump: false, base: false };
  const outcome = evidence.kind === 'result' ? evidence.result.outcome : null;
  const made = outcome?.kind === 'both' ? outcome : undefined;
  const kind = kindOf(request, outcome);
  return { dump: kind !== 'base' && !made?.dump, base: kind !== 'dump' && !made?.base };
}

/** The host's own settings say it where the request does not. */
function kindOf({ kind }: ToldRequest, outcome: RunResult['outcome']): BackupKind {
  if (outcome?.kind === 'base' || outcome?.kind === 'both') return outcome.kind;
  return kind ?? 'dump';
}

function describe(
  request: ToldRequest,
  evidence: RunEvidence,
  judgement: Judgement,
  facts: ReportFacts,
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
  { now, lastGood, lastGoodBase }: ReportFacts,
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

function factsOf(
  request: ToldRequest,
  { warnings }: Judgement,
  result: RunResult | undefined,
  { now, doubts }: ReportFacts,
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

interface RunFacts {
  readonly app: string;
  readonly runId: string;
  readonly host: string;
  readonly database: string;
  readonly durationMs: number;
  readonly warnings: readonly string[];
}

function describeRestoreRun(
  run: RunFacts,
  { restore }: ToldRequest,
  { failure, began }: Judgement,
  result: RunResult | undefined,
): Message {
  const outcome = result?.outcome;
  if (failure || outcome?.kind !== 'restore') {
    const error = failure ?? {
      code: 'BUG',
      message: 'The result of a restore tells of none',
      hint: 'Report it.',
    };
    const targetUntouched = result?.targetUntouched ?? !began;
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

function measure(
  { operation }: ToldRequest,
  evidence: RunEvidence,
  { failure, unreachable }: Judgement,
): Record<string, number> {
  return {
    [METRIC.runFailed]: failure ? 1 : 0,
    [METRIC.runSucceeded]: failure ? 0 : 1,
    [METRIC.hostUnreachable]: unreachable ? 1 : 0,
    ...(failure || evidence.kind !== 'result' ? {} : measureSuccess(operation, evidence.result)),
  };
}

function measureSuccess(operation: RunOperation, { durationMs, outcome }: RunResult): Record<string, number> {
  if (outcome?.kind === 'backup') return measureDump({ ...outcome, durationMs });
  if (outcome?.kind === 'base') return measureBase(outcome);
  if (outcome?.kind === 'both') {
    const { dump, base } = outcome;
    return { ...(dump && measureDump(dump)), ...(base && measureBase(base)) };
  }
  return operation === 'restore' ? { [METRIC.restoreSeconds]: durationMs / 1000 } : {};
}

function measureDump({ durationMs, bytes }: { durationMs: number; bytes: number }): Record<string, number> {
  return { [METRIC.backupSeconds]: durationMs / 1000, [METRIC.backupBytes]: bytes };
}

function measureBase({ durationMs, bytes }: { durationMs: number; bytes: number }): Record<string, number> {
  return { [METRIC.baseBackupSeconds]: durationMs / 1000, [METRIC.baseBackupBytes]: bytes };
}
