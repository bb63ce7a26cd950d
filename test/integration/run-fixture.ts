import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { userInfo } from 'node:os';
import path from 'node:path';
import { GetObjectCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3';
import { encodeRequest, type RunRequest } from '../../lib/domain/run/request.ts';
import {
  findVerdict,
  runResultSchema,
  VERDICT_PREFIX,
  type RunResult,
  type Verdict,
} from '../../lib/domain/run/result.ts';
import { formatRunId } from '../../lib/domain/run/run-id.ts';
import { runKey } from '../../lib/domain/run/run-keys.ts';
import { startLocalS3, type LocalS3 } from '../../scripts/local-aws/s3/server.ts';
import { canReach, reachableTempDir, serverUser } from '../../scripts/set-up/postgres-installation.ts';
import { startWatchdog } from '../../scripts/set-up/watchdog.ts';
import { startPostgres, type PostgresServer } from '../postgres-server.ts';
import { startAgent, type AgentEnd, type AgentOptions, type RunningAgent } from './agent-process.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');

/** Whom the work is done as: PostgreSQL's user where the tests run as root, as under SSM; else whoever runs them. */
const user = serverUser();
export const IS_ROOT = user !== undefined;
export const OS_USER = user ? nameOf(user.uid) : userInfo().username;
export const OS_UID = user?.uid ?? userInfo().uid;
export const INSTANCE_ID = 'i-0123456789abcdef0';
export const DATABASE = 'hostmaster_prod';

function nameOf(uid: number): string {
  const lines = readFileSync('/etc/passwd', 'utf8').split('\n');
  return lines.find((line) => line.split(':')[2] === String(uid))!.split(':')[0]!;
}

export interface RunGround {
  readonly folder: string;
  readonly postgres: PostgresServer;
  readonly s3: LocalS3;
  readonly client: S3Client;
  readonly agent: AgentOptions['agent'];
}

/** PostgreSQL that knows its user by the socket's peer, S3, and an agent that this user may read. */
export function useRunGround(): () => RunGround {
  let ground: RunGround | undefined;
  let watchdog: ReturnType<typeof startWatchdog> | undefined;
  beforeAll(async () => {
    const folder = mkdtempSync(path.join(reachableTempDir(user), 'lifeboat-run-'));
    chmodSync(folder, 0o755);
    watchdog = startWatchdog(folder);
    mkdirSync(path.join(folder, 's3'), { mode: 0o700 });
    const [postgres, s3] = await Promise.all([
      startPostgres({ superuser: OS_USER, initdbArgs: ['--auth-local=peer'], settings: { fsync: 'off' } }),
      startLocalS3({ folder: path.join(folder, 's3') }),
    ]);
    const { endpoint, region, credentials } = s3;
    const client = new S3Client({ endpoint, region, credentials, forcePathStyle: true });
    ground = { folder, postgres, s3, client, agent: readableAgent(folder) };
    await postgres.createDatabase(DATABASE);
    await postgres.psql(DATABASE, 'CREATE TABLE users AS SELECT generate_series(1, 1000) AS id');
  });
  afterEach(() => ground?.s3.faults.clear());
  afterAll(async () => {
    ground?.client.destroy();
    await ground?.s3.close();
    await ground?.postgres.remove();
    if (ground) await rm(ground.folder, { recursive: true, force: true });
    await watchdog?.end();
  });
  return () => ground!;
}

/** The sources; where the user may not read them (a checkout in root's home), a built agent in a place that they may. */
function readableAgent(folder: string): AgentOptions['agent'] {
  const places = ['scripts/agent', 'node_modules', 'lib/domain'].map((name) => path.join(ROOT, name));
  if ([...places, process.execPath].every((place) => canReach(place, user))) return undefined;
  const out = path.join(folder, 'agent');
  execFileSync(process.execPath, [path.join(ROOT, 'scripts/build.mjs'), '--out', out], { stdio: 'pipe' });
  return [path.join(out, `linux-${process.arch}`, 'bin', 'lifeboat')];
}

/** How a run ended, with what it says of itself. */
export interface RunEnd extends AgentEnd {
  readonly verdict: Verdict | undefined;
}

type Changes = {
  readonly [Key in keyof RunRequest]?: RunRequest[Key] extends object | undefined
    ? Partial<NonNullable<RunRequest[Key]>>
    : RunRequest[Key];
};

let hosts = 0;

/** A database host with its own folders, and its buckets. */
export class RunHost {
  readonly ground: RunGround;
  readonly backupDir: string;
  readonly stateDir: string;
  readonly bucket: string;
  readonly stateBucket: string;

  private constructor(ground: RunGround) {
    hosts += 1;
    this.ground = ground;
    const folder = path.join(ground.folder, `host-${hosts}`);
    mkdirSync(folder);
    // The folder for backups is not there yet; the user may make it.
    if (user) chownSync(folder, user.uid, user.gid);
    this.backupDir = path.join(folder, 'backups');
    this.stateDir = path.join(ground.folder, `state-${hosts}`);
    this.bucket = `backups-${process.pid}-${hosts}`;
    this.stateBucket = `state-${process.pid}-${hosts}`;
  }

  static async make(ground: RunGround): Promise<RunHost> {
    const host = new RunHost(ground);
    await ground.s3.createBucket(host.bucket);
    await ground.s3.createBucket(host.stateBucket);
    return host;
  }

  request(changes: Changes = {}): RunRequest {
    const now = new Date();
    const { postgres, s3 } = this.ground;
    return {
      schemaVersion: 1,
      runId: newRunId(),
      operation: 'backup',
      trigger: 'manual',
      instanceId: INSTANCE_ID,
      nonce: randomBytes(16).toString('hex'),
      requestedAt: now.toISOString(),
      deadline: new Date(now.getTime() + 3_600_000).toISOString(),
      ...changes,
      series: {
        app: 'hostmaster',
        database: DATABASE,
        dbHost: postgres.socketDir,
        port: postgres.port,
        user: OS_USER,
        osUser: OS_USER,
        pgBinDir: postgres.binDir,
        format: 'plain',
        compression: 'gzip',
        backupDir: this.backupDir,
        localRetentionDays: 7,
        ...changes.series,
      },
      storage: {
        bucket: this.bucket,
        prefix: 'database',
        stateBucket: this.stateBucket,
        statePrefix: 'database',
        region: s3.region,
        retentionDays: 30,
        ...changes.storage,
      },
      ...(changes.restore
        ? {
            restore: {
              source: 'latest',
              database: 'hostmaster_staging',
              replace: false,
              globals: false,
              ...changes.restore,
            },
          }
        : {}),
    } as RunRequest;
  }

  /** What the SSM agent gives a script, and how S3 is reached. */
  env(overrides: Readonly<Record<string, string | undefined>> = {}): Record<string, string | undefined> {
    const { s3 } = this.ground;
    return {
      HOME: undefined,
      TMPDIR: undefined,
      AWS_SSM_INSTANCE_ID: INSTANCE_ID,
      AWS_SSM_REGION_NAME: s3.region,
      SSM_COMMAND_ID: 'c0ffee00-0000-4000-8000-000000000001',
      STATE_DIRECTORY: this.stateDir,
      AWS_ENDPOINT_URL_S3: s3.endpoint,
      AWS_ACCESS_KEY_ID: s3.credentials.accessKeyId,
      AWS_SECRET_ACCESS_KEY: s3.credentials.secretAccessKey,
      ...overrides,
    };
  }

  start(
    request: RunRequest | string,
    options: Partial<AgentOptions> & { args?: string[] } = {},
  ): RunningAgent {
    const encoded = typeof request === 'string' ? request : encodeRequest(request);
    const { args = [], env, ...rest } = options;
    const { agent } = this.ground;
    return startAgent(['run', '--request', encoded, ...args], {
      ...(agent ? { agent } : {}),
      ...rest,
      env: this.env(env),
    });
  }

  async run(...call: Parameters<RunHost['start']>): Promise<RunEnd> {
    return withVerdict(await this.start(...call).ended);
  }

  async result(runId: string): Promise<RunResult> {
    return runResultSchema.parse(JSON.parse(await this.object(runKey('database', runId, 'result'))));
  }

  async object(Key: string): Promise<string> {
    const { Body } = await this.ground.client.send(new GetObjectCommand({ Bucket: this.stateBucket, Key }));
    return await Body!.transformToString();
  }

  async keys(bucket = this.stateBucket): Promise<string[]> {
    const page = await this.ground.client.send(new ListObjectsV2Command({ Bucket: bucket }));
    return (page.Contents ?? []).map(({ Key }) => Key!);
  }

  /** Names in BACKUP_DIR that are backups' files. */
  files(): string[] {
    return readdirSync(this.backupDir).filter((name) => !name.startsWith('.'));
  }
}

export function newRunId(): string {
  return formatRunId(new Date(), randomBytes(32).toString('hex'));
}

/** The verdict must stand at both ends, the same. */
export function withVerdict(end: AgentEnd): RunEnd {
  const lines = end.stdout.trimEnd().split('\n');
  if (lines[0]?.startsWith(VERDICT_PREFIX)) expect(lines.at(-1)).toBe(lines[0]);
  expect(Buffer.byteLength(end.stdout)).toBeLessThanOrEqual(24_000);
  return { ...end, verdict: findVerdict(end.stdout) };
}
