import type { AwsEvent } from '../eventbridge/event.ts';
import { eventTime } from '../eventbridge/event.ts';
import { AwsError } from '../http/aws-error.ts';
import { Command, type StatusDetails } from './command.ts';
import { findWrongParameters, type CommandDocument, type ParameterValues } from './document.ts';
import type { ManagedHost } from './managed-host.ts';

type EmittedEvent = Pick<AwsEvent, 'source' | 'detail-type' | 'detail' | 'resources'>;

/** Of a document as SSM keeps it: a new version need not be the default one. */
interface DocumentVersions {
  readonly $DEFAULT: CommandDocument;
  readonly $LATEST: CommandDocument;
}

type DocumentVersion = keyof DocumentVersions;

interface RunCommandOptions {
  readonly documents: ReadonlyMap<string, DocumentVersions>;
  readonly tell: (who: string, what: string) => void;
  /** To EventBridge. */
  readonly emit: (event: EmittedEvent) => void;
  /** Whatever runs on after the call was answered. */
  readonly follow: (work: Promise<void>) => void;
}

export interface NewCommand {
  readonly documentName: string;
  readonly documentVersion: DocumentVersion;
  readonly instanceId: string;
  readonly parameters: ParameterValues;
  readonly comment: string;
  readonly timeoutSeconds: number;
  readonly logGroup: string | undefined;
}

const DETAILS_OF_DOCUMENT = {
  Success: 'Success',
  Failed: 'Failed',
  TimedOut: 'ExecutionTimedOut',
  Cancelled: 'Cancelled',
} as const;

/** Commands and their delivery to the hosts. */
export class RunCommand {
  readonly commands: Command[] = [];
  readonly #options: RunCommandOptions;
  readonly #hosts = new Map<string, ManagedHost>();

  constructor(options: RunCommandOptions) {
    this.#options = options;
  }

  get hosts(): readonly ManagedHost[] {
    return [...this.#hosts.values()];
  }

  addHost(host: ManagedHost): void {
    this.#hosts.set(host.instanceId, host);
  }

  /** @throws AwsError InvalidDocument, InvalidInstanceId, InvalidParameters */
  send(request: NewCommand): Command {
    const document = this.#document(request);
    const host = this.#hosts.get(request.instanceId);
    if (host?.isManaged !== true)
      throw new AwsError(
        'InvalidInstanceId',
        `Instances [[${request.instanceId}]] not in a valid state for account`,
      );
    const problems = findWrongParameters(document, request.parameters);
    if (problems.length > 0) throw new AwsError('InvalidParameters', problems.join('; '));
    const command = new Command({ ...request, stepNames: document.mainSteps.map(({ name }) => name) });
    this.commands.push(command);
    this.#change(command, 'Pending');
    this.#options.follow(this.#deliver(command, document, host));
    return command;
  }

  #document({ documentName, documentVersion }: NewCommand): CommandDocument {
    const versions = this.#options.documents.get(documentName);
    if (versions) return versions[documentVersion];
    throw new AwsError('InvalidDocument', `Document with name ${documentName} does not exist.`);
  }

  find(commandId: string): Command | undefined {
    return this.commands.find(({ id }) => id === commandId);
  }

  cancel(command: Command): void {
    if (command.hasEnded) return;
    command.cancellation.abort();
    const host = this.#hosts.get(command.request.instanceId);
    if (host?.isUp !== true) this.#change(command, 'Cancelled');
  }

  /** What nobody took ends now, as it does when its time for delivery is over. */
  expireDeliveries(details: StatusDetails = 'DeliveryTimedOut'): void {
    for (const command of this.commands) {
      const host = this.#hosts.get(command.request.instanceId);
      if (!command.hasEnded && host?.isUp !== true) this.#change(command, details);
    }
  }

  async #deliver(command: Command, document: CommandDocument, host: ManagedHost): Promise<void> {
    // SSM says so before the host has it: a host that is away looks exactly like one that is at work.
    this.#change(command, 'InProgress');
    if (!host.isUp) return;
    const status = await host.run(document, command);
    if (command.hasEnded) return;
    this.#change(command, DETAILS_OF_DOCUMENT[status]);
  }

  #change(command: Command, details: StatusDetails): void {
    command.change(details);
    this.#options.tell('SSM', `${command.request.comment} on ${command.request.instanceId}: ${details}`);
    const { documentName, instanceId, parameters, timeoutSeconds } = command.request;
    const common = {
      'command-id': command.id,
      'document-name': documentName,
      'requested-date-time': eventTime(command.requestedAt),
      status: command.status,
    };
    this.#options.emit({
      source: 'aws.ssm',
      'detail-type': 'EC2 Command Invocation Status-change Notification',
      detail: { ...common, 'instance-id': instanceId },
      resources: [],
    });
    this.#options.emit({
      source: 'aws.ssm',
      'detail-type': 'EC2 Command Status-change Notification',
      detail: {
        ...common,
        'expire-after': eventTime(new Date(command.requestedAt.getTime() + timeoutSeconds * 1000)),
        parameters,
      },
      resources: [],
    });
  }
}
