import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  CancelCommandCommand,
  DescribeInstanceInformationCommand,
  GetCommandInvocationCommand,
  GetParameterCommand,
  ListCommandInvocationsCommand,
  ListCommandsCommand,
  SendCommandCommand,
  SSMClient,
} from '@aws-sdk/client-ssm';
import { PublishCommand, SNSClient } from '@aws-sdk/client-sns';
import { systemClock } from '../../../lambda/clock.ts';
import { openInstances, type Instances } from '../../../lambda/instances.ts';
import { AccessControl, type AccessQuestion } from '../../../scripts/local-aws/access/access-control.ts';
import { makePrincipal } from '../../../scripts/local-aws/access/principal.ts';
import { MetricStore } from '../../../scripts/local-aws/cloudwatch/metric-store.ts';
import { Work } from '../../../scripts/local-aws/deployment/work.ts';
import { ec2Service } from '../../../scripts/local-aws/ec2/service.ts';
import { Endpoint } from '../../../scripts/local-aws/http/endpoint.ts';
import { snsService } from '../../../scripts/local-aws/sns/service.ts';
import { Topic, type Mail } from '../../../scripts/local-aws/sns/topic.ts';
import { parseDocument } from '../../../scripts/local-aws/ssm/document.ts';
import { ManagedHost } from '../../../scripts/local-aws/ssm/managed-host.ts';
import { ParameterStore } from '../../../scripts/local-aws/ssm/parameter-store.ts';
import { RunCommand } from '../../../scripts/local-aws/ssm/run-command.ts';
import { ssmService } from '../../../scripts/local-aws/ssm/service.ts';

const HOST = 'i-0123456789abcdef0';
const REGION = 'eu-west-1';
const KEY = `arn:aws:kms:${REGION}:111122223333:key/k`;
const TOPIC = `arn:aws:sns:${REGION}:111122223333:messages`;
const arn = (service: string, resource: string): string =>
  `arn:aws:${service}:${REGION}:111122223333:${resource}`;

const greeting = (word: string) =>
  parseDocument({
    schemaVersion: '2.2',
    parameters: { Name: { type: 'String', allowedPattern: '^[a-z]+$' } },
    mainSteps: [
      { name: 'first', action: 'aws:runShellScript', inputs: { runCommand: ['echo first'] } },
      {
        name: 'greet',
        action: 'aws:runShellScript',
        inputs: { runCommand: [`echo ${word} {{ Name }}`] },
      },
    ],
  });

/** The endpoint with one role that may do what a test does not forbid, asked by the real SDK. */
class Ground {
  readonly folder = mkdtempSync(path.join(tmpdir(), 'lifeboat-ssm-'));
  readonly role = makePrincipal('Stack/Role', 'arn:aws:iam::111122223333:role/Role');
  readonly work = new Work();
  readonly events: string[] = [];
  readonly mails: Mail[] = [];
  readonly faults = { throttleSends: 0, loseSendAnswers: 0, invocationsNotThereYet: 0 };
  denied: (question: AccessQuestion) => boolean = () => false;
  readonly access = new AccessControl(
    [this.role],
    makePrincipal('operator', 'arn:aws:iam::111122223333:user/operator'),
    (question) => ({ allowed: !this.denied(question), reason: 'the test says so' }),
  );
  readonly runCommand = new RunCommand({
    documents: new Map([['greet', { $DEFAULT: greeting('hello'), $LATEST: greeting('good morning') }]]),
    emit: ({ detail, 'detail-type': type }) => {
      if (type.includes('Invocation')) this.events.push(String(detail['status']));
    },
    follow: this.work.follow,
    tell: () => undefined,
  });
  readonly parameters = new ParameterStore();
  readonly #endpoints: Endpoint[] = [];

  async client(
    secret = this.role.credentials.secretAccessKey,
  ): Promise<{ ssm: SSMClient; sns: SNSClient; url: string }> {
    const topic = new Topic({
      arn: TOPIC,
      kmsKeyArn: KEY,
      subscriptions: [
        { arn: `${TOPIC}:1`, deadLetters: undefined, target: { kind: 'email', address: 'ops@example.com' } },
      ],
      metrics: new MetricStore(),
      access: this.access,
      deliverMail: (mail) => this.mails.push(mail),
      follow: this.work.follow,
    });
    const { runCommand, parameters, access, faults } = this;
    const endpoint = await Endpoint.start({
      region: REGION,
      principals: [this.role],
      access,
      services: {
        ec2: ec2Service(() => runCommand.hosts, access),
        ssm: ssmService({ runCommand, parameters, access, faults, arn }),
        sns: snsService(new Map([[TOPIC, topic]]), access),
        sts: async () => ({}),
        secretsmanager: async () => ({}),
      },
    });
    this.#endpoints.push(endpoint);
    const settings = {
      endpoint: endpoint.url,
      region: REGION,
      maxAttempts: 1,
      credentials: { ...this.role.credentials, secretAccessKey: secret },
    };
    return { ssm: new SSMClient(settings), sns: new SNSClient(settings), url: endpoint.url };
  }

  addHost(instanceId: string, tags: Record<string, string> = {}): ManagedHost {
    const host = new ManagedHost(
      { instanceId, tags },
      {
        folder: this.folder,
        region: REGION,
        principal: this.role,
        objects: { isFolder: () => Promise.resolve(false), download: () => Promise.resolve() },
        endpoints: {},
        writeLog: () => undefined,
      },
    );
    this.runCommand.addHost(host);
    return host;
  }

  async end(): Promise<void> {
    for (const endpoint of this.#endpoints) await endpoint.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

let ground: Ground;
let ssm: SSMClient;
let sns: SNSClient;
beforeEach(async () => {
  ground = new Ground();
  ({ ssm, sns } = await ground.client());
});
afterEach(async () => ground.end());

const send = (name = 'world', more: Record<string, unknown> = {}) =>
  ssm.send(
    new SendCommandCommand({
      DocumentName: 'greet',
      InstanceIds: [HOST],
      Parameters: { Name: [name] },
      Comment: 'run-1',
      ...more,
    }),
  );

describe('SSM, asked by the real SDK', () => {
  it('runs a command on the host and tells how each step ended', async () => {
    ground.addHost(HOST);
    const { Command } = await send();
    expect(Command).toMatchObject({ DocumentName: 'greet', Status: 'InProgress', Comment: 'run-1' });
    await ground.work.untilIdle();
    expect(ground.events).toEqual(['Pending', 'InProgress', 'Success']);
    const ask = { CommandId: Command?.CommandId ?? '', InstanceId: HOST };
    const step = await ssm.send(new GetCommandInvocationCommand({ ...ask, PluginName: 'greet' }));
    expect(step).toMatchObject({
      StandardOutputContent: 'hello world\n',
      ResponseCode: 0,
      StatusDetails: 'Success',
    });
    await expect(ssm.send(new GetCommandInvocationCommand(ask))).rejects.toMatchObject({
      name: 'InvalidPluginName',
    });
    const listed = await ssm.send(
      new ListCommandInvocationsCommand({ CommandId: ask.CommandId, Details: true }),
    );
    expect(listed.CommandInvocations).toMatchObject([
      { InstanceId: HOST, StatusDetails: 'Success', Comment: 'run-1', DocumentName: 'greet' },
    ]);
    expect(listed.CommandInvocations?.[0]?.CommandPlugins?.map(({ Output }) => Output)).toEqual([
      'first\n',
      'hello world\n',
    ]);
  });

  it('runs the default version of a document, and the latest one where that is asked for', async () => {
    ground.addHost(HOST);
    const { Command } = await send('world', { DocumentVersion: '$LATEST' });
    await ground.work.untilIdle();
    const ask = { CommandId: Command?.CommandId ?? '', InstanceId: HOST, PluginName: 'greet' };
    expect(await ssm.send(new GetCommandInvocationCommand(ask))).toMatchObject({
      StandardOutputContent: 'good morning world\n',
      DocumentVersion: '$LATEST',
    });
  });

  it('refuses a value that the pattern does not allow, an unknown document and an unknown host', async () => {
    await expect(send()).rejects.toMatchObject({ name: 'InvalidInstanceId' });
    ground.addHost(HOST);
    await expect(send('$(id)')).rejects.toMatchObject({ name: 'InvalidParameters' });
    await expect(send('world', { DocumentName: 'AWS-RunShellScript' })).rejects.toMatchObject({
      name: 'InvalidDocument',
    });
    expect(ground.events).toEqual([]);
  });

  it('goes on waiting for a host that is down, until its time for delivery is over', async () => {
    ground.addHost(HOST).isUp = false;
    const { Command } = await send();
    await ground.work.untilIdle();
    expect(ground.events).toEqual(['Pending', 'InProgress']);
    ground.runCommand.expireDeliveries();
    const ask = { CommandId: Command?.CommandId ?? '', InstanceId: HOST };
    const { CommandInvocations } = await ssm.send(new ListCommandInvocationsCommand(ask));
    expect(CommandInvocations).toMatchObject([{ Status: 'TimedOut', StatusDetails: 'DeliveryTimedOut' }]);
    await expect(
      ssm.send(new GetCommandInvocationCommand({ ...ask, PluginName: 'greet' })),
    ).rejects.toMatchObject({ name: 'InvalidPluginName' });
  });

  it('finds commands again by time, document and page', async () => {
    ground.addHost(HOST);
    for (let index = 0; index < 3; index += 1) await send('world', { Comment: `run-${index}` });
    const list = (more: Record<string, unknown>) =>
      ssm.send(new ListCommandsCommand({ InstanceId: HOST, ...more }));
    const first = await list({ MaxResults: 2 });
    const rest = await list({ MaxResults: 2, NextToken: first.NextToken });
    expect([...(first.Commands ?? []), ...(rest.Commands ?? [])].map(({ Comment }) => Comment)).toEqual([
      'run-2',
      'run-1',
      'run-0',
    ]);
    const later = [{ key: 'InvokedAfter' as const, value: '2999-01-01T00:00:00Z' }];
    expect((await list({ Filters: later })).Commands).toEqual([]);
    await ground.work.untilIdle();
  });

  it('cancels, throttles and forgets on demand', async () => {
    ground.addHost(HOST).isUp = false;
    ground.faults.throttleSends = 1;
    await expect(send()).rejects.toMatchObject({ name: 'ThrottlingException' });
    const { Command } = await send();
    const CommandId = Command?.CommandId ?? '';
    ground.faults.invocationsNotThereYet = 1;
    const ask = new GetCommandInvocationCommand({ CommandId, InstanceId: HOST, PluginName: 'greet' });
    await expect(ssm.send(ask)).rejects.toMatchObject({ name: 'InvocationDoesNotExist' });
    const list = new ListCommandInvocationsCommand({ CommandId });
    ground.faults.invocationsNotThereYet = 1;
    expect((await ssm.send(list)).CommandInvocations).toEqual([]);
    await ssm.send(new CancelCommandCommand({ CommandId }));
    expect((await ssm.send(list)).CommandInvocations).toMatchObject([{ StatusDetails: 'Cancelled' }]);
    const unknown = { CommandId: '00000000-0000-4000-8000-000000000000' };
    await expect(ssm.send(new ListCommandInvocationsCommand(unknown))).rejects.toMatchObject({
      name: 'InvalidCommandId',
    });
  });

  it('finds hosts by tag, on all pages, away or not', async () => {
    for (let index = 0; index < 7; index += 1)
      ground.addHost(`i-${String(index).padStart(17, '0')}`, {
        Backup: index < 6 ? 'nightly' : 'never',
      }).isUp = index > 2;
    const ids: string[] = [];
    let NextToken: string | undefined;
    do {
      const page = await ssm.send(
        new DescribeInstanceInformationCommand({
          Filters: [{ Key: 'tag:Backup', Values: ['nightly'] }],
          MaxResults: 5,
          ...(NextToken && { NextToken }),
        }),
      );
      ids.push(...(page.InstanceInformationList ?? []).map(({ InstanceId }) => InstanceId ?? ''));
      ({ NextToken } = page);
    } while (NextToken);
    expect(ids).toHaveLength(6);
  });

  it('asks the policies about the document and the host, with the host’s tags, and records both', async () => {
    ground.addHost(HOST, { Backup: 'nightly' });
    ground.denied = ({ resource }) => resource.includes('instance/');
    await expect(send()).rejects.toMatchObject({ name: 'AccessDeniedException' });
    expect(ground.access.calls).toMatchObject([
      {
        principal: 'Stack/Role',
        action: 'ssm:SendCommand',
        resource: arn('ssm', 'document/greet'),
        allowed: true,
      },
      {
        resource: arn('ec2', `instance/${HOST}`),
        allowed: false,
        conditions: { 'ssm:resourceTag/Backup': 'nightly' },
      },
    ]);
    expect(ground.events).toEqual([]);
  });

  it('reveals a SecureString only to whom its key obeys', async () => {
    ground.parameters.put({ name: '/webhook', type: 'SecureString', value: 'secret', keyArn: KEY });
    const get = (WithDecryption: boolean) =>
      ssm.send(new GetParameterCommand({ Name: '/webhook', WithDecryption }));
    expect((await get(true)).Parameter?.Value).toBe('secret');
    expect((await get(false)).Parameter?.Value).not.toContain('secret');
    ground.denied = ({ action }) => action === 'kms:Decrypt';
    await expect(get(true)).rejects.toMatchObject({ name: 'AccessDeniedException' });
  });

  it('refuses a wrong signature', async () => {
    const wrong = await ground.client('another secret');
    await expect(wrong.ssm.send(new ListCommandsCommand({}))).rejects.toMatchObject({
      name: 'InvalidSignatureException',
    });
  });
});

describe('A host that SSM does not know', () => {
  it.each([
    ['is stopped', (host: ManagedHost) => (host.state = 'stopped')],
    ['has no instance profile', (host: ManagedHost) => (host.hasProfile = false)],
  ])('because it %s is not listed, and takes no command', async (_, change) => {
    change(ground.addHost(HOST));
    ground.addHost('i-0fedcba9876543210');
    const { InstanceInformationList = [] } = await ssm.send(new DescribeInstanceInformationCommand({}));
    expect(InstanceInformationList.map(({ InstanceId }) => InstanceId)).toEqual(['i-0fedcba9876543210']);
    await expect(send()).rejects.toMatchObject({ name: 'InvalidInstanceId' });
  });
});

describe('EC2, asked as the functions ask it', () => {
  const TAG = ['lifeboat', 'nightly'] as const;
  const instances = async (secret?: string): Promise<Instances> => {
    const { ssm: client, url } = await ground.client(secret);
    return openInstances({
      endpoint: url,
      signing: client.config,
      clock: { ...systemClock, sleep: () => Promise.resolve() },
    });
  };

  it('lists who carries the tag with their states, hosts outside of EC2 and terminated ones left out', async () => {
    ground.addHost(HOST, { lifeboat: 'nightly' });
    ground.addHost('i-00000000', { lifeboat: 'nightly' }).state = 'stopped';
    ground.addHost('i-00000001', { lifeboat: 'nightly' }).state = 'terminated';
    ground.addHost('i-00000002', { lifeboat: 'nightlyX' });
    ground.addHost('mi-00000000', { lifeboat: 'nightly' });
    expect([...(await (await instances()).withTag(...TAG))]).toEqual([
      [HOST, 'running'],
      ['i-00000000', 'stopped'],
    ]);
    expect(ground.access.calls).toMatchObject([
      { action: 'ec2:DescribeInstances', resource: '*', allowed: true },
    ]);
  });

  it('refuses who may not ask, and a wrong signature', async () => {
    ground.denied = ({ action }) => action === 'ec2:DescribeInstances';
    await expect((await instances()).withTag(...TAG)).rejects.toThrow(/UnauthorizedOperation/);
    await expect((await instances('wrong')).withTag(...TAG)).rejects.toThrow(/InvalidSignatureException/);
  });
});

describe('SNS, asked by the real SDK', () => {
  it('mails what is published', async () => {
    const { MessageId } = await sns.send(
      new PublishCommand({ TopicArn: TOPIC, Subject: 'Hello', Message: 'a & b <c>' }),
    );
    await ground.work.untilIdle();
    expect(MessageId).toMatch(/^[0-9a-f-]{36}$/);
    expect(ground.mails).toMatchObject([{ to: 'ops@example.com', subject: 'Hello', text: 'a & b <c>' }]);
  });

  it.each([
    ['a subject that is not ASCII', 'Grüße'],
    ['a subject of several lines', 'a\nb'],
    ['a subject of 101 characters', 'a'.repeat(101)],
  ])('refuses %s', async (_, Subject) => {
    await expect(
      sns.send(new PublishCommand({ TopicArn: TOPIC, Subject, Message: 'm' })),
    ).rejects.toMatchObject({ name: 'InvalidParameterException' });
  });

  it('needs the key of an encrypted topic', async () => {
    ground.denied = ({ action }) => action === 'kms:GenerateDataKey';
    await expect(sns.send(new PublishCommand({ TopicArn: TOPIC, Message: 'm' }))).rejects.toMatchObject({
      name: 'AuthorizationErrorException',
    });
  });
});
