import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { DOCUMENT_STEP } from '../../lib/domain/names.ts';

/** SSM's JSON protocol, with only what the Lambdas ask for; tests say what it knows and how it fails. */
interface SentCommand {
  readonly id: string;
  readonly instanceId: string;
  readonly document: string;
  readonly documentVersion: string;
  readonly comment: string;
  readonly parameters: Readonly<Record<string, string[]>>;
  readonly timeoutSeconds: number;
  readonly logGroup: string | undefined;
  readonly sentAt: Date;
  statusDetails: string;
  stdout: string;
}

export interface SsmServer {
  readonly endpoint: string;
  readonly commands: SentCommand[];
  /** Operations in the order in which they were asked for. */
  readonly calls: string[];
  /** By `key=value`: the instances that carry the tag. */
  readonly tagged: Map<string, string[]>;
  /** Instances that SSM takes no command for. */
  readonly unmanaged: Set<string>;
  readonly parameters: Map<string, string>;
  /** Errors for the next calls of an operation; `lost`: done, and the connection cut before the answer. */
  readonly faults: Map<string, ('lost' | { readonly status: number; readonly name: string })[]>;
  addCommand(command: Partial<SentCommand> & { instanceId: string; comment: string }): SentCommand;
  close(): Promise<void>;
}

type Answer = Record<string, unknown>;

class AwsAnswer extends Error {
  readonly status: number;
  constructor(name: string, message: string, status = 400) {
    super(message);
    this.name = name;
    this.status = status;
  }
}

export async function startSsm(now: () => Date): Promise<SsmServer> {
  const commands: SentCommand[] = [];
  const known = {
    commands,
    calls: [] as string[],
    tagged: new Map<string, string[]>(),
    unmanaged: new Set<string>(),
    parameters: new Map<string, string>(),
    faults: new Map<string, ('lost' | { status: number; name: string })[]>(),
  };
  const addCommand: SsmServer['addCommand'] = (command) => {
    const whole: SentCommand = {
      id: randomUUID(),
      document: 'Backup',
      documentVersion: '$DEFAULT',
      parameters: {},
      timeoutSeconds: 3600,
      logGroup: undefined,
      sentAt: now(),
      statusDetails: 'Pending',
      stdout: '',
      ...command,
    };
    commands.push(whole);
    return whole;
  };
  const operations: Record<string, (input: never) => Answer> = {
    SendCommand: (input) => sendCommand(known.unmanaged, addCommand, input),
    ListCommands: (input) => listCommands(commands, input),
    ListCommandInvocations: (input) => listInvocations(commands, input),
    GetCommandInvocation: (input) => getInvocation(commands, input),
    DescribeInstanceInformation: (input) => describeInstances(known.tagged, input),
    GetParameter: (input) => getParameter(known.parameters, input),
  };
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const operation = String(request.headers['x-amz-target']).split('.')[1] ?? '';
      known.calls.push(operation);
      const fault = known.faults.get(operation)?.shift();
      const answer = (status: number, body: Answer): void => {
        response.writeHead(status, { 'content-type': 'application/x-amz-json-1.1' });
        response.end(JSON.stringify(body));
      };
      try {
        if (fault && fault !== 'lost')
          throw new AwsAnswer(fault.name, `${fault.name} on demand`, fault.status);
        const body = operations[operation]!(JSON.parse(Buffer.concat(chunks).toString('utf8')) as never);
        if (fault === 'lost') response.destroy();
        else answer(200, body);
      } catch (error) {
        const { name, message, status } = error as Error & { status?: number };
        answer(status ?? 500, { __type: name, message });
      }
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  return {
    ...known,
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    addCommand,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function sendCommand(
  unmanaged: ReadonlySet<string>,
  add: SsmServer['addCommand'],
  input: {
    DocumentName: string;
    DocumentVersion?: string;
    InstanceIds: string[];
    Parameters: Record<string, string[]>;
    Comment: string;
    TimeoutSeconds: number;
    CloudWatchOutputConfig?: { CloudWatchLogGroupName: string };
  },
): Answer {
  const instanceId = input.InstanceIds[0]!;
  if (unmanaged.has(instanceId))
    throw new AwsAnswer('InvalidInstanceId', `Instances [[${instanceId}]] not in a valid state for account`);
  const { id } = add({
    instanceId,
    comment: input.Comment,
    document: input.DocumentName,
    ...(input.DocumentVersion !== undefined && { documentVersion: input.DocumentVersion }),
    parameters: input.Parameters,
    timeoutSeconds: input.TimeoutSeconds,
    logGroup: input.CloudWatchOutputConfig?.CloudWatchLogGroupName,
  });
  return { Command: { CommandId: id } };
}

const PAGE = 2;

/** Pages of two, so that whoever reads only the first is found out. */
function pageOf<Item>(items: readonly Item[], token: string | undefined): { page: Item[]; next: Answer } {
  const from = Number(token ?? 0);
  const next = from + PAGE < items.length ? { NextToken: String(from + PAGE) } : {};
  return { page: items.slice(from, from + PAGE), next };
}

function listCommands(
  commands: readonly SentCommand[],
  input: { InstanceId?: string; NextToken?: string; Filters?: { key: string; value: string }[] },
): Answer {
  const filter = (key: string): string | undefined => input.Filters?.find((each) => each.key === key)?.value;
  const after = new Date(filter('InvokedAfter') ?? 0);
  const document = filter('DocumentName');
  const found = commands.filter(
    (each) =>
      (input.InstanceId === undefined || each.instanceId === input.InstanceId) &&
      each.sentAt >= after &&
      (document === undefined || each.document === document),
  );
  const { page, next } = pageOf(found, input.NextToken);
  const Commands = page.map((each) => ({
    CommandId: each.id,
    Comment: each.comment,
    RequestedDateTime: each.sentAt.getTime() / 1000,
  }));
  return { Commands, ...next };
}

function listInvocations(
  commands: readonly SentCommand[],
  input: { CommandId: string; NextToken?: string },
): Answer {
  const { page, next } = pageOf(
    commands.filter(({ id }) => id === input.CommandId),
    input.NextToken,
  );
  const CommandInvocations = page.map((each) => ({
    CommandId: each.id,
    InstanceId: each.instanceId,
    Comment: each.comment,
    DocumentName: each.document,
    Status: each.statusDetails.replace(/^(Delivery|Execution)/, ''),
    StatusDetails: each.statusDetails,
  }));
  return { CommandInvocations, ...next };
}

/** Both documents have several steps: it is about one of them, and has to be told which. */
function getInvocation(
  commands: readonly SentCommand[],
  input: { CommandId: string; InstanceId: string; PluginName?: string },
): Answer {
  const found = commands.find(
    ({ id, instanceId }) => id === input.CommandId && instanceId === input.InstanceId,
  );
  if (!found) throw new AwsAnswer('InvocationDoesNotExist', '');
  if (input.PluginName !== DOCUMENT_STEP || found.stdout === '') throw new AwsAnswer('InvalidPluginName', '');
  return {
    CommandId: found.id,
    InstanceId: found.instanceId,
    PluginName: input.PluginName,
    // The step's, not the invocation's.
    Status: 'Success',
    StatusDetails: 'Success',
    StandardOutputContent: found.stdout,
  };
}

function describeInstances(
  tagged: ReadonlyMap<string, string[]>,
  input: { Filters: { Key: string; Values: string[] }[]; NextToken?: string },
): Answer {
  const [filter] = input.Filters;
  const ids = tagged.get(`${filter!.Key.replace(/^tag:/, '')}=${filter!.Values[0]}`) ?? [];
  const { page, next } = pageOf(ids, input.NextToken);
  const list = page.map((InstanceId, index) => ({
    InstanceId,
    PingStatus: index % 2 === 0 ? 'Online' : 'ConnectionLost',
  }));
  return { InstanceInformationList: list, ...next };
}

function getParameter(
  parameters: ReadonlyMap<string, string>,
  input: { Name: string; WithDecryption?: boolean },
): Answer {
  const value = parameters.get(input.Name);
  if (value === undefined) throw new AwsAnswer('ParameterNotFound', '');
  return { Parameter: { Name: input.Name, Value: input.WithDecryption ? value : 'AQICAH…' } };
}
