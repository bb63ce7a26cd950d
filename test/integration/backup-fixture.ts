import { execFileSync, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  GetObjectCommand,
  GetObjectTaggingCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import type { Manifest } from '../../lib/domain/backup/manifest.ts';
import { startLocalS3, type LocalS3 } from '../../scripts/local-aws/s3/server.ts';
import { startWatchdog } from '../../scripts/set-up/watchdog.ts';
import { startPostgres, type PostgresOptions, type PostgresServer } from '../postgres-server.ts';
import {
  runAgent,
  startAgent,
  type AgentEnd,
  type AgentOptions,
  type RunningAgent,
} from './agent-process.ts';

/** A PostgreSQL and an S3 for one test file. */
export interface Ground {
  readonly folder: string;
  readonly postgres: PostgresServer;
  readonly s3: LocalS3;
  readonly client: S3Client;
}

/** Started before the file's first test, removed after its last; each test plays on a stage of its own. */
export function useGround(options: PostgresOptions = {}): () => Ground {
  let ground: Ground | undefined;
  let watchdog: ReturnType<typeof startWatchdog> | undefined;
  beforeAll(async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'lifeboat-test-'));
    // Removes the folder even if the test process is killed.
    watchdog = startWatchdog(folder);
    const s3Folder = path.join(folder, 's3');
    mkdirSync(s3Folder);
    const [postgres, s3] = await Promise.all([
      startPostgres({ ...options, settings: { fsync: 'off', ...options.settings } }),
      startLocalS3({ folder: s3Folder }),
    ]);
    const { endpoint, region } = s3;
    const { accessKeyId, secretAccessKey } = s3.credentials;
    const credentials = { accessKeyId, secretAccessKey };
    const client = new S3Client({ endpoint, region, credentials, forcePathStyle: true });
    ground = { folder, postgres, s3, client };
  });
  afterEach(() => ground?.s3.faults.clear());
  afterAll(async () => {
    ground?.client.destroy();
    await ground?.s3.close();
    await ground?.postgres.remove();
    if (ground) await rm(ground.folder, { recursive: true, force: true });
    await watchdog?.end();
  });
  return () => {
    if (!ground) throw new Error('useGround: it stands only between beforeAll and afterAll');
    return ground;
  };
}

export type RecordedRequest = LocalS3['requests'][number];

interface ListedCopy {
  readonly store: 'local' | 's3';
  readonly url: string;
  readonly state: string;
  readonly detail?: string;
  readonly verified: boolean;
  readonly verifiedAt: string | null;
  readonly expiresAt: string | null;
}

export interface Listed {
  readonly id: string;
  readonly time: string;
  readonly bytes: number | null;
  readonly format: string | null;
  readonly compression: string | null;
  readonly copies: readonly ListedCopy[];
}

export interface FailureJson {
  readonly succeeded: false;
  readonly error: {
    readonly code: string;
    readonly exitStatus: number;
    readonly message: string;
    readonly hint: string;
    readonly problems?: readonly { readonly code: string; readonly message: string; readonly hint: string }[];
  };
}

export interface BackupJson {
  readonly succeeded: true;
  readonly id: string;
  readonly file: string;
  readonly bytes: number;
  readonly rawBytes: number;
  readonly sha256: string;
  readonly locations: readonly string[];
  readonly tables: number;
  readonly rows: number;
  readonly expired: readonly string[];
  readonly warnings: readonly string[];
  readonly messages: readonly {
    readonly name: string;
    readonly delivered: boolean;
    readonly error?: string;
  }[];
  readonly runId: string;
}

type Overrides = Readonly<Record<string, string | undefined>>;

let stages = 0;

/** A database's settings with a folder and a bucket of their own. */
export class Stage {
  readonly ground: Ground;
  readonly dir: string;
  readonly bucket: string;
  readonly prefix = 'database';
  readonly #env: Overrides;

  private constructor(ground: Ground, env: Overrides) {
    stages += 1;
    this.ground = ground;
    this.dir = path.join(ground.folder, `backups-${stages}`);
    this.bucket = `bucket-${process.pid}-${stages}`;
    this.#env = env;
  }

  static async set(ground: Ground, env: Overrides): Promise<Stage> {
    const stage = new Stage(ground, env);
    await ground.s3.createBucket(stage.bucket);
    return stage;
  }

  env(overrides: Overrides = {}): Overrides {
    const { postgres, s3 } = this.ground;
    return {
      ...postgres.env,
      BACKUP_DIR: this.dir,
      S3_BUCKET: this.bucket,
      S3_PREFIX: this.prefix,
      AWS_ENDPOINT_URL_S3: s3.endpoint,
      AWS_REGION: s3.region,
      AWS_ACCESS_KEY_ID: s3.credentials.accessKeyId,
      AWS_SECRET_ACCESS_KEY: s3.credentials.secretAccessKey,
      ...this.#env,
      ...overrides,
    };
  }

  run(args: readonly string[], env: Overrides = {}, rest: Partial<AgentOptions> = {}): Promise<AgentEnd> {
    return runAgent(args, { env: this.env(env), ...rest });
  }

  start(args: readonly string[], env: Overrides = {}): RunningAgent {
    return startAgent(args, { env: this.env(env) });
  }

  async list(env: Overrides = {}): Promise<readonly Listed[]> {
    const end = await this.run(['list', '--json'], env);
    if (end.status !== 0) throw new Error(`list failed:\n${end.printed}`);
    return (end.json() as { backups: Listed[] }).backups;
  }

  /** Names in BACKUP_DIR without the lock and the journal, which mean nothing by themselves. */
  files(): string[] {
    if (!existsSync(this.dir)) return [];
    return readdirSync(this.dir)
      .filter((name) => !/^\..*\.(?:lock|runs\.jsonl)$/.test(name))
      .toSorted();
  }

  read(name: string): Buffer {
    return readFileSync(path.join(this.dir, name));
  }

  manifest(id: string): Manifest {
    return JSON.parse(this.read(`${id}.manifest.json`).toString('utf8')) as Manifest;
  }

  /** Whether the lock of the series could be had. */
  lockIsFree(app = 'hostmaster'): boolean {
    const lock = path.join(this.dir, `.${app}.lock`);
    return !existsSync(lock) || spawnSync('flock', ['--nonblock', lock, 'true']).status === 0;
  }

  /** Keys below the prefix. */
  async keys(): Promise<string[]> {
    const page = await this.ground.client.send(new ListObjectsV2Command({ Bucket: this.bucket }));
    return (page.Contents ?? []).map(({ Key }) => Key!.slice(this.prefix.length + 1)).toSorted();
  }

  async uploads(): Promise<string[]> {
    const page = await this.ground.client.send(new ListMultipartUploadsCommand({ Bucket: this.bucket }));
    return (page.Uploads ?? []).map(({ Key }) => Key!);
  }

  async object(key: string): Promise<Buffer> {
    const Key = `${this.prefix}/${key}`;
    const { Body } = await this.ground.client.send(new GetObjectCommand({ Bucket: this.bucket, Key }));
    return Buffer.from(await Body!.transformToByteArray());
  }

  async put(key: string, body: Buffer | string): Promise<void> {
    const Key = `${this.prefix}/${key}`;
    await this.ground.client.send(
      new PutObjectCommand({ Bucket: this.bucket, Key, Body: Buffer.from(body) }),
    );
  }

  async tags(key: string): Promise<Record<string, string>> {
    const Key = `${this.prefix}/${key}`;
    const { TagSet } = await this.ground.client.send(
      new GetObjectTaggingCommand({ Bucket: this.bucket, Key }),
    );
    return Object.fromEntries((TagSet ?? []).map((tag) => [tag.Key!, tag.Value!]));
  }

  /** What S3 was asked about this bucket, oldest first. */
  requests(): readonly RecordedRequest[] {
    return this.ground.s3.requests.filter(({ bucket }) => bucket === this.bucket);
  }
}

export function gunzip(bytes: Buffer): string {
  return execFileSync('gzip', ['-dc'], { input: bytes, maxBuffer: 1 << 30 }).toString('utf8');
}

/**
 * A folder for PG_BIN_DIR in which some programs are bash scripts, the others the real ones. `real` is the real program
 * in them; what only asks for the version gets it.
 */
export function fakeTools(ground: Ground, scripts: Readonly<Record<string, string | undefined>>): string {
  const folder = mkdtempSync(path.join(ground.folder, 'bin-'));
  const { binDir } = ground.postgres;
  for (const program of ['pg_dump', 'pg_dumpall', 'pg_restore', 'psql']) {
    const script = scripts[program];
    const target = path.join(folder, program);
    if (!(program in scripts)) symlinkSync(path.join(binDir, program), target);
    else if (script !== undefined) {
      const start = `#!/bin/bash\nreal() { '${path.join(binDir, program)}' "$@"; }\n`;
      const version = '[ "$1" = --version ] && { real --version; exit; }\n';
      writeFileSync(target, start + version + script, { mode: 0o755 });
    }
  }
  return folder;
}

/**
 * A folder for PG_BIN_DIR with a program that waits until somebody has seen its command line.
 * @returns it, and what to tell of each line that was seen
 */
export function seenTool(
  ground: Ground,
  program: 'pg_dump' | 'pg_restore',
): { folder: string; isCall: (line: string) => boolean; see: (line: string) => void } {
  const mark = path.join(mkdtempSync(path.join(ground.folder, 'seen-')), 'mark');
  const script = `while [ ! -e '${mark}' ]; do sleep 0.02; done; real "$@"`;
  const isCall = (line: string): boolean => line.includes(program) && !line.includes('--version');
  return {
    folder: fakeTools(ground, { [program]: script }),
    isCall,
    see: (line) => {
      if (isCall(line)) writeFileSync(mark, '');
    },
  };
}

/** Fails unless a run that failed left nothing: no file, no object, no upload, no process, no lock, nothing in the list. */
export async function expectNothingLeft(stage: Stage, end: AgentEnd): Promise<void> {
  expect(end.leftRunning).toEqual([]);
  expect(stage.files()).toEqual([]);
  expect(await stage.keys()).toEqual([]);
  expect(await stage.uploads()).toEqual([]);
  expect(stage.lockIsFree()).toBe(true);
  expect(await stage.list()).toEqual([]);
}

const asOrdinaryUser = process.getuid?.() === 0 ? [] : ['--map-root-user'];

/** Starts the agent on a host of its own, where `mount` (a shell line) was run first. The disk is gone with the agent. */
export function withMount(mount: string): string[] {
  return ['unshare', '--mount', ...asOrdinaryUser, 'sh', '-c', `${mount} && exec "$@"`, 'sh'];
}

/** Starts the agent with BACKUP_DIR on a disk of that many bytes; at its end the names that are left there are printed. */
export function onSmallDisk(folder: string, bytes: number): string[] {
  mkdirSync(folder, { recursive: true });
  const script = `mount -t tmpfs -o size=${bytes},mode=700 tmpfs '${folder}' || exit 99
    "$@"; status=$?; echo "left: $(ls -A '${folder}' | tr '\\n' ' ')"; exit $status`;
  return ['unshare', '--mount', ...asOrdinaryUser, 'sh', '-c', script, 'sh'];
}

export const DAY_MS = 24 * 60 * 60 * 1000;

export function idAt(time: Date, app = 'hostmaster'): string {
  return `${app}_db_${time.toISOString().slice(0, 19).replaceAll(/[-:]/g, '').replace('T', '_')}`;
}

/**
 * Lays a twin of the local backup `id` beside it, made `days` earlier.
 * @returns the twin's id
 */
export async function layOlderTwin(
  stage: Stage,
  id: string,
  days: number,
  { stores = ['local'], app = 'hostmaster' }: { stores?: readonly ('local' | 's3')[]; app?: string } = {},
): Promise<string> {
  const manifest = stage.manifest(id);
  const earlier = (time: string): Date => new Date(Date.parse(time) - days * DAY_MS);
  const twin = idAt(earlier(manifest.startedAt), app);
  const renamed = (key: string): string => key.replace(id, twin);
  const text = JSON.stringify({
    ...manifest,
    id: twin,
    app,
    startedAt: earlier(manifest.startedAt).toISOString(),
    finishedAt: earlier(manifest.finishedAt).toISOString(),
    dump: { ...manifest.dump, key: renamed(manifest.dump.key) },
    globals: { ...manifest.globals, key: renamed(manifest.globals.key) },
  });
  const files: [string, Buffer][] = [
    [renamed(manifest.globals.key), stage.read(manifest.globals.key)],
    [renamed(manifest.dump.key), stage.read(manifest.dump.key)],
    [`${twin}.manifest.json`, Buffer.from(text)],
  ];
  for (const [key, bytes] of files) {
    if (stores.includes('local')) writeFileSync(path.join(stage.dir, key), bytes, { mode: 0o600 });
    if (stores.includes('s3')) await stage.put(key, bytes);
  }
  return twin;
}
