import { z } from 'zod';
import { parseAppName } from '../backup/series.ts';
import { LifeboatError } from '../errors.ts';
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

/** Names of PostgreSQL's have at most 63 bytes; a NUL or line break in one is nobody's intention. */
const databaseName = z
  .string()
  .min(1)
  .refine((name) => new TextEncoder().encode(name).length <= 63, 'has more than 63 bytes')
  .refine((name) => !/\p{Cc}/u.test(name), 'holds control characters');

const seriesSchema = z.strictObject({
  app: z
    .string()
    .refine(isAppName, 'use 1 to 63 letters, digits, ".", "-" or "_", no ".."')
    .default('hostmaster'),
  host: hostSchema,
  database: databaseName,
  /** A socket's folder or a host name, seen from the host that the agent runs on. */
  dbHost: z.string().min(1).default('/var/run/postgresql'),
  port: z.int().min(1).max(65535).default(5432),
  user: databaseName.default('postgres').describe('The PostgreSQL role.'),
  osUser: z
    .string()
    .regex(/^[a-z_][a-z0-9_-]{0,31}$/, 'is no user name of Linux')
    .default('postgres')
    .describe('The operating system’s user that the agent runs as; peer authentication needs no password.'),
  passwordSecretArn: z
    .string()
    .regex(
      /^arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:\d{12}:secret:[\w/+=.@-]+$/,
      'is no Secrets Manager ARN',
    )
    .optional()
    .describe('Only for a database that asks for a password; read on the host, never by a Lambda.'),
  pgBinDir: z
    .string()
    .regex(/^\/[\w./-]*$/, 'must be an absolute path')
    .optional(),
  format: z.enum(['plain', 'custom']).default('plain'),
  compression: z.enum(['gzip', 'zstd']).default('gzip'),
  compressionLevel: z.int().min(1).max(19).optional(),
  backupDir: z
    .string()
    .regex(/^\/[\w./-]*$/, 'must be an absolute path')
    .optional(),
  localRetentionDays: z.int().min(1).max(36500).default(7),
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
  for (const [index, { app, compression, compressionLevel = 1 }] of series.entries())
    if (compression === 'gzip' && compressionLevel > 9)
      add(`gzip knows levels 1 to 9, not ${compressionLevel} (${app})`, index, 'compressionLevel');
}

function isAppName(name: string): boolean {
  try {
    return parseAppName(name) === name;
  } catch {
    return false;
  }
}
