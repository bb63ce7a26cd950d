import { METRIC } from '../names.ts';
import type { Message } from '../notify/message.ts';
import { withLinks, type RunLinks } from '../notify/run-wording.ts';
import type { RunOperation } from '../run/request.ts';
import type { RunResult } from '../run/result.ts';
import { consoleOutputUrl } from './console-links.ts';
import { judge, type Judgement, type RunEvidence } from './evidence.ts';
import { describeRun, kindOf, type MessageFacts } from './run-message.ts';
import { withStackCommands, type FunctionNames } from './stack-commands.ts';
import type { ToldRequest } from './told-request.ts';

export interface ReportFacts extends MessageFacts {
  readonly commandId: string | undefined;
  readonly dashboardUrl: string | undefined;
  readonly functions: FunctionNames;
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
  const { subject, body } = describeRun(request, evidence, judgement, facts);
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
