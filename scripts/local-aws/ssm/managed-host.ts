import { chmod, mkdir } from 'node:fs/promises';
import path from 'node:path';
import type { Principal } from '../access/principal.ts';
import { AwsError } from '../http/aws-error.ts';
import type { Command } from './command.ts';
import { findAgentRefusal, type CommandDocument } from './document.ts';
import { runDocument, type DocumentStatus } from './run-document.ts';
import type { ObjectSource, StepContext } from './step.ts';

export interface HostSpecification {
  /** `i-…` or `mi-…` */
  readonly instanceId: string;
  readonly tags?: Readonly<Record<string, string>>;
  /** What the agent's service has in its environment besides what every service has. */
  readonly environment?: Readonly<Record<string, string>>;
  /** A program and its arguments that start each script: what makes of this machine one with other files. */
  readonly through?: readonly string[];
}

interface Surroundings {
  /** The host's own files: the agent's data lies in it. */
  readonly folder: string;
  readonly region: string;
  readonly principal: Principal;
  readonly objects: ObjectSource;
  /** Where the host finds AWS. */
  readonly endpoints: Readonly<Record<string, string>>;
  /** To CloudWatch Logs, with the host’s credentials. @throws AwsError */
  readonly writeLog: (group: string) => void;
}

/** systemd's, which the agent's service runs with; HOME, USER and LOGNAME are not set. */
const SERVICE_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** This machine, as a host with an SSM agent. */
export class ManagedHost {
  readonly instanceId: string;
  readonly tags: Readonly<Record<string, string>>;
  readonly principal: Principal;
  /** A host that is down, or has lost its network, takes no command; SSM goes on waiting. */
  isUp = true;
  /** Whether its agent has ever registered with SSM: without an instance profile it cannot. */
  hasProfile = true;
  /** EC2's. Only a running instance is known to SSM. */
  state: 'pending' | 'running' | 'stopping' | 'stopped' | 'terminated' = 'running';
  readonly #specification: HostSpecification;
  readonly #surroundings: Surroundings;

  constructor(specification: HostSpecification, surroundings: Surroundings) {
    this.instanceId = specification.instanceId;
    this.tags = specification.tags ?? {};
    this.principal = surroundings.principal;
    this.#specification = specification;
    this.#surroundings = surroundings;
  }

  get isManaged(): boolean {
    return this.hasProfile && this.state === 'running';
  }

  /** Executes the document's steps and says how it ended; the command is told of every step. */
  async run(document: CommandDocument, command: Command): Promise<DocumentStatus> {
    const { parameters } = command.request;
    const refusal = findAgentRefusal(document, parameters);
    if (refusal !== undefined) {
      const now = new Date();
      const names = document.mainSteps.map(({ name }) => name);
      command.note([
        {
          name: names[0] ?? '',
          status: 'Failed',
          code: 1,
          stdout: '',
          stderr: refusal,
          skipsRest: true,
          startedAt: now,
          finishedAt: now,
        },
      ]);
      return 'Failed';
    }
    const orchestration = await this.#makeFolder(command);
    const contextOf = (stepName: string): StepContext => ({
      stepName,
      orchestrationFolder: orchestration,
      downloadsFolder: path.join(orchestration, 'downloads'),
      environment: this.#environment(command),
      through: this.#specification.through ?? [],
      cancelled: command.cancellation.signal,
      objects: this.#surroundings.objects,
    });
    const { status } = await runDocument(document, parameters, contextOf, (steps) => command.note(steps));
    if (command.request.logGroup !== undefined) this.#writeLog(command.request.logGroup);
    return status;
  }

  /** A log that cannot be written changes nothing about the command; that it was denied is recorded. */
  #writeLog(group: string): void {
    try {
      this.#surroundings.writeLog(group);
    } catch (error) {
      if (!(error instanceof AwsError)) throw error;
    }
  }

  async #makeFolder(command: Command): Promise<string> {
    const folder = path.join(
      this.#surroundings.folder,
      'var/lib/amazon/ssm',
      this.instanceId,
      'document/orchestration',
      command.id,
    );
    await mkdir(folder, { recursive: true });
    await chmod(folder, 0o700);
    return folder;
  }

  #environment(command: Command): Record<string, string> {
    const { region, principal, endpoints } = this.#surroundings;
    const { accessKeyId, secretAccessKey, sessionToken } = principal.credentials;
    return {
      PATH: SERVICE_PATH,
      LANG: 'C.UTF-8',
      ...endpoints,
      // A real host gets these from its instance profile; here they stand in the agent's environment.
      AWS_ACCESS_KEY_ID: accessKeyId,
      AWS_SECRET_ACCESS_KEY: secretAccessKey,
      AWS_SESSION_TOKEN: sessionToken,
      ...this.#specification.environment,
      AWS_SSM_INSTANCE_ID: this.instanceId,
      AWS_SSM_REGION_NAME: region,
      AWS_SSM_PLATFORM_NAME: 'Debian GNU/Linux',
      AWS_SSM_PLATFORM_VERSION: '12',
      SSM_COMMAND_ID: command.id,
    };
  }
}
