import type { RecordedCall } from './access/access-control.ts';
import type { Principal } from './access/principal.ts';
import type { DeployedResource } from './cloudformation/deployed-stacks.ts';
import type { AlarmView } from './cloudwatch/cloudwatch.ts';
import type { DataPoint } from './cloudwatch/metric-store.ts';
import type { EventBus } from './eventbridge/event-bus.ts';
import type { InvocationRecord, LambdaFunction } from './lambda/lambda-function.ts';
import type { Outcome } from './lambda/function-process.ts';
import type { LocalS3 } from './s3/server.ts';
import type { Mail, PublishedMessage } from './sns/topic.ts';
import type { Queue } from './sqs/queue.ts';
import type { Command, StatusDetails } from './ssm/command.ts';
import type { ManagedHost } from './ssm/managed-host.ts';
import type { SsmFaults } from './ssm/service.ts';
import type { Deployment } from './deployment/deploy.ts';

/** A deployment that runs on this machine, for tests and the demo: to set it going, to break it, and to look at it. */
export class LocalAws {
  readonly #deployment: Deployment;

  constructor(deployment: Deployment) {
    this.#deployment = deployment;
  }

  get s3(): LocalS3 {
    return this.#deployment.s3;
  }

  /** What the templates hold. */
  get resources(): readonly DeployedResource[] {
    return this.#deployment.resources;
  }

  /** To lose, repeat, hold and reorder events. */
  get events(): EventBus {
    return this.#deployment.events;
  }

  get ssmFaults(): SsmFaults {
    return this.#deployment.ssmFaults;
  }

  /** Whose keys may do everything. */
  get operator(): Principal {
    return this.#deployment.principals.operator;
  }

  get hostPrincipal(): Principal {
    return this.#deployment.principals.host;
  }

  /** Every service but S3. */
  get endpoint(): string {
    return this.#deployment.endpoint.url;
  }

  /** Of the one resource of that type whose logical id contains `part`: what `Ref` gives. */
  ref(type: string, part: string): string {
    const found = this.#deployment.resources.filter(
      (each) => each.type === type && each.logicalId.includes(part),
    );
    if (found.length === 1 && found[0]) return found[0].ref;
    throw new Error(`${found.length} resources of ${type} are called …${part}…`);
  }

  host(instanceId: string): ManagedHost {
    const found = this.#deployment.runCommand.hosts.find((host) => host.instanceId === instanceId);
    if (found) return found;
    throw new Error(`there is no host ${instanceId}`);
  }

  /** @param part of the logical id, such as `StartRun`; one function’s alone */
  function(part: string): LambdaFunction {
    const found = this.#deployment.functions.filter((each) => each.label.includes(part));
    if (found.length === 1 && found[0]) return found[0];
    throw new Error(`${found.length} functions are called …${part}…`);
  }

  /** As a person would, waiting for the answer; an error of the function is an answer. */
  async invoke(part: string, payload: unknown): Promise<Outcome> {
    return await this.function(part).invoke(payload);
  }

  /**
   * The time has come for a rule or a schedule. Returns at once: see `waitForIdle`.
   * @param part of its logical id
   * @throws Error when it does not fire at that time
   */
  fireSchedule(part: string, time: Date): void {
    const { events, scheduler } = this.#deployment;
    const rules = events.rules.filter((rule) => rule.schedule !== undefined && rule.logicalId.includes(part));
    const schedules = scheduler.schedules.filter(({ logicalId }) => logicalId.includes(part));
    if (rules.length + schedules.length !== 1)
      throw new Error(`${rules.length + schedules.length} schedules are called …${part}…`);
    for (const rule of rules) events.fire(rule, time);
    for (const schedule of schedules) scheduler.fire(schedule, time);
  }

  /**
   * Until every command, event, message and invocation has come to its end. Commands for a host that is down go on.
   * @throws Error when the local AWS itself went wrong meanwhile
   */
  async waitForIdle(): Promise<void> {
    const { work } = this.#deployment;
    await work.untilIdle();
    if (work.defects.length > 0) throw new Error(work.defects.splice(0).join('\n'));
  }

  commands(): readonly Command[] {
    return this.#deployment.runCommand.commands;
  }

  /** SIGKILL to the command’s processes, without a warning. */
  cancel(commandId: string): void {
    const { runCommand } = this.#deployment;
    const command = runCommand.find(commandId);
    if (!command) throw new Error(`there is no command ${commandId}`);
    runCommand.cancel(command);
  }

  /** What no host took ends now, as if its time for delivery were over. */
  expireDeliveries(details?: StatusDetails): void {
    this.#deployment.runCommand.expireDeliveries(details);
  }

  /** What was published to the topics, oldest first. */
  messages(): PublishedMessage[] {
    return [...this.#deployment.topics.values()].flatMap((topic) => topic.messages);
  }

  mails(): readonly Mail[] {
    return this.#deployment.mails;
  }

  metrics(name?: string): DataPoint[] {
    return this.#deployment.cloudWatch.metrics.points.filter(
      (point) => name === undefined || point.name === name,
    );
  }

  alarms(): AlarmView[] {
    return this.#deployment.cloudWatch.alarms();
  }

  /** Looks at every alarm; the actions of those that changed are taken. */
  evaluateAlarms(now: Date): AlarmView[] {
    const { queues, cloudWatch } = this.#deployment;
    for (const { name, messages } of queues)
      cloudWatch.metrics.put({
        namespace: 'AWS/SQS',
        name: 'ApproximateNumberOfMessagesVisible',
        dimensions: { QueueName: name },
        unit: 'Count',
        value: messages.length,
        time: now,
      });
    return cloudWatch.evaluate(now);
  }

  queues(): readonly Queue[] {
    return this.#deployment.queues;
  }

  invocations(): readonly InvocationRecord[] {
    return this.#deployment.invocations;
  }

  /** Every action of every role and service on our behalf, in order. */
  recordedCalls(): readonly RecordedCall[] {
    return this.#deployment.access.calls;
  }

  /** Everything is stopped; the folder stays. */
  async close(): Promise<void> {
    const { runCommand, functions, endpoint, s3 } = this.#deployment;
    for (const command of runCommand.commands) runCommand.cancel(command);
    await this.#deployment.work.untilIdle();
    for (const each of functions) each.close();
    await endpoint.close();
    await s3.close();
  }
}
