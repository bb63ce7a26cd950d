import path from 'node:path';
import type { DeployedResource } from '../cloudformation/deployed-stacks.ts';
import { CloudWatch } from '../cloudwatch/cloudwatch.ts';
import { ec2Service } from '../ec2/service.ts';
import { EventBus } from '../eventbridge/event-bus.ts';
import { Scheduler } from '../eventbridge/scheduler.ts';
import { Endpoint } from '../http/endpoint.ts';
import type { InvocationRecord, LambdaFunction } from '../lambda/lambda-function.ts';
import { secretsService } from '../secretsmanager/service.ts';
import { snsService } from '../sns/service.ts';
import type { Mail, Topic } from '../sns/topic.ts';
import { Queue } from '../sqs/queue.ts';
import { parseDocument } from '../ssm/document.ts';
import { ParameterStore } from '../ssm/parameter-store.ts';
import { RunCommand } from '../ssm/run-command.ts';
import { ssmService, type SsmFaults } from '../ssm/service.ts';
import { alarmActions } from './alarm-actions.ts';
import { connectEventSources } from './event-sources.ts';
import { makeFunctions } from './functions.ts';
import { arnIn, type Ground } from './ground.ts';
import { connectHosts, endpointsOf } from './hosts.ts';
import type { Tell } from './options.ts';
import { makeRules, makeSchedules } from './rules.ts';
import { makeTopics } from './topics.ts';
import { Work } from './work.ts';

/** Everything that runs, for the object that tests and the demo talk to. */
export interface Deployment extends Omit<Ground, 'options' | 'files'> {
  readonly endpoint: Endpoint;
  readonly work: Work;
  readonly functions: readonly LambdaFunction[];
  readonly invocations: readonly InvocationRecord[];
  readonly queues: readonly Queue[];
  readonly topics: ReadonlyMap<string, Topic>;
  readonly mails: readonly Mail[];
  readonly events: EventBus;
  readonly scheduler: Scheduler;
  readonly cloudWatch: CloudWatch;
  readonly runCommand: RunCommand;
  readonly ssmFaults: SsmFaults;
}

const RETRY_DELAY_MS = 50;

/** Makes of the templates’ resources what runs. */
export async function deploy(ground: Ground): Promise<Deployment> {
  const { account, resources, principals, access, s3 } = ground;
  const work = new Work();
  const { follow } = work;
  const topics = new Map<string, Topic>();
  const cloudWatch = new CloudWatch({ ...account, act: alarmActions(topics, access, account) });
  const { metrics } = cloudWatch;
  const events = new EventBus({ ...account, access, metrics, follow, tell: tellOf(ground) });
  const scheduler = new Scheduler(access, follow);
  const runCommand = makeRunCommand(ground, events, work);
  const ssmFaults: SsmFaults = { throttleSends: 0, loseSendAnswers: 0, invocationsNotThereYet: 0 };
  const endpoint = await startEndpoint(ground, { runCommand, topics, faults: ssmFaults });
  connectHosts(ground, runCommand, endpoint);
  const queues = ofType(resources, 'AWS::SQS::Queue').map(
    ({ arn }) => new Queue(arn.split(':').at(-1) ?? '', arn),
  );
  const invocations: InvocationRecord[] = [];
  const functions = await connectFunctions(ground, { endpoint, queues, work, cloudWatch, invocations });
  const retryDelayMilliseconds = ground.options.retryDelayMilliseconds ?? RETRY_DELAY_MS;
  const reading = {
    functions,
    queues,
    access,
    principalOf: principals.ofRole,
    retryDelayMilliseconds,
    follow,
  };
  connectEventSources(resources, reading);
  events.rules.push(...makeRules(resources, { functions, queues }));
  scheduler.schedules.push(...makeSchedules(resources, { functions, queues }, principals.ofRole));
  const mails: Mail[] = [];
  const deliverMail = (mail: Mail): void => {
    mails.push(mail);
    tellOf(ground)('e-mail', `to ${mail.to}: ${mail.subject}`);
  };
  for (const topic of makeTopics(resources, { queues, access, metrics, deliverMail, follow }))
    topics.set(topic.arn, topic);
  for (const { logicalId, ref, arn, properties } of ofType(resources, 'AWS::CloudWatch::Alarm'))
    cloudWatch.addAlarm({ logicalId, name: ref, arn }, properties);
  const running = { endpoint, work, functions, invocations, queues, topics, mails, events };
  return {
    account,
    resources,
    principals,
    access,
    s3,
    ...running,
    scheduler,
    cloudWatch,
    runCommand,
    ssmFaults,
  };
}

function makeRunCommand(ground: Ground, events: EventBus, work: Work): RunCommand {
  const documents = ofType(ground.resources, 'AWS::SSM::Document').map(({ ref, properties }) => {
    const document = parseDocument(properties['Content']);
    return [ref, { $DEFAULT: document, $LATEST: document }] as const;
  });
  return new RunCommand({
    documents: new Map(documents),
    tell: tellOf(ground),
    emit: (event) => events.emit(event),
    follow: work.follow,
  });
}

async function startEndpoint(
  ground: Ground,
  parts: { runCommand: RunCommand; topics: ReadonlyMap<string, Topic>; faults: SsmFaults },
): Promise<Endpoint> {
  const { account, principals, access, options } = ground;
  const { runCommand, topics, faults } = parts;
  const parameters = storeParameters(ground);
  return await Endpoint.start({
    region: account.region,
    principals: [principals.operator, ...principals.roles],
    access,
    services: {
      ec2: ec2Service(() => runCommand.hosts, access),
      ssm: ssmService({ runCommand, parameters, access, faults, arn: arnIn(account) }),
      sns: snsService(topics, access),
      secretsmanager: secretsService(options.secrets ?? {}, access),
      sts: async ({ caller }) => ({ Arn: caller.arn, Account: account.accountId, UserId: caller.id }),
    },
  });
}

function storeParameters({ options, resources }: Ground): ParameterStore {
  const store = new ParameterStore();
  for (const { key, ...parameter } of options.parameters ?? []) {
    const found = ofType(resources, 'AWS::KMS::Key').find(({ logicalId }) => key && logicalId.includes(key));
    store.put({ ...parameter, ...(found && { keyArn: found.arn }) });
  }
  return store;
}

async function connectFunctions(
  { account, resources, principals, access, s3, options, files }: Ground,
  parts: Pick<Deployment, 'endpoint' | 'queues' | 'work' | 'cloudWatch'> & {
    invocations: InvocationRecord[];
  },
): Promise<LambdaFunction[]> {
  const { endpoint, queues, work, cloudWatch, invocations } = parts;
  const tell = options.tell ?? ((): void => undefined);
  return await makeFunctions(resources, {
    files,
    folder: path.join(options.folder, 'functions'),
    region: account.region,
    principalOf: principals.ofRole,
    environment: { ...endpointsOf(s3, endpoint), ...options.functionEnvironment },
    queues,
    connect: (principal, logGroup) => ({
      metrics: cloudWatch.metrics,
      retryDelayMilliseconds: options.retryDelayMilliseconds ?? RETRY_DELAY_MS,
      check: (action, resource) => access.check(principal, action, resource),
      logGroupArn: arnIn(account)('logs', `log-group:${logGroup}:log-stream:local`),
      onInvocation: (record) => {
        invocations.push(record);
        const { functionId, milliseconds, outcome } = record;
        const how = outcome.ok ? `answered in ${milliseconds} ms` : `failed: ${outcome.error.errorMessage}`;
        tell(functionId, how);
      },
      onDefect: (defect) => work.defects.push(defect),
    }),
  });
}

const ofType = (resources: readonly DeployedResource[], type: string): DeployedResource[] =>
  resources.filter((each) => each.type === type);

const tellOf = ({ options }: Ground): Tell => options.tell ?? ((): void => undefined);
