import { chmodSync, mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import {
  DeleteObjectCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import { LAMBDA_TEST_ENV } from '../../lib/domain/names.ts';
import { startSlackStandIn, type SlackStandIn } from '../../scripts/demo/slack-stand-in.ts';
import { buildCheckout } from '../../scripts/local-aws/build-checkout.ts';
import { prepareDatabaseHost, type DatabaseHost } from '../../scripts/local-aws/database-host.ts';
import type { Outcome } from '../../scripts/local-aws/lambda/function-process.ts';
import type { LocalAws } from '../../scripts/local-aws/local-aws.ts';
import { startLocalAws } from '../../scripts/local-aws/start.ts';
import { synthesize } from '../../scripts/local-aws/synthesize.ts';
import { reachableTempDir, serverUser } from '../../scripts/set-up/postgres-installation.ts';
import { startWatchdog } from '../../scripts/set-up/watchdog.ts';
import { startPostgres, type PostgresServer } from '../postgres-server.ts';
import { prepareServiceHost, type ServiceHost } from './service-host.ts';

export const INSTANCE_ID = 'i-0123456789abcdef0';
export const DATABASE = 'hostmaster_prod';
const ACCOUNT = { accountId: '111122223333', region: 'eu-west-1' };
const PARAMETER = '/lifeboat/slack-webhook-url';
const HOUR = 60 * 60 * 1000;
const DAY = 24 * HOUR;

function lastTwoOClock(): Date {
  const today = new Date().setUTCHours(2, 0, 0, 0);
  // Runs a minute apart follow that one; none of them may be still to come.
  return new Date(today > Date.now() - HOUR ? today - DAY : today);
}

/** What is asked for in lifeboat.config.json. */
interface NightConfiguration {
  readonly series: readonly [Readonly<Record<string, unknown>>];
  readonly [section: string]: unknown;
}

export interface NightSetting {
  readonly configure?: (config: NightConfiguration, postgres: PostgresServer) => unknown;
  /** Of every host. */
  readonly tags?: Readonly<Record<string, string>>;
  /** Further hosts, by instance id: this machine as well, so that only one of them may be up. */
  readonly others?: readonly string[];
  readonly secrets?: (postgres: PostgresServer) => Readonly<Record<string, string>>;
  /** Where root runs the tests: the first host has a systemd. */
  readonly systemd?: boolean;
}

/** The whole deployment on this machine: synthesized stacks, bundled functions, the built agent, a real PostgreSQL. */
export class Night {
  readonly folder: string;
  readonly postgres: PostgresServer;
  readonly slack: SlackStandIn;
  readonly host: DatabaseHost;
  readonly aws: LocalAws;
  readonly s3: S3Client;
  readonly services: ServiceHost | undefined;
  readonly #clock: { offset: number };
  #night: number;

  private constructor(
    parts: Pick<Night, 'folder' | 'postgres' | 'slack' | 'host' | 'aws' | 'services'>,
    clock: { offset: number },
  ) {
    this.folder = parts.folder;
    this.postgres = parts.postgres;
    this.slack = parts.slack;
    this.host = parts.host;
    this.aws = parts.aws;
    this.services = parts.services;
    const { endpoint, region } = parts.aws.s3;
    const { credentials } = parts.aws.operator;
    this.s3 = new S3Client({ endpoint, region, credentials, forcePathStyle: true });
    this.#clock = clock;
    this.#night = lastTwoOClock().getTime();
  }

  static async begin({
    configure,
    tags = {},
    secrets,
    others = [],
    systemd = false,
  }: NightSetting): Promise<Night> {
    const folder = mkdtempSync(path.join(reachableTempDir(serverUser()), 'lifeboat-night-'));
    chmodSync(folder, 0o755);
    const host = prepareDatabaseHost(folder, INSTANCE_ID);
    const services = systemd && serverUser() ? prepareServiceHost(path.join(folder, 'systemd')) : undefined;
    const [assets, postgres, slack] = await Promise.all([
      buildCheckout(path.join(folder, 'dist')),
      startPostgres({
        superuser: host.osUser,
        initdbArgs: ['--auth-local=peer'],
        settings: { fsync: 'off' },
      }),
      startSlackStandIn(),
    ]);
    const cdkOut = path.join(folder, 'cdk.out');
    const config = configuration(postgres, host);
    await synthesize({ config: configure?.(config, postgres) ?? config, assets, cdkOut, account: ACCOUNT });
    const clock = { offset: 0 };
    const aws = await startLocalAws({
      account: ACCOUNT,
      cdkOut,
      folder,
      hosts: [
        { ...host.specification, tags, ...(services && { through: services.through }) },
        ...others.map((instanceId) => ({ ...prepareDatabaseHost(folder, instanceId).specification, tags })),
      ],
      secrets: secrets?.(postgres) ?? {},
      parameters: [{ name: PARAMETER, type: 'SecureString', value: slack.webhookUrl, key: 'Notifications' }],
      functionEnvironment: { [LAMBDA_TEST_ENV.slackOrigin]: new URL(slack.webhookUrl).origin },
      clockOfS3: () => Date.now() + clock.offset,
    });
    await postgres.createDatabase(DATABASE);
    await postgres.psql(DATABASE, 'CREATE TABLE users AS SELECT generate_series(1, 1000) AS id');
    services?.giveRole(aws.host(INSTANCE_ID).principal.credentials);
    return new Night({ folder, postgres, slack, host, aws, services }, clock);
  }

  /** The last 02:00, and then a minute later each time: each is a run of its own, and takes no day to come. */
  nextNight(): Date {
    const night = new Date(this.#night);
    if (night.getUTCMinutes() > 0) this.#fireEveryMinute();
    this.#night += 60 * 1000;
    return night;
  }

  #fireEveryMinute(): void {
    const { rules } = this.aws.events;
    const index = rules.findIndex(({ logicalId }) => logicalId.includes('Nightly'));
    rules[index] = { ...rules[index]!, schedule: 'rate(1 minute)' };
  }

  /** Lets 02:00 come, and waits until all that follows is over. Returns that time. */
  async fire(time = this.nextNight()): Promise<Date> {
    this.aws.fireSchedule('Nightly', time);
    await this.aws.waitForIdle();
    return time;
  }

  async watch(): Promise<void> {
    const outcome = await this.aws.invoke('Watch', {});
    if (!outcome.ok) throw new Error(outcome.error.errorMessage);
    await this.aws.waitForIdle();
  }

  /** What S3 writes meanwhile is so much older. */
  async earlier(minutes: number, work: () => Promise<unknown>): Promise<void> {
    this.#clock.offset = -minutes * 60 * 1000;
    try {
      await work();
    } finally {
      this.#clock.offset = 0;
    }
  }

  get bucket(): string {
    return this.aws.ref('AWS::S3::Bucket', 'Backups');
  }

  get stateBucket(): string {
    return this.aws.ref('AWS::S3::Bucket', 'State');
  }

  async keys(bucket: string): Promise<string[]> {
    const { Contents = [] } = await this.s3.send(new ListObjectsV2Command({ Bucket: bucket }));
    return Contents.map(({ Key }) => Key ?? '');
  }

  async read(bucket: string, key: string): Promise<string> {
    const { Body } = await this.s3.send(new GetObjectCommand({ Bucket: bucket, Key: key }));
    return (await Body?.transformToString()) ?? '';
  }

  async write(bucket: string, key: string, text: string): Promise<void> {
    await this.s3.send(new PutObjectCommand({ Bucket: bucket, Key: key, Body: text }));
  }

  async remove(bucket: string, key: string): Promise<void> {
    await this.s3.send(new DeleteObjectCommand({ Bucket: bucket, Key: key }));
  }

  async end(): Promise<void> {
    this.s3.destroy();
    await this.services?.stopAll();
    await this.aws.close();
    await this.postgres.remove();
    this.slack.close();
    await rm(this.folder, { recursive: true, force: true });
  }
}

function configuration(postgres: PostgresServer, host: DatabaseHost): NightConfiguration {
  return {
    notifications: { emails: ['ops@example.com'], slackParameter: PARAMETER },
    limits: { runMinutes: 10, deliveryMinutes: 1 },
    series: [
      {
        host: { instanceId: INSTANCE_ID },
        database: DATABASE,
        dbHost: postgres.socketDir,
        port: postgres.port,
        user: host.osUser,
        osUser: host.osUser,
        pgBinDir: postgres.binDir,
        backupDir: host.backupDir,
      },
    ],
  };
}

/** One for the whole test file. */
export function useNight(setting: NightSetting = {}): () => Night {
  let night: Night | undefined;
  let watchdog: ReturnType<typeof startWatchdog> | undefined;
  beforeAll(async () => {
    night = await Night.begin(setting);
    watchdog = startWatchdog(night.folder);
  });
  afterEach(() => {
    night!.aws.events.transform = (event) => [event];
    night!.slack.takeMessages();
  });
  afterAll(async () => {
    await night?.end();
    await watchdog?.end();
  });
  return () => night!;
}

/** @throws Error with the function’s own words */
export function resultOf(outcome: Outcome): Record<string, unknown> {
  if (outcome.ok) return outcome.result as Record<string, unknown>;
  throw new Error(outcome.error.errorMessage);
}
