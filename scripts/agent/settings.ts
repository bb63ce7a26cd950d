import { z } from 'zod';
import { LifeboatError } from '../../lib/domain/errors.ts';
import { ENV } from '../../lib/domain/names.ts';
import { parseAppName } from '../../lib/domain/backup/series.ts';
import { BACKUP_KINDS, type BackupKind } from '../../lib/domain/run/backup-kind.ts';
import type { Environment } from './environment.ts';
import { numberAboveZero, wholeNumber } from './number-settings.ts';
import { toWalSettings, WAL_SHAPE, type WalSettings } from './wal-settings.ts';

/** The agent's settings, parsed once at the door; nothing inside reads the environment or validates again. */
export interface Settings {
  readonly app: string;
  readonly backupDir: string;
  readonly database: DatabaseSettings;
  /** `undefined`: backups stay local. */
  readonly s3: S3Settings | undefined;
  readonly localRetentionDays: number;
  readonly s3RetentionDays: number;
  readonly format: 'plain' | 'custom';
  readonly compression: 'gzip' | 'zstd';
  /** `undefined`: the default of the compression. */
  readonly compressionLevel: number | undefined;
  /** What `backup` makes when it is not told: a dump, a base backup for point-in-time recovery, or one after the other. */
  readonly backupKind: BackupKind;
  /** Base backups of PostgreSQL 17 and later hold only what changed, but for a full one a week. */
  readonly baseIncremental: boolean;
  /** Whether a base backup reads the files of a server on this host itself. */
  readonly baseBackupFiles: 'auto' | 'never';
  /** Parallel jobs of a custom-format restore; `undefined`: one a core. */
  readonly restoreJobs: number | undefined;
  readonly maxBackupAgeHours: number;
  readonly wal: WalSettings;
  readonly notify: NotifySettings;
  /** Given by whoever started the run (an SSM document), who then also tells people of its outcome. */
  readonly runId: string | undefined;
  /** For AWS' and libpq's own variables (AWS_*, PGSSLMODE, …), which keep their meaning. */
  readonly environment: Environment;
}

export interface DatabaseSettings {
  /** A name, an address, or the folder of a Unix socket. */
  readonly host: string;
  readonly port: number;
  /** `undefined` until a command needs it; see requireDatabaseName. */
  readonly name: string | undefined;
  readonly user: string;
  readonly password: string | undefined;
  /** Where pg_dump and friends are looked for first. */
  readonly binDir: string | undefined;
}

export interface S3Settings {
  readonly bucket: string;
  /** Without slashes at its ends; `''` is the bucket's root. */
  readonly prefix: string;
  readonly stateBucket: string;
  readonly kmsKeyId: string | undefined;
}

export interface NotifySettings {
  readonly slackWebhookUrl: string | undefined;
  readonly emailTo: readonly string[];
  readonly emailFrom: string | undefined;
  readonly smtpUrl: string | undefined;
  readonly sendmailPath: string | undefined;
  readonly snsTopicArn: string | undefined;
}

const DAYS = wholeNumber(1, 36500);
const OPTIONAL = z.string().optional();
const PORT = wholeNumber(1, 65535);
const DEFAULT_SOCKET_FOLDER = '/var/run/postgresql';

const schema = z.object({
  [ENV.appName]: z.string().default('hostmaster'),
  [ENV.backupDir]: z.string().regex(/^\//, 'must be an absolute path').optional(),
  [ENV.dbHost]: z.string().optional(),
  [ENV.dbPort]: PORT.optional(),
  PGPORT: PORT.default(5432),
  [ENV.dbName]: z
    .string()
    .refine((name) => Buffer.byteLength(name) <= 63, 'PostgreSQL names have at most 63 bytes')
    .optional(),
  [ENV.dbUser]: OPTIONAL,
  [ENV.dbPassword]: OPTIONAL,
  [ENV.pgBinDir]: OPTIONAL,
  [ENV.s3Bucket]: z
    .string()
    .regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, 'is no bucket name (3 to 63 of a-z, 0-9, "." and "-")')
    .optional(),
  [ENV.s3StateBucket]: OPTIONAL,
  [ENV.s3Prefix]: z
    .string()
    .max(512)
    // S3 would take it, but every path-like tool between here and there would not.
    .refine((prefix) => !/[\p{Cc}\\]/u.test(prefix), 'must not hold control characters or backslashes')
    .refine(
      (prefix) => !trimSlashes(prefix).split('/').some(isUnsafeSegment),
      'must not hold "..", "." or empty segments',
    )
    .default(''),
  [ENV.s3KmsKeyId]: OPTIONAL,
  [ENV.localRetentionDays]: DAYS.default(7),
  [ENV.s3RetentionDays]: DAYS.default(30),
  [ENV.backupFormat]: z.enum(['plain', 'custom']).default('plain'),
  [ENV.backupCompression]: z.enum(['gzip', 'zstd']).default('gzip'),
  // zlib takes -1 for "unset", which is level 3 in zstd; so only what means what it says is let through.
  [ENV.compressionLevel]: wholeNumber(1, 19).optional(),
  [ENV.backupKind]: z.enum(BACKUP_KINDS).default('dump'),
  [ENV.baseIncremental]: z.enum(['on', 'off']).default('off'),
  [ENV.baseBackupFiles]: z.enum(['auto', 'never']).default('auto'),
  [ENV.restoreJobs]: wholeNumber(1, 64).optional(),
  [ENV.maxBackupAgeHours]: numberAboveZero().default(26),
  ...WAL_SHAPE,
  [ENV.runId]: z
    .string()
    .regex(/^[\w.-]{1,128}$/, 'must be letters, digits, ".", "-" or "_"')
    .optional(),
});

/** @throws LifeboatError SETTINGS_INVALID naming every problem at once; secrets are never repeated. */
export function parseSettings(environment: Environment): Settings {
  const given = Object.fromEntries(
    Object.entries(environment).filter(([, value]) => value !== undefined && value !== ''),
  );
  const parsed = schema.safeParse(given);
  const problems = parsed.success ? [] : parsed.error.issues.map((issue) => describeIssue(issue, given));
  const appProblem = checkApp(given[ENV.appName]);
  if (appProblem) problems.push(appProblem);
  const levelProblem = parsed.success ? checkLevel(parsed.data) : undefined;
  if (levelProblem) problems.push(levelProblem);
  if (!parsed.success || problems.length > 0) {
    throw new LifeboatError(
      'SETTINGS_INVALID',
      `Settings are wrong:\n${problems.map((line) => `- ${line}`).join('\n')}`,
    );
  }
  return toSettings(parsed.data, environment);
}

type Parsed = z.infer<typeof schema>;

function toSettings(parsed: Parsed, environment: Environment): Settings {
  const app = parsed[ENV.appName];
  return {
    app,
    backupDir: parsed[ENV.backupDir] ?? `/var/backups/${app}`,
    database: {
      host: parsed[ENV.dbHost] ?? environment['PGHOST'] ?? DEFAULT_SOCKET_FOLDER,
      port: parsed[ENV.dbPort] ?? parsed.PGPORT,
      name: parsed[ENV.dbName],
      user: parsed[ENV.dbUser] ?? environment['PGUSER'] ?? 'postgres',
      password: parsed[ENV.dbPassword] ?? environment['PGPASSWORD'],
      binDir: parsed[ENV.pgBinDir],
    },
    s3: parseS3(parsed),
    localRetentionDays: parsed[ENV.localRetentionDays],
    s3RetentionDays: parsed[ENV.s3RetentionDays],
    format: parsed[ENV.backupFormat],
    compression: parsed[ENV.backupCompression],
    compressionLevel: parsed[ENV.compressionLevel],
    backupKind: parsed[ENV.backupKind],
    baseIncremental: parsed[ENV.baseIncremental] === 'on',
    baseBackupFiles: parsed[ENV.baseBackupFiles],
    restoreJobs: parsed[ENV.restoreJobs],
    maxBackupAgeHours: parsed[ENV.maxBackupAgeHours],
    wal: toWalSettings(parsed, app),
    notify: parseNotifySettings(environment),
    runId: parsed[ENV.runId],
    environment,
  };
}

/** Never fails: how to reach people must be known even when everything else is wrong. Empty is not set. */
export function parseNotifySettings(environment: Environment): NotifySettings {
  const given = (name: string): string | undefined => environment[name] || undefined;
  return {
    slackWebhookUrl: given(ENV.slackWebhookUrl),
    emailTo: (given(ENV.emailTo) ?? '')
      .split(',')
      .map((address) => address.trim())
      .filter(Boolean),
    emailFrom: given(ENV.emailFrom),
    smtpUrl: given(ENV.smtpUrl),
    sendmailPath: given(ENV.sendmailPath),
    snsTopicArn: given(ENV.snsTopicArn),
  };
}

function parseS3(parsed: Parsed): S3Settings | undefined {
  const bucket = parsed[ENV.s3Bucket];
  if (!bucket) return undefined;
  return {
    bucket,
    prefix: trimSlashes(parsed[ENV.s3Prefix]),
    stateBucket: parsed[ENV.s3StateBucket] ?? bucket,
    kmsKeyId: parsed[ENV.s3KmsKeyId],
  };
}

/** @throws LifeboatError SETTINGS_INVALID when DB_NAME is not set. */
export function requireDatabaseName(settings: Settings): string {
  const { name } = settings.database;
  if (name) return name;
  throw new LifeboatError('SETTINGS_INVALID', `${ENV.dbName} is not set: which database?`, {
    hint: `Set it in the environment or in .env, as in: export ${ENV.dbName}=hostmaster_prod`,
  });
}

const SECRET: ReadonlySet<string> = new Set([ENV.dbPassword, ENV.slackWebhookUrl, ENV.smtpUrl]);

function describeIssue(issue: z.core.$ZodIssue, given: Environment): string {
  const name = String(issue.path[0] ?? 'settings');
  const seen = SECRET.has(name) ? '(not shown)' : JSON.stringify(given[name]);
  return `${name}=${seen}: ${issue.message}`;
}

const HIGHEST_GZIP_LEVEL = 9;

function checkLevel(parsed: Parsed): string | undefined {
  const level = parsed[ENV.compressionLevel] ?? 1;
  if (parsed[ENV.backupCompression] === 'zstd' || level <= HIGHEST_GZIP_LEVEL) return undefined;
  return `${ENV.compressionLevel}="${level}": gzip knows levels 1 to ${HIGHEST_GZIP_LEVEL}; zstd to 19`;
}

function checkApp(app: string | undefined): string | undefined {
  try {
    if (app !== undefined) parseAppName(app);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

function trimSlashes(prefix: string): string {
  return prefix.replace(/^\/+|\/+$/g, '');
}

function isUnsafeSegment(segment: string, _index: number, all: readonly string[]): boolean {
  return segment === '..' || segment === '.' || (segment === '' && all.length > 1);
}
