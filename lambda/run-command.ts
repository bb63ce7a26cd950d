import {
  DescribeInstanceInformationCommand,
  GetCommandInvocationCommand,
  ListCommandInvocationsCommand,
  ListCommandsCommand,
  SendCommandCommand,
  type SSMClient,
} from '@aws-sdk/client-ssm';
import { DOCUMENT_PARAMETER, DOCUMENT_STEP } from '../lib/domain/names.ts';
import { errorName, serviceError } from './sdk-error.ts';

interface CommandToSend {
  readonly document: string;
  readonly instanceId: string;
  /** base64url, of lib/domain/run/request.ts. */
  readonly encodedRequest: string;
  readonly runId: string;
  readonly deliverySeconds: number;
  readonly logGroup: string | undefined;
}

export interface Invocation {
  /** The run's id, where the command is ours. */
  readonly comment: string;
  readonly document: string;
  readonly statusDetails: string;
}

/** SSM Run Command as the Lambdas use it. */
export interface RunCommand {
  /** One try, and the SDK's error as it is: SendCommand has no client token, so its caller decides about another. */
  send(command: CommandToSend): Promise<string>;
  /** The first command that was sent to the host for the run since then; `undefined` when there is none. */
  find(run: {
    runId: string;
    instanceId: string;
    document: string;
    since: Date;
  }): Promise<string | undefined>;
  /** `undefined`: SSM does not know it, or not yet. */
  invocation(commandId: string, instanceId: string): Promise<Invocation | undefined>;
  /** The agent's standard output, as far as SSM keeps it; empty when its step never ran. */
  output(commandId: string, instanceId: string): Promise<string>;
  /** Ids of the managed instances that carry the tag, whether they answer now or not. */
  hostsWithTag(key: string, value: string): Promise<string[]>;
}

/** The most that SSM allows in each. */
const HOSTS_PER_PAGE = 50;
const COMMANDS_PER_PAGE = 50;

/** @param clients `sender` makes one attempt, `reader` as many as it likes: reading twice does no harm */
export function openRunCommand({ sender, reader }: { sender: SSMClient; reader: SSMClient }): RunCommand {
  return {
    send: async (command) => await send(sender, command),
    find: async (run) => await find(reader, run),
    invocation: async (commandId, instanceId) => await findInvocation(reader, commandId, instanceId),
    output: async (commandId, instanceId) => await readOutput(reader, commandId, instanceId),
    hostsWithTag: async (key, value) => await hostsWithTag(reader, key, value),
  };
}

async function send(client: SSMClient, command: CommandToSend): Promise<string> {
  const { document, instanceId, encodedRequest, runId, deliverySeconds, logGroup } = command;
  const answer = await client.send(
    new SendCommandCommand({
      DocumentName: document,
      // CloudFormation makes each deployment's document the default version, and sometimes does not, without a word
      // (https://github.com/aws-cloudformation/cloudformation-coverage-roadmap/issues/2539): an old agent would run on.
      DocumentVersion: '$LATEST',
      InstanceIds: [instanceId],
      Parameters: { [DOCUMENT_PARAMETER]: [encodedRequest] },
      Comment: runId,
      TimeoutSeconds: deliverySeconds,
      ...(logGroup && {
        CloudWatchOutputConfig: { CloudWatchLogGroupName: logGroup, CloudWatchOutputEnabled: true },
      }),
    }),
  );
  return answer.Command?.CommandId ?? '';
}

async function find(
  client: SSMClient,
  { runId, instanceId, document, since }: Parameters<RunCommand['find']>[0],
): Promise<string | undefined> {
  const found: { id: string; time: number }[] = [];
  let token: string | undefined;
  do {
    const page = await ask('ssm:ListCommands', instanceId, () =>
      client.send(
        new ListCommandsCommand({
          InstanceId: instanceId,
          MaxResults: COMMANDS_PER_PAGE,
          Filters: [
            { key: 'InvokedAfter', value: `${since.toISOString().slice(0, 19)}Z` },
            { key: 'DocumentName', value: document },
          ],
          ...(token && { NextToken: token }),
        }),
      ),
    );
    for (const { Comment, CommandId, RequestedDateTime } of page.Commands ?? []) {
      if (Comment === runId && CommandId)
        found.push({ id: CommandId, time: RequestedDateTime?.getTime() ?? 0 });
    }
    token = page.NextToken;
  } while (token);
  return found.toSorted((one, other) => one.time - other.time)[0]?.id;
}

/**
 * Of the whole invocation only the list tells: GetCommandInvocation wants the name of a step where the document has several
 * (https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetCommandInvocation.html). Asked by the command
 * alone, because the list refuses an instance that has been terminated meanwhile (InvalidInstanceId).
 */
async function findInvocation(
  client: SSMClient,
  commandId: string,
  instanceId: string,
): Promise<Invocation | undefined> {
  let token: string | undefined;
  do {
    const page = await listInvocations(client, commandId, token);
    const found = page?.CommandInvocations?.find(({ InstanceId }) => InstanceId === instanceId);
    if (found) {
      const { Comment = '', DocumentName = '', StatusDetails, Status } = found;
      return { comment: Comment, document: DocumentName, statusDetails: StatusDetails ?? Status ?? '' };
    }
    token = page?.NextToken;
  } while (token);
  return undefined;
}

async function listInvocations(client: SSMClient, commandId: string, token: string | undefined) {
  try {
    return await client.send(
      new ListCommandInvocationsCommand({
        CommandId: commandId,
        MaxResults: COMMANDS_PER_PAGE,
        ...(token && { NextToken: token }),
      }),
    );
  } catch (error) {
    if (errorName(error) === 'InvalidCommandId') return undefined;
    throw serviceError(error, `ssm:ListCommandInvocations of ${commandId}`);
  }
}

/** SSM knows no step that never ran (InvalidPluginName). */
async function readOutput(client: SSMClient, commandId: string, instanceId: string): Promise<string> {
  try {
    const answer = await client.send(
      new GetCommandInvocationCommand({
        CommandId: commandId,
        InstanceId: instanceId,
        PluginName: DOCUMENT_STEP,
      }),
    );
    return answer.StandardOutputContent ?? '';
  } catch (error) {
    if (['InvocationDoesNotExist', 'InvalidPluginName'].includes(errorName(error))) return '';
    throw serviceError(error, `ssm:GetCommandInvocation of ${commandId} on ${instanceId}`);
  }
}

async function hostsWithTag(client: SSMClient, key: string, value: string): Promise<string[]> {
  const ids: string[] = [];
  let token: string | undefined;
  do {
    const page = await ask('ssm:DescribeInstanceInformation', `the tag ${key}=${value}`, () =>
      client.send(
        new DescribeInstanceInformationCommand({
          Filters: [{ Key: `tag:${key}`, Values: [value] }],
          MaxResults: HOSTS_PER_PAGE,
          ...(token && { NextToken: token }),
        }),
      ),
    );
    for (const { InstanceId } of page.InstanceInformationList ?? []) if (InstanceId) ids.push(InstanceId);
    token = page.NextToken;
  } while (token);
  return [...new Set(ids)];
}

async function ask<Answer>(action: string, what: string, call: () => Promise<Answer>): Promise<Answer> {
  try {
    return await call();
  } catch (error) {
    throw serviceError(error, `${action} for ${what}`);
  }
}
