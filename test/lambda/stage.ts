import '../contract/one-realm.ts';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { SNSClient } from '@aws-sdk/client-sns';
import { SSMClient } from '@aws-sdk/client-ssm';
import { openBucket, type Bucket } from '../../lambda/bucket.ts';
import type { Clock } from '../../lambda/clock.ts';
import { tellingErrors, type LambdaContext } from '../../lambda/handler.ts';
import { openLog, type Log } from '../../lambda/log.ts';
import { makeHandler as makeReportRun } from '../../lambda/report-run/handler.ts';
import { makeHandler as makeRestore } from '../../lambda/restore/handler.ts';
import { openInstances, type Instances } from '../../lambda/instances.ts';
import { openRunCommand, type RunCommand } from '../../lambda/run-command.ts';
import { makeHandler as makeStartRun } from '../../lambda/start-run/handler.ts';
import { openTopic, type Topic } from '../../lambda/topic.ts';
import { makeHandler as makeWatch } from '../../lambda/watch/handler.ts';
import { formatManifest, type Manifest } from '../../lib/domain/backup/manifest.ts';
import { parseDeploymentConfig, type DeploymentConfig } from '../../lib/domain/deployment/config.ts';
import type { RunResult } from '../../lib/domain/run/result.ts';
import { runKey, type RunObject } from '../../lib/domain/run/run-keys.ts';
import { startLocalS3, type LocalS3 } from '../../scripts/local-aws/s3/server.ts';
import { sampleManifest } from '../fixtures/sample-manifest.ts';
import { startEc2, type Ec2Server } from './ec2-server.ts';
import { startSsm, type SsmServer } from './ssm-server.ts';

export const HOST = 'i-0123456789abcdef0';
export const START = new Date('2026-01-17T02:00:05Z');
export const NONCE = '00112233445566778899aabbccddeeff';
export const SCHEDULED = '2026-01-17T02:00:00Z';
const TOPIC = 'arn:aws:sns:eu-west-1:111122223333:lifeboat';
const MINUTE = 60_000;

/** Real HTTP at every edge: the local S3, and servers that speak SSM's and SNS' protocols; time is the test's. */
export interface Stage {
  readonly config: DeploymentConfig;
  readonly s3: LocalS3;
  /** Signs by the test's clock. */
  readonly s3Client: S3Client;
  readonly ssm: SsmServer;
  readonly ec2: Ec2Server;
  /** What was published, oldest first. */
  readonly published: { subject: string; text: string }[];
  /** Errors for the next calls of Publish. */
  readonly snsFaults: number[];
  readonly lines: Record<string, unknown>[];
  readonly clock: Clock;
  readonly state: Bucket;
  readonly backups: Bucket;
  readonly commands: RunCommand;
  readonly instances: Instances;
  readonly topic: Topic;
  readonly log: Log;
  setTime(time: Date): void;
  passMinutes(minutes: number): void;
  context(change?: Partial<LambdaContext>): LambdaContext;
  startRun: (event: unknown, context?: LambdaContext) => ReturnType<ReturnType<typeof makeStartRun>>;
  restore: (event: unknown, context?: LambdaContext) => ReturnType<ReturnType<typeof makeRestore>>;
  reportRun: (event: unknown, context?: LambdaContext) => ReturnType<ReturnType<typeof makeReportRun>>;
  /** One warm function: what it remembers stays. */
  watch: (event?: unknown, context?: LambdaContext) => ReturnType<ReturnType<typeof makeWatch>>;
  /** A function that was just started, and remembers nothing. */
  coldWatch: Stage['watch'];
  putBackup(id: string, change?: BackupChange): Promise<Manifest>;
  putResult(runId: string, change?: Partial<RunResult>): Promise<void>;
  readRun(runId: string, object: RunObject): Promise<Record<string, unknown> | undefined>;
  /** Metrics so far, by app. */
  metrics(app?: string): Record<string, number | number[]>[];
  close(): Promise<void>;
}

interface BackupChange {
  readonly manifest?: Partial<Manifest>;
  readonly prefix?: string;
  readonly bytes?: number;
  /** Parts that a killed run or a wrong hand left out. */
  readonly without?: readonly ('dump' | 'globals' | 'manifest')[];
}

export const CONFIG = { series: [{ database: 'hostmaster_prod', host: { instanceId: HOST } }] };

export async function startStage(configuration: object = CONFIG): Promise<Stage> {
  const config = parseDeploymentConfig(configuration, 'lifeboat.config.json');
  const folder = await mkdtemp(join(tmpdir(), 'lifeboat-lambda-'));
  let time = START.getTime();
  const now = (): Date => new Date(time);
  const s3 = await startLocalS3({ folder, now: () => time });
  await s3.createBucket('backups', { objectLockDays: 30 });
  await s3.createBucket('state', { versioned: true });
  const ssm = await startSsm(now);
  const ec2 = await startEc2(ssm.tagged);
  const sns = await startSns();
  const common = { region: 'eu-west-1', credentials: s3.credentials };
  const s3Client = new S3Client({
    ...common,
    region: s3.region,
    endpoint: s3.endpoint,
    forcePathStyle: true,
    maxAttempts: 3,
  });
  const ssmClient = (maxAttempts: number): SSMClient =>
    new SSMClient({ ...common, endpoint: ssm.endpoint, maxAttempts });
  const [sender, reader] = [ssmClient(1), ssmClient(3)];
  const snsClient = new SNSClient({ ...common, endpoint: sns.endpoint, maxAttempts: 1 });
  // The server's clock is the test's; the signer agrees with it, whatever date an answer has.
  Object.defineProperty(s3Client.config, 'systemClockOffset', {
    get: () => time - Date.now(),
    set: () => {
      // the SDK's own idea, after an answer's date
    },
  });
  const setTime = (to: Date): void => {
    time = to.getTime();
  };
  const clock: Clock = {
    now,
    sleep: async (milliseconds) => {
      setTime(new Date(time + milliseconds));
      await Promise.resolve();
    },
    random: () => 0.5,
  };
  const lines: Record<string, unknown>[] = [];
  const write = (line: string): void => void lines.push(JSON.parse(line) as Record<string, unknown>);
  const log = openLog({ deployment: config.name, now, write });
  const state = openBucket(s3Client, 'state', clock);
  const backups = openBucket(s3Client, 'backups', clock);
  const commands = openRunCommand({ sender, reader });
  const instances = openInstances({ endpoint: ec2.endpoint, signing: reader.config, clock });
  const topic = openTopic(snsClient, TOPIC);
  const edges = {
    config,
    state,
    backups,
    commands,
    instances,
    clock,
    log,
    topic,
    bucket: 'backups',
    region: 'eu-west-1',
    backupDocument: 'Backup',
    restoreDocument: 'Restore',
    logGroup: '/lifeboat/commands',
    documents: ['Backup', 'Restore'],
    statePrefix: config.storage.prefix,
    dashboardUrl: 'https://dashboard.example',
    functions: { startRun: 'Ops-StartRun', restore: 'Ops-Restore' },
  };
  let invocations = 0;
  const context: Stage['context'] = (change = {}) => ({
    awsRequestId: `request-${(invocations += 1)}`,
    getRemainingTimeInMillis: () => 15 * MINUTE,
    ...change,
  });
  const invoke =
    <Answer>(make: () => (event: unknown, given: LambdaContext) => Promise<Answer>) =>
    async (event: unknown = {}, given: LambdaContext = context()): Promise<Answer> =>
      await tellingErrors(log, make())(event, given);
  const warm = makeWatch(edges);
  const readRun: Stage['readRun'] = async (runId, object) => {
    const command = new GetObjectCommand({ Bucket: 'state', Key: runKey('database', runId, object) });
    try {
      const answer = await s3Client.send(command);
      return JSON.parse(await answer.Body!.transformToString()) as Record<string, unknown>;
    } catch (error) {
      if ((error as Error).name === 'NoSuchKey') return undefined;
      throw error;
    }
  };
  const put = async (bucket: string, key: string, body: string | Uint8Array): Promise<void> => {
    await s3Client.send(new PutObjectCommand({ Bucket: bucket, Key: key, Body: body }));
  };
  return {
    config,
    s3,
    s3Client,
    ssm,
    ec2,
    lines,
    clock,
    state,
    backups,
    commands,
    instances,
    topic,
    log,
    setTime,
    context,
    published: sns.published,
    snsFaults: sns.faults,
    passMinutes: (minutes) => setTime(new Date(time + minutes * MINUTE)),
    startRun: invoke(() => makeStartRun(edges)),
    restore: invoke(() => makeRestore(edges)),
    reportRun: invoke(() => makeReportRun(edges)),
    watch: invoke(() => warm),
    coldWatch: invoke(() => makeWatch(edges)),
    putBackup: async (
      id,
      { manifest: change = {}, prefix = 'database', bytes = 1000, without = [] } = {},
    ) => {
      const manifest = madeUpManifest(id, bytes, change);
      const skip = new Set<string>(without);
      if (!skip.has('globals')) await put('backups', `${prefix}/${id}.globals.sql.gz`, new Uint8Array(300));
      if (!skip.has('dump')) await put('backups', `${prefix}/${manifest.dump.key}`, new Uint8Array(bytes));
      if (!skip.has('manifest'))
        await put('backups', `${prefix}/${id}.manifest.json`, formatManifest(manifest));
      return manifest;
    },
    putResult: async (runId, change) => {
      const request = await readRun(runId, 'request');
      const nonce = request === undefined ? {} : { nonce: String(request['nonce']) };
      const result = goodResult(runId, { ...nonce, ...change });
      await put('state', runKey('database', runId, 'result'), JSON.stringify(result));
    },
    readRun,
    metrics: (app = 'hostmaster') =>
      lines
        .filter((line) => '_aws' in line && line['App'] === app)
        .map((line) => {
          const own = Object.entries(line).filter(([name]) => !['_aws', 'Deployment', 'App'].includes(name));
          return Object.fromEntries(own) as Record<string, number | number[]>;
        }),
    close: async () => {
      for (const client of [s3Client, sender, reader, snsClient]) client.destroy();
      await Promise.all([s3.close(), ssm.close(), ec2.close(), sns.close()]);
      await rm(folder, { recursive: true });
    },
  };
}

function madeUpManifest(id: string, bytes: number, change: Partial<Manifest>): Manifest {
  const [, app, stamp] = /^(.*)_db_(\d{8}_\d{6})$/.exec(id)!;
  const iso = stamp!.replace(/(\d{4})(\d\d)(\d\d)_(\d\d)(\d\d)(\d\d)/, '$1-$2-$3T$4:$5:$6.000Z');
  const { dump } = sampleManifest({ id });
  const times = { startedAt: iso, finishedAt: iso };
  return sampleManifest({ id, app: app!, ...times, dump: { ...dump, size: bytes }, ...change });
}

/** What a host writes after a good backup. */
export function goodResult(runId: string, change: Partial<RunResult> = {}): RunResult {
  return {
    schemaVersion: 1,
    runId,
    operation: 'backup',
    app: 'hostmaster',
    database: 'hostmaster_prod',
    host: 'db1',
    instanceId: HOST,
    nonce: NONCE,
    commandId: null,
    agentVersion: '0.1.0',
    startedAt: '2026-01-17T02:00:10.000Z',
    finishedAt: '2026-01-17T02:00:55.000Z',
    durationMs: 45_000,
    warnings: [],
    outcome: {
      kind: 'backup',
      id: 'hostmaster_db_20260117_020010',
      file: 'hostmaster_db_20260117_020010.sql.gz',
      bytes: 12 * 1024 * 1024,
      locations: ['s3://backups/database/hostmaster_db_20260117_020010.sql.gz'],
      totals: { tables: 12, rows: 1_234_567 },
    },
    failure: null,
    exitStatus: 0,
    ...change,
  };
}

/** EventBridge's event for an invocation's status. */
export function statusEvent(commandId: string, status: string, instanceId = HOST): object {
  return {
    version: '0',
    source: 'aws.ssm',
    'detail-type': 'EC2 Command Invocation Status-change Notification',
    detail: {
      'command-id': commandId,
      'document-name': 'Backup',
      'instance-id': instanceId,
      'requested-date-time': '2026-01-17T02:00:05.000Z',
      status,
    },
  };
}

interface SnsServer {
  readonly endpoint: string;
  readonly published: { subject: string; text: string }[];
  readonly faults: number[];
  close(): Promise<void>;
}

/** SNS' query protocol: a form in, XML out. */
async function startSns(): Promise<SnsServer> {
  const published: SnsServer['published'] = [];
  const faults: number[] = [];
  const server: Server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const form = new URLSearchParams(Buffer.concat(chunks).toString('utf8'));
      const fault = faults.shift();
      response.writeHead(fault ?? 200, { 'content-type': 'text/xml' });
      if (fault !== undefined)
        return response.end(
          `<ErrorResponse><Error><Type>Sender</Type><Code>InternalError</Code><Message>on demand</Message></Error></ErrorResponse>`,
        );
      const [subject, text] = [form.get('Subject') ?? '', form.get('Message') ?? ''];
      // What SNS refuses: https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
      if (!/^[\x21-\x7e][\x20-\x7e]{0,99}$/.test(subject) || Buffer.byteLength(text) > 262_144)
        throw new Error(`SNS would refuse ${JSON.stringify(subject)}`);
      published.push({ subject, text });
      return response.end(
        `<PublishResponse><PublishResult><MessageId>${published.length}</MessageId></PublishResult></PublishResponse>`,
      );
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    published,
    faults,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
