import { z } from 'zod';
import { LifeboatError } from '../../lib/domain/errors.ts';
import type { RunEvidence } from '../../lib/domain/report/evidence.ts';
import type { ToldRequest } from '../../lib/domain/report/told-request.ts';
import { findVerdict, type RunResult } from '../../lib/domain/run/result.ts';
import { isRunId } from '../../lib/domain/run/run-id.ts';
import { runKey } from '../../lib/domain/run/run-keys.ts';
import { parseTerminalStatus, type TerminalStatus } from '../../lib/domain/run/ssm-status.ts';
import { parseCommandRecord } from '../../lib/domain/start/command-record.ts';
import type { Handler } from '../handler.ts';
import { readRequest, readResult, report, type Reported, type ReportingPorts } from '../reporting.ts';
import type { Invocation, RunCommand } from '../run-command.ts';

export type ReportRunEdges = Omit<ReportingPorts, 'requestId'> & {
  readonly commands: RunCommand;
  /** Names of our documents: a run's id in the comment of another's command says nothing. */
  readonly documents: readonly string[];
};

/** EventBridge's `EC2 Command Invocation Status-change Notification`, as far as it is read. */
const eventSchema = z.object({
  'detail-type': z.string(),
  detail: z.object({ 'command-id': z.string(), 'instance-id': z.string(), status: z.string() }),
});

const DETAIL_TYPE = 'EC2 Command Invocation Status-change Notification';

/** Why nothing was done, or what was. */
export interface ReportAnswer {
  readonly runId: string | undefined;
  readonly action: Reported | 'ignored';
  readonly reason?: string;
}

/** SSM's API may learn of an invocation, and of its end, some seconds after the event. */
const LOOKS = 6;
const FIRST_PAUSE_MS = 500;

/** Tells of a run that SSM says has ended: once, however often and in which order the events come. */
export function makeHandler(edges: ReportRunEdges): Handler<ReportAnswer> {
  return async (event, { awsRequestId }) => {
    const ports = { ...edges, requestId: awsRequestId };
    const parsed = eventSchema.safeParse(event);
    if (!parsed.success || parsed.data['detail-type'] !== DETAIL_TYPE)
      return ignore(ports, undefined, `no ${DETAIL_TYPE}`);
    const { 'command-id': commandId, 'instance-id': instanceId, status } = parsed.data.detail;
    const ended = parseTerminalStatus(status);
    if (!ended) return ignore(ports, undefined, `the invocation has not ended: ${status}`);
    const invocation = await lookUp(ports, commandId, instanceId);
    if (!invocation) throw unknownToSsm(commandId, instanceId);
    const runId = invocation.comment;
    if (!isRunId(runId) || !isOurs(ports.documents, invocation))
      return ignore(ports, undefined, 'the command is none of ours');
    const request = await readRequest(ports, runId);
    if (!request) return ignore(ports, runId, 'there is no request of that run');
    if (request.instanceId !== '' && request.instanceId !== instanceId)
      return ignore(ports, runId, `the run is of ${request.instanceId}, the command of ${instanceId}`);
    // The event has one word for both ways of timing out; the invocation has the details.
    const details = parseTerminalStatus(invocation.statusDetails) ?? ended;
    const found = await readResult(ports, request);
    const evidence = await gather(ports, request, found.result, { commandId, instanceId, status: details });
    if (typeof evidence === 'string') return ignore(ports, runId, evidence);
    return { runId, action: await report(ports, request, evidence, commandId, found.doubts) };
  };
}

function ignore({ log }: ReportingPorts, runId: string | undefined, reason: string): ReportAnswer {
  log.info('Ignored', { runId, reason });
  return { runId, action: 'ignored', reason };
}

/** Thrown so that the event comes again; its run would otherwise be told of only when all its time is over. */
function unknownToSsm(commandId: string, instanceId: string): LifeboatError {
  return new LifeboatError(
    'SSM_FAILED',
    `SSM knows no invocation of ${commandId} on ${instanceId} although it told of it`,
  );
}

/** SSM names a document of this account by its name, one of another by its ARN. */
function isOurs(documents: readonly string[], { document }: Invocation): boolean {
  return documents.includes(document);
}

async function lookUp(
  { commands, clock }: ReportRunEdges,
  commandId: string,
  instanceId: string,
): Promise<Invocation | undefined> {
  for (let look = 1; ; look += 1) {
    const found = await commands.invocation(commandId, instanceId);
    if ((found && parseTerminalStatus(found.statusDetails)) || look === LOOKS) return found;
    await clock.sleep(FIRST_PAUSE_MS * 2 ** (look - 1));
  }
}

interface Ended {
  readonly commandId: string;
  readonly instanceId: string;
  readonly status: TerminalStatus;
}

/**
 * The host's result, else its verdict line, else SSM's status. A run's id in the comment of another command, as of somebody
 * who sent it again by hand, says nothing about the run; but of two senders at once either may have written down its own
 * command, and the host knows which of them it obeyed.
 * @returns why it is not this command that tells of the run, in words
 */
async function gather(
  ports: ReportRunEdges & ReportingPorts,
  request: ToldRequest,
  result: RunResult | undefined,
  { commandId, instanceId, status }: Ended,
): Promise<RunEvidence | string> {
  const recorded = result?.commandId ?? (await readCommandId(ports, request));
  const isOther = recorded !== undefined && recorded !== commandId;
  if (result) return isOther ? otherCommand(recorded) : { kind: 'result', result, status };
  const output = await ports.commands.output(commandId, instanceId);
  const verdict = findVerdict(output);
  if (verdict?.runId !== request.runId)
    return isOther ? otherCommand(recorded) : { kind: 'status', status, output };
  if (verdict.code !== 'RUN_REPEATED') return { kind: 'verdict', verdict, status };
  return 'the host refused to run it twice; the first time is told by its own end';
}

function otherCommand(commandId: string): string {
  return `the run's command is ${commandId}`;
}

async function readCommandId(
  { state, statePrefix }: ReportingPorts,
  { runId }: ToldRequest,
): Promise<string | undefined> {
  const json = await state.read(runKey(statePrefix, runId, 'command'));
  const record = json === undefined ? undefined : parseCommandRecord(json);
  return record?.commandId ?? undefined;
}
