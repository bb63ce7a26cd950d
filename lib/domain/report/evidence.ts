import type { RunFailure } from '../run/outcome.ts';
import type { RunOperation } from '../run/request.ts';
import type { RunResult, Verdict } from '../run/result.ts';
import { describeStatus, reachedHost, type TerminalStatus } from '../run/ssm-status.ts';
import { codeOfRefusal, hintOfRefusal, isHostsFault, type Refusal } from '../start/refusal.ts';

/** What is known of how a run ended, the best word first: the host's result, its verdict line, SSM's status, silence. */
export type RunEvidence =
  | { readonly kind: 'result'; readonly result: RunResult; readonly status?: TerminalStatus }
  | { readonly kind: 'verdict'; readonly verdict: Verdict; readonly status: TerminalStatus }
  /** `output`: the command's standard output, as far as SSM kept it. */
  | { readonly kind: 'status'; readonly status: TerminalStatus; readonly output: string }
  | { readonly kind: 'refused'; readonly refused: Refusal }
  | { readonly kind: 'lost'; readonly commandSent: boolean };

export interface Judgement {
  /** `undefined`: the run succeeded. */
  readonly failure: RunFailure | undefined;
  /** The host did not take the command, as far as is known. */
  readonly unreachable: boolean;
  /** The host may have begun. */
  readonly began: boolean;
  /** What does not fit together, one sentence each. */
  readonly warnings: readonly string[];
}

/** Success is only what the host said; SSM's "Success" is no more than an exit status of zero. */
export function judge({ operation }: { readonly operation: RunOperation }, evidence: RunEvidence): Judgement {
  switch (evidence.kind) {
    case 'result':
      return judgeResult(operation, evidence.result, evidence.status);
    case 'verdict':
      return { failure: failureOfVerdict(evidence.verdict), ...ON_HOST };
    case 'status': {
      const reached = reachedHost(evidence.status);
      const failure = failureOfStatus(evidence.status, evidence.output);
      return { failure, unreachable: !reached, began: reached, warnings: [] };
    }
    case 'refused': {
      const { refused } = evidence;
      return {
        failure: failureOfRefusal(refused),
        unreachable: isHostsFault(refused.name),
        began: false,
        warnings: [],
      };
    }
    case 'lost':
      return {
        failure: failureOfSilence(evidence.commandSent),
        unreachable: true,
        began: true,
        warnings: [],
      };
  }
}

const ON_HOST = { unreachable: false, began: true, warnings: [] } as const;

function judgeResult(
  operation: RunOperation,
  { failure, outcome }: RunResult,
  status: TerminalStatus | undefined,
): Judgement {
  if (failure) return { failure, ...ON_HOST };
  if (!tellsOf(operation, outcome)) return { failure: noOutcome(operation), ...ON_HOST };
  const warnings =
    status === undefined || status === 'Success'
      ? []
      : [`The host’s result says success, and SSM afterwards: ${describeStatus(status)}`];
  return { ...ON_HOST, failure: undefined, warnings };
}

function tellsOf(operation: RunOperation, outcome: RunResult['outcome']): boolean {
  if (!outcome) return false;
  if (operation === 'restore') return outcome.kind === 'restore';
  if (operation !== 'backup') return outcome.kind === 'report';
  if (outcome.kind === 'both') return outcome.dump !== null && outcome.base !== null;
  return outcome.kind === 'backup' || outcome.kind === 'base';
}

function noOutcome(operation: RunOperation): RunFailure {
  return {
    code: 'BUG',
    message: `The result tells neither of a failure nor of what ${operation} made`,
    hint: 'Look at the command’s output, and deploy the stack again: agent and Lambdas may be of different versions.',
  };
}

function failureOfVerdict({ succeeded, code, message, exitStatus }: Verdict): RunFailure | undefined {
  if (succeeded) return undefined;
  return {
    code: code ?? 'RUN_ENDED',
    message: message || `The agent ended with status ${exitStatus}`,
    hint: 'The result did not come as far as S3; the command’s output has the run’s log.',
  };
}

const LONGEST_OUTPUT = 800;

/** The status' words, and what to do about each. */
const REMEDY = {
  Success: 'Look at the command’s output: the document ended well without the agent’s having run to its end.',
  Failed:
    'Look at the command’s output: the agent could not be fetched or installed, or it was killed, as by a lack of memory.',
  TimedOut: 'Look at the host’s load; give the run more time with limits.runMinutes in lifeboat.config.json.',
  ExecutionTimedOut:
    'Look at the host’s load; give the run more time with limits.runMinutes in lifeboat.config.json.',
  DeliveryTimedOut:
    'Is the instance running, and does its SSM agent answer? aws ssm describe-instance-information',
  Cancelled: 'Ask who cancelled it (CloudTrail: CancelCommand), then start the run again.',
  Undeliverable: 'Is the instance running, and does SSM manage it? aws ssm describe-instance-information',
  Terminated: 'SSM ended the command before it was tried here: start the run again.',
  InvalidPlatform:
    'Lifeboat’s documents run on Linux: is the instance the one that lifeboat.config.json means?',
  AccessDenied: 'Attach the host’s role of the stack’s outputs to the instance, then start the run again.',
  NoInstancesInTag: 'Does SSM manage the instance? aws ssm describe-instance-information',
  RateExceeded: 'Start the run again.',
  Incomplete: 'Start the run again.',
} as const satisfies Record<TerminalStatus, string>;

function failureOfStatus(status: TerminalStatus, output: string): RunFailure {
  const tail = output.trim().slice(-LONGEST_OUTPUT);
  const words = `The run left no result: ${describeStatus(status)} (${status})`;
  return {
    code: codeOfStatus(status),
    message: tail === '' ? words : `${words}. Its last output:\n${tail}`,
    hint: REMEDY[status],
  };
}

function codeOfStatus(status: TerminalStatus): string {
  if (!reachedHost(status)) return 'HOST_UNREACHABLE';
  return status === 'Success' ? 'RUN_LOST' : 'RUN_ENDED';
}

function failureOfRefusal(refused: Refusal): RunFailure {
  const { name, message } = refused;
  return {
    code: codeOfRefusal(refused),
    message: `SSM did not take the command for this host: ${message || 'no message'} (${name})`,
    hint: hintOfRefusal(refused),
  };
}

function failureOfSilence(commandSent: boolean): RunFailure {
  return commandSent
    ? {
        code: 'RUN_LOST',
        message: 'Nothing was heard of the run although all the time that it may take is over',
        hint: 'Is the host alive? The backup may have been made, and only its word be lost; ask it: lifeboat status',
      }
    : {
        code: 'RUN_LOST',
        message: 'The run was asked for, and there is no record that its command was ever sent',
        hint: 'See the start-run function’s log for the run’s id, then start the run again.',
      };
}
