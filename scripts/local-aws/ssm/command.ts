import { randomUUID } from 'node:crypto';
import type { StepRecord } from './run-document.ts';
import type { ParameterValues } from './document.ts';
import { combineOutput } from './step-output.ts';

export type InvocationStatus = 'Pending' | 'InProgress' | 'Success' | 'Failed' | 'TimedOut' | 'Cancelled';

/** What SSM tells apart where the status alone does not. */
export type StatusDetails =
  | 'Pending'
  | 'InProgress'
  | 'Success'
  | 'Failed'
  | 'ExecutionTimedOut'
  | 'DeliveryTimedOut'
  | 'Cancelled'
  | 'Undeliverable'
  | 'Terminated'
  | 'InvalidPlatform'
  | 'AccessDenied';

const STATUS_OF: Readonly<Record<StatusDetails, InvocationStatus>> = {
  Pending: 'Pending',
  InProgress: 'InProgress',
  Success: 'Success',
  Failed: 'Failed',
  ExecutionTimedOut: 'TimedOut',
  DeliveryTimedOut: 'TimedOut',
  Cancelled: 'Cancelled',
  Undeliverable: 'Failed',
  Terminated: 'Failed',
  InvalidPlatform: 'Failed',
  AccessDenied: 'Failed',
};

interface CommandRequest {
  readonly documentName: string;
  readonly documentVersion: string;
  readonly instanceId: string;
  readonly parameters: ParameterValues;
  readonly comment: string;
  readonly timeoutSeconds: number;
  readonly logGroup: string | undefined;
  readonly stepNames: readonly string[];
}

/** A command for one host, with its one invocation. */
export class Command {
  readonly id = randomUUID();
  readonly requestedAt = new Date();
  readonly request: CommandRequest;
  readonly cancellation = new AbortController();
  #details: StatusDetails = 'Pending';
  #steps: readonly StepRecord[] = [];
  #finishedAt: Date | undefined;

  constructor(request: CommandRequest) {
    this.request = request;
  }

  get details(): StatusDetails {
    return this.#details;
  }

  get status(): InvocationStatus {
    return STATUS_OF[this.#details];
  }

  get hasEnded(): boolean {
    return this.#finishedAt !== undefined;
  }

  note(steps: readonly StepRecord[]): void {
    this.#steps = [...steps];
  }

  change(details: StatusDetails): void {
    this.#details = details;
    if (details !== 'Pending' && details !== 'InProgress') this.#finishedAt = new Date();
  }

  /** An element of ListCommands. */
  describe(): Record<string, unknown> {
    const { documentName, documentVersion, instanceId, parameters, comment, timeoutSeconds, logGroup } =
      this.request;
    return {
      CommandId: this.id,
      DocumentName: documentName,
      DocumentVersion: documentVersion,
      Comment: comment,
      ExpiresAfter: seconds(new Date(this.requestedAt.getTime() + timeoutSeconds * 1000)),
      Parameters: parameters,
      InstanceIds: [instanceId],
      Targets: [],
      RequestedDateTime: seconds(this.requestedAt),
      Status: this.status,
      StatusDetails: this.#details,
      TargetCount: 1,
      CompletedCount: this.hasEnded ? 1 : 0,
      ErrorCount: this.hasEnded && this.status === 'Failed' ? 1 : 0,
      TimeoutSeconds: timeoutSeconds,
      CloudWatchOutputConfig: {
        CloudWatchLogGroupName: logGroup ?? '',
        CloudWatchOutputEnabled: logGroup !== undefined,
      },
    };
  }

  /** An element of ListCommandInvocations. */
  describeInvocation(withDetails: boolean): Record<string, unknown> {
    const { documentName, documentVersion, instanceId, comment } = this.request;
    return {
      CommandId: this.id,
      InstanceId: instanceId,
      InstanceName: '',
      Comment: comment,
      DocumentName: documentName,
      DocumentVersion: documentVersion,
      RequestedDateTime: seconds(this.requestedAt),
      Status: this.status,
      StatusDetails: this.#details,
      CommandPlugins: withDetails ? this.request.stepNames.map((name) => this.#describePlugin(name)) : [],
    };
  }

  #describePlugin(name: string): Record<string, unknown> {
    const step = this.#steps.find((each) => each.name === name);
    if (!step)
      return { Name: name, Status: this.status, StatusDetails: this.#details, ResponseCode: -1, Output: '' };
    return {
      Name: name,
      Status: stepStatus(step),
      StatusDetails: stepDetails(step),
      ResponseCode: step.code,
      ResponseStartDateTime: seconds(step.startedAt),
      ResponseFinishDateTime: seconds(step.finishedAt),
      Output: combineOutput(step.stdout, step.stderr),
    };
  }

  /**
   * The answer of GetCommandInvocation, which is about one step: the document's only one, or the one that is named
   * (https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetCommandInvocation.html). `undefined` for a step
   * that never ran, and where none of several is named.
   */
  describeOutput(stepName: string | undefined): Record<string, unknown> | undefined {
    const { documentName, documentVersion, instanceId, comment, stepNames } = this.request;
    const name = stepName ?? (stepNames.length === 1 ? stepNames[0] : undefined);
    const step = this.#steps.find((each) => each.name === name);
    if (!step) return undefined;
    return {
      CommandId: this.id,
      InstanceId: instanceId,
      Comment: comment,
      DocumentName: documentName,
      DocumentVersion: documentVersion,
      PluginName: step.name,
      ResponseCode: step.code,
      ExecutionStartDateTime: step.startedAt.toISOString(),
      ExecutionElapsedTime: `PT${(step.finishedAt.getTime() - step.startedAt.getTime()) / 1000}S`,
      ExecutionEndDateTime: step.finishedAt.toISOString(),
      Status: stepStatus(step),
      StatusDetails: stepDetails(step),
      StandardOutputUrl: '',
      StandardOutputContent: step.stdout.slice(0, 24_000),
      StandardErrorUrl: '',
      StandardErrorContent: step.stderr.slice(0, 8000),
    };
  }
}

const stepStatus = ({ status }: StepRecord): string => (status === 'Skipped' ? 'Success' : status);
const stepDetails = ({ status }: StepRecord): string =>
  status === 'TimedOut' ? 'ExecutionTimedOut' : status === 'Skipped' ? 'Success' : status;

/** JSON 1.1 writes times as seconds since the epoch. */
const seconds = (time: Date): number => time.getTime() / 1000;
