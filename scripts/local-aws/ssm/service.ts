import { z } from 'zod';
import type { AccessControl } from '../access/access-control.ts';
import type { Principal } from '../access/principal.ts';
import { AwsError } from '../http/aws-error.ts';
import type { Service, ServiceCall } from '../http/service.ts';
import type { Command } from './command.ts';
import type { ManagedHost } from './managed-host.ts';
import { getParameter, getParameters } from './parameter-operations.ts';
import type { ParameterStore } from './parameter-store.ts';
import type { RunCommand } from './run-command.ts';

export interface SsmContext {
  readonly runCommand: RunCommand;
  readonly parameters: ParameterStore;
  readonly access: AccessControl;
  readonly arn: (service: string, resource: string) => string;
  /** Faults that a test asks for; each call may take one. */
  readonly faults: SsmFaults;
}

/** What SSM does now and then, on demand. */
export interface SsmFaults {
  /** So many calls of SendCommand are throttled. */
  throttleSends: number;
  /** The next so many commands are taken, but the answer never arrives. */
  loseSendAnswers: number;
  /** So many calls of GetCommandInvocation and ListCommandInvocations do not know the invocation yet. */
  invocationsNotThereYet: number;
}

type Operation = (
  context: SsmContext,
  input: ServiceCall['input'],
  caller: Principal,
) => Record<string, unknown>;

const OPERATIONS: Readonly<Record<string, Operation>> = {
  SendCommand: sendCommand,
  GetCommandInvocation: getCommandInvocation,
  ListCommands: listCommands,
  ListCommandInvocations: listCommandInvocations,
  CancelCommand: cancelCommand,
  DescribeInstanceInformation: describeInstanceInformation,
  GetParameter: getParameter,
  GetParameters: getParameters,
};

export function ssmService(context: SsmContext): Service {
  return async ({ operation, input, caller }) => {
    const run = OPERATIONS[operation];
    if (!run) throw new AwsError('UnknownOperationException', `the local SSM knows no ${operation}`);
    return run(context, input, caller);
  };
}

const sendCommandInput = z.object({
  DocumentName: z.string(),
  DocumentVersion: z.enum(['$DEFAULT', '$LATEST']).default('$DEFAULT'),
  InstanceIds: z.array(z.string()).length(1, 'the local SSM takes one instance for each command'),
  Parameters: z.record(z.string(), z.array(z.string())).default({}),
  Comment: z.string().max(100).default(''),
  TimeoutSeconds: z.int().min(30).max(2_592_000).default(3600),
  CloudWatchOutputConfig: z
    .object({
      CloudWatchLogGroupName: z.string().optional(),
      CloudWatchOutputEnabled: z.boolean().optional(),
    })
    .optional(),
});

function sendCommand(context: SsmContext, raw: unknown, caller: Principal): Record<string, unknown> {
  const input = parse(sendCommandInput, raw);
  const { runCommand, access, arn, faults } = context;
  const [instanceId = ''] = input.InstanceIds;
  const host = runCommand.hosts.find((each) => each.instanceId === instanceId);
  access.check(caller, 'ssm:SendCommand', arn('ssm', `document/${input.DocumentName}`));
  access.check(caller, 'ssm:SendCommand', instanceArn(context, instanceId), tagConditions(host));
  if (takeFault(faults, 'throttleSends')) throw new AwsError('ThrottlingException', 'Rate exceeded');
  const command = runCommand.send({
    documentName: input.DocumentName,
    documentVersion: input.DocumentVersion,
    instanceId,
    parameters: input.Parameters,
    comment: input.Comment,
    timeoutSeconds: input.TimeoutSeconds,
    logGroup: input.CloudWatchOutputConfig?.CloudWatchOutputEnabled
      ? input.CloudWatchOutputConfig.CloudWatchLogGroupName
      : undefined,
  });
  if (takeFault(faults, 'loseSendAnswers'))
    throw new AwsError('InternalServerError', 'the answer was lost', 500);
  return { Command: command.describe() };
}

function getCommandInvocation(context: SsmContext, raw: unknown, caller: Principal): Record<string, unknown> {
  const input = parse(
    z.object({ CommandId: z.string(), InstanceId: z.string(), PluginName: z.string().optional() }),
    raw,
  );
  context.access.check(caller, 'ssm:GetCommandInvocation', context.arn('ssm', '*'));
  const command = context.runCommand.find(input.CommandId);
  const isKnown = command?.request.instanceId === input.InstanceId;
  if (!isKnown || takeFault(context.faults, 'invocationsNotThereYet'))
    throw new AwsError('InvocationDoesNotExist', 'An error occurred: the invocation does not exist');
  const description = command.describeOutput(input.PluginName);
  if (description) return description;
  // AWS has no words for it either, whether the step never ran or was not named (https://github.com/boto/boto3/issues/1811).
  throw new AwsError('InvalidPluginName', '');
}

const listInput = z.object({
  CommandId: z.string().optional(),
  InstanceId: z.string().optional(),
  Filters: z.array(z.object({ key: z.string(), value: z.string() })).default([]),
  Details: z.boolean().default(false),
  MaxResults: z.int().min(1).max(50).default(50),
  NextToken: z.string().optional(),
});

function listCommands(context: SsmContext, raw: unknown, caller: Principal): Record<string, unknown> {
  const input = parse(listInput, raw);
  context.access.check(caller, 'ssm:ListCommands', context.arn('ssm', '*'));
  const { items, NextToken } = page(select(context, input), input);
  return { Commands: items.map((command) => command.describe()), NextToken };
}

function listCommandInvocations(
  context: SsmContext,
  raw: unknown,
  caller: Principal,
): Record<string, unknown> {
  const input = parse(listInput, raw);
  context.access.check(caller, 'ssm:ListCommandInvocations', context.arn('ssm', '*'));
  if (input.CommandId !== undefined && !context.runCommand.find(input.CommandId))
    throw new AwsError('InvalidCommandId', `there is no command ${input.CommandId}`);
  if (takeFault(context.faults, 'invocationsNotThereYet')) return { CommandInvocations: [] };
  const { items, NextToken } = page(select(context, input), input);
  return { CommandInvocations: items.map((command) => command.describeInvocation(input.Details)), NextToken };
}

/** Newest first. */
function select({ runCommand }: SsmContext, input: z.infer<typeof listInput>): Command[] {
  return runCommand.commands
    .toReversed()
    .filter(
      (command) =>
        (input.CommandId === undefined || command.id === input.CommandId) &&
        (input.InstanceId === undefined || command.request.instanceId === input.InstanceId) &&
        input.Filters.every(({ key, value }) => meetsFilter(command, key, value)),
    );
}

function meetsFilter(command: Command, key: string, value: string): boolean {
  switch (key) {
    case 'InvokedAfter':
      return command.requestedAt >= new Date(value);
    case 'InvokedBefore':
      return command.requestedAt < new Date(value);
    case 'Status':
      return command.status === value;
    case 'DocumentName':
      return command.request.documentName === value;
    default:
      throw new AwsError('InvalidFilterKey', `${key} is no filter of commands`);
  }
}

function page<T>(
  all: readonly T[],
  { MaxResults, NextToken }: { MaxResults: number; NextToken?: string | undefined },
): {
  items: readonly T[];
  NextToken: string | undefined;
} {
  const from = Number(NextToken ?? 0);
  const to = from + MaxResults;
  return { items: all.slice(from, to), NextToken: to < all.length ? String(to) : undefined };
}

function cancelCommand(context: SsmContext, raw: unknown, caller: Principal): Record<string, unknown> {
  const { CommandId } = parse(z.object({ CommandId: z.string() }), raw);
  context.access.check(caller, 'ssm:CancelCommand', context.arn('ssm', '*'));
  const command = context.runCommand.find(CommandId);
  if (!command) throw new AwsError('InvalidCommandId', `there is no command ${CommandId}`);
  context.runCommand.cancel(command);
  return {};
}

const describeInput = z.object({
  Filters: z.array(z.object({ Key: z.string(), Values: z.array(z.string()) })).default([]),
  MaxResults: z.int().min(5).max(50).default(50),
  NextToken: z.string().optional(),
});

function describeInstanceInformation(
  context: SsmContext,
  raw: unknown,
  caller: Principal,
): Record<string, unknown> {
  const input = parse(describeInput, raw);
  context.access.check(caller, 'ssm:DescribeInstanceInformation', context.arn('ssm', '*'));
  const hosts = context.runCommand.hosts.filter(
    (host) =>
      host.isManaged &&
      input.Filters.every(({ Key, Values }) => Values.includes(filterValue(host, Key) ?? '')),
  );
  const { items, NextToken } = page(hosts, input);
  return { InstanceInformationList: items.map((host) => describeHost(host)), NextToken };
}

function filterValue(host: ManagedHost, key: string): string | undefined {
  if (key.startsWith('tag:')) return host.tags[key.slice('tag:'.length)];
  if (key === 'InstanceIds') return host.instanceId;
  if (key === 'PingStatus') return host.isUp ? 'Online' : 'ConnectionLost';
  throw new AwsError('InvalidInstanceInformationFilterValue', `${key} is no filter of instances`);
}

const describeHost = ({ instanceId, isUp }: ManagedHost): Record<string, unknown> => ({
  InstanceId: instanceId,
  PingStatus: isUp ? 'Online' : 'ConnectionLost',
  LastPingDateTime: Date.now() / 1000,
  AgentVersion: '3.3.0.0',
  IsLatestVersion: true,
  PlatformType: 'Linux',
  PlatformName: 'Debian GNU/Linux',
  PlatformVersion: '12',
  ResourceType: instanceId.startsWith('mi-') ? 'ManagedInstance' : 'EC2Instance',
});

function instanceArn({ arn }: SsmContext, id: string): string {
  return id.startsWith('mi-') ? arn('ssm', `managed-instance/${id}`) : arn('ec2', `instance/${id}`);
}

const tagConditions = (host: ManagedHost | undefined): Record<string, string> =>
  Object.fromEntries(
    Object.entries(host?.tags ?? {}).flatMap(([key, value]) => [
      [`ssm:resourceTag/${key}`, value],
      [`aws:ResourceTag/${key}`, value],
    ]),
  );

function takeFault(faults: SsmFaults, name: keyof SsmFaults): boolean {
  if (faults[name] <= 0) return false;
  faults[name] -= 1;
  return true;
}

function parse<T>(schema: z.ZodType<T>, input: unknown): T {
  const parsed = schema.safeParse(input);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
  throw new AwsError('ValidationException', problems.join('; '));
}
