import { z } from 'zod';
import { LifeboatError } from '../errors.ts';
import type { BackupKind } from '../run/backup-kind.ts';
import { SERIES_FIELDS } from '../run/shared-fields.ts';
import { instanceIdSchema } from './instance-id.ts';
import { scheduleSchema } from './schedule.ts';
import { storageSchema } from './storage-config.ts';

/**
 * lifeboat.config.json: what is deployed, one schema for the CDK app, the Lambdas and editors. Everything that AWS would
 * refuse halfway through a deployment, or accept and do something else with, is refused here, all of it at once.
 */

const hostSchema = z.union(
  [
    z.strictObject({ instanceId: instanceIdSchema }).describe('One host by its instance id.'),
    z
      .strictObject({
        tag: z.strictObject({ key: z.string().min(1).max(128), value: z.string().min(1).max(256) }),
      })
      .describe('Every managed EC2 instance that carries the tag; each gets a run and a folder of its own.'),
  ],
  { error: 'is neither {"instanceId": "i-0123456789abcdef0"} nor {"tag": {"key": "…", "value": "…"}}' },
);

const seriesSchema = z.strictObject({
  app: SERIES_FIELDS.app.default('hostmaster'),
  host: hostSchema,
  database: SERIES_FIELDS.database,
  dbHost: SERIES_FIELDS.dbHost.default('/var/run/postgresql'),
  port: SERIES_FIELDS.port.default(5432),
  user: SERIES_FIELDS.user.default('postgres').describe('The PostgreSQL role.'),
  osUser: SERIES_FIELDS.osUser
    .default('postgres')
    .describe('The operating system’s user that the agent runs as; peer authentication needs no password.'),
  passwordSecretArn: SERIES_FIELDS.passwordSecretArn
    .optional()
    .describe('Only for a database that asks for a password; read on the host, never by a Lambda.'),
  pgBinDir: SERIES_FIELDS.pgBinDir.optional(),
  format: SERIES_FIELDS.format.default('plain'),
  compression: SERIES_FIELDS.compression.default('gzip'),
  compressionLevel: SERIES_FIELDS.compressionLevel.optional(),
  backupDir: SERIES_FIELDS.backupDir.optional(),
  localRetentionDays: SERIES_FIELDS.localRetentionDays.default(7),
  pointInTimeRecovery: z
    .boolean()
    .default(false)
    .describe(
      'Nightly base backups of the whole cluster beside the dump, and a service on the host that streams WAL to S3.',
    ),
  incrementalBaseBackups: z
    .boolean()
    .default(false)
    .describe(
      'With pointInTimeRecovery: a full base backup a week, and what changed in the other nights (PostgreSQL 17 with summarize_wal).',
    ),
});

const notificationsSchema = z.strictObject({
  emails: z.array(z.email()).default([]),
  slackParameter: z
    .string()
    .regex(/^\/[\w./-]{1,1000}$/, 'is no name of a parameter such as /lifeboat/slack-webhook-url')
    .optional()
    .describe(
      'Name of an SSM SecureString that holds the Slack webhook’s URL; you create it, see the README.',
    ),
  runbookUrl: z
    .string()
    .max(300)
    .regex(/^[^\s#]+$/, 'is no address such as https://wiki.example.com/runbook')
    .default('docs/runbook.md')
    .describe('Where docs/runbook.md can be read; every alarm links to its section there.'),
});

const limitsSchema = z.strictObject({
  /** The agent resets anything outside of 5 to 172800 seconds to an hour without a word. */
  runMinutes: z.int().min(1).max(2879).default(360).describe('A run that takes longer is ended.'),
  deliveryMinutes: z
    .int()
    .min(1)
    .max(1440)
    .default(60)
    .describe('How long a host may be away when a run starts.'),
  maxBackupAgeHours: z
    .number()
    .min(1)
    .max(168)
    .default(26)
    .describe('An older newest backup raises the alarm.'),
  maxRestorableAgeMinutes: z
    .number()
    .min(5)
    .max(1440)
    .default(15)
    .describe(
      'With pointInTimeRecovery: a longer age of the latest restorable instant, or time without WAL, raises an alarm.',
    ),
  reserveConcurrency: z
    .boolean()
    .default(false)
    .describe(
      'Reserve one concurrent execution for the watch. A second one is harmless; new accounts have too few to reserve any.',
    ),
});

const configSchema = z.strictObject({
  $schema: z.string().optional(),
  name: z
    .string()
    .regex(/^[A-Za-z][A-Za-z0-9-]{0,39}$/, 'use 1 to 40 letters, digits or "-", a letter first')
    .default('Lifeboat')
    .describe('The stacks are called <name>Storage and <name>Operations.'),
  storage: storageSchema.prefault({}),
  schedule: scheduleSchema.prefault({}),
  notifications: notificationsSchema.prefault({}),
  limits: limitsSchema.prefault({}),
  hostRoleName: z
    .string()
    .regex(/^[\w+=,.@-]{1,64}$/, 'is no name of a role')
    .optional()
    .describe('An existing role of the hosts, to which the rights are attached; else a new role is made.'),
  series: z.array(seriesSchema).min(1).max(500).superRefine(refuseContradictions),
});

export type DeploymentConfig = z.infer<typeof configSchema>;
export type SeriesConfig = z.infer<typeof seriesSchema>;

/**
 * @param value parsed JSON
 * @param where its origin, for the message: a file's name
 * @throws LifeboatError SETTINGS_INVALID naming every problem at once
 */
export function parseDeploymentConfig(value: unknown, where: string): DeploymentConfig {
  const parsed = configSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(
    (issue) => `${issue.path.join('.') || 'the file'}: ${wording(issue)}`,
  );
  throw new LifeboatError(
    'SETTINGS_INVALID',
    `${where} is wrong:\n${problems.map((line) => `- ${line}`).join('\n')}`,
    { hint: `Correct ${where}; docs/deployment.md explains every field.` },
  );
}

/** What a backup of the series makes that nobody said more about. */
export function backupKindOf({ pointInTimeRecovery }: SeriesConfig): BackupKind {
  return pointInTimeRecovery ? 'both' : 'dump';
}

function wording(issue: z.core.$ZodIssue): string {
  return issue.code === 'invalid_type' && issue.message.endsWith('received undefined')
    ? `is missing (${issue.expected})`
    : issue.message;
}

/** For editors: `$schema` in the file. */
export function deploymentJsonSchema(): object {
  return z.toJSONSchema(configSchema, { io: 'input' });
}

function refuseContradictions(series: SeriesConfig[], context: z.RefinementCtx): void {
  const add = (message: string, ...path: (string | number)[]): void =>
    context.addIssue({ code: 'custom', message, path });
  const apps = series.map(({ app }) => app);
  for (const app of new Set(apps.filter((name, index) => apps.indexOf(name) !== index)))
    add(`the app name ${JSON.stringify(app)} is used twice; a series is one host and one database`);
  for (const [index, { app, incrementalBaseBackups, pointInTimeRecovery }] of series.entries())
    if (incrementalBaseBackups && !pointInTimeRecovery)
      add(
        `there are no nightly base backups without pointInTimeRecovery (${app})`,
        index,
        'incrementalBaseBackups',
      );
  for (const [index, { app, compression, compressionLevel = 1 }] of series.entries())
    if (compression === 'gzip' && compressionLevel > 9)
      add(`gzip knows levels 1 to 9, not ${compressionLevel} (${app})`, index, 'compressionLevel');
}
