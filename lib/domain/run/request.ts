import { z } from 'zod';
import { instanceIdSchema } from '../deployment/instance-id.ts';
import { LifeboatError } from '../errors.ts';
import { BACKUP_KINDS } from './backup-kind.ts';
import { requestedRecoverySchema } from './requested-recovery.ts';
import { isRunId } from './run-id.ts';
import { SERIES_FIELDS, STORAGE_FIELDS } from './shared-fields.ts';

/**
 * What a Lambda asks a host to do. The same object lies in the state bucket as `request.json` and travels to the host as
 * the SSM document's one parameter, in base64url: no character of it means anything to a shell, to JSON or to SSM's own
 * `{{ }}`. It carries no secret: SSM logs its parameters.
 */

export const REQUEST_SCHEMA_VERSION = 1;

/** What `start-run` may ask for; restores have a Lambda, a document and rights of their own. */
export const RUN_OPERATIONS = ['backup', 'verify', 'status', 'list', 'retention'] as const;

const text = z.string().max(1024);

/** Becomes part of a host name, to which credentials are sent. */
const region = z.string().regex(/^[a-z0-9-]{1,32}$/, 'is no region');
/** As lifeboat.config.json allows, and the bucket's root. */
const prefix = text
  .regex(/^([A-Za-z0-9!_.*'()-]+(\/[A-Za-z0-9!_.*'()-]+)*)?$/, 'is no row of names with slashes between them')
  .refine(
    (value) => !value.split('/').some((part) => part === '.' || part === '..'),
    'must not hold ".." parts',
  );

/** How the series is reached, on the host; the agent's settings in a name that is not an environment variable. */
const requestedSeries = z.object({
  ...SERIES_FIELDS,
  passwordSecretArn: SERIES_FIELDS.passwordSecretArn.optional(),
  pgBinDir: SERIES_FIELDS.pgBinDir.optional(),
  compressionLevel: SERIES_FIELDS.compressionLevel.optional(),
  backupDir: SERIES_FIELDS.backupDir.optional(),
  /** A service of the host streams WAL. */
  pointInTimeRecovery: z.boolean().optional(),
  incrementalBaseBackups: z.boolean().optional(),
});

const requestedStorage = z.object({
  bucket: STORAGE_FIELDS.bucketName,
  /** Of the backups; a host that was chosen by tag has its instance id at the end of it. */
  prefix,
  stateBucket: STORAGE_FIELDS.bucketName,
  /** Of `runs/`, without the instance id. */
  statePrefix: prefix,
  region,
  kmsKeyArn: STORAGE_FIELDS.kmsKeyArn.optional(),
  retentionDays: STORAGE_FIELDS.retentionDays,
});

const requestedRestore = z.object({
  /** `latest`, a backup’s id or an `s3://` URL; never a path of the host. */
  source: text,
  database: z.string().max(63),
  replace: z.boolean(),
  globals: z.boolean(),
  /** To a point in time; `source` then says it in words, and `database` is the one that is loaded into, if any is. */
  recovery: requestedRecoverySchema.optional(),
});

/**
 * A random number that the result must repeat. Hosts share a role, so each may write any run's result; but none may read
 * another's request, so none knows what to write.
 */
const NONCE = /^[0-9a-f]{32}$/;

export const runRequestSchema = z
  .object({
    schemaVersion: z.literal(REQUEST_SCHEMA_VERSION),
    runId: z.string().refine(isRunId, 'is no run id'),
    operation: z.enum([...RUN_OPERATIONS, 'restore']),
    trigger: z.enum(['schedule', 'manual']),
    instanceId: instanceIdSchema,
    nonce: z.string().regex(NONCE, 'is no nonce'),
    requestedAt: z.iso.datetime(),
    /** Of a backup; what the host's own settings say when left out. */
    kind: z.enum(BACKUP_KINDS).optional(),
    /** After it the run is certainly over: delivery and execution have timed out. */
    deadline: z.iso.datetime(),
    series: requestedSeries,
    storage: requestedStorage,
    /** `verify`: one backup; all of them when left out. */
    backupId: text.optional(),
    restore: requestedRestore.optional(),
  })
  .refine(({ operation, restore }) => (operation === 'restore') === (restore !== undefined), {
    message: 'a restore, and nothing else, says what to restore',
    path: ['restore'],
  })
  .refine(({ operation, kind }) => kind === undefined || operation === 'backup', {
    message: 'a backup, and nothing else, has a kind',
    path: ['kind'],
  });

export type RunRequest = z.infer<typeof runRequestSchema>;
export type RunOperation = RunRequest['operation'];

/**
 * The document's `allowedPattern`; anchored, because the SSM agent matches anywhere in the value otherwise. It says nothing
 * of the length: the agent compiles it by Go's RE2, which refuses to repeat anything more than 1000 times
 * (https://pkg.go.dev/regexp/syntax), and then no step of the document runs. Who writes and who reads the request checks
 * the length.
 */
export const ENCODED_REQUEST_PATTERN = '^[A-Za-z0-9_-]+$';

/** Characters of an encoded request; run-agent.sh has the same number. */
export const LONGEST_ENCODED_REQUEST = 8192;

/** base64url: no character of it means anything to a shell or to SSM’s `{{ }}`. */
export function encodeRequest(request: RunRequest): string {
  return Buffer.from(JSON.stringify(request), 'utf8').toString('base64url');
}

/** @throws LifeboatError USAGE saying what is wrong with it */
export function decodeRequest(encoded: string): RunRequest {
  if (encoded.length > LONGEST_ENCODED_REQUEST || !new RegExp(ENCODED_REQUEST_PATTERN).test(encoded))
    throw new LifeboatError(
      'USAGE',
      `The request is no base64url text of at most ${LONGEST_ENCODED_REQUEST} characters`,
    );
  return parseRequest(Buffer.from(encoded, 'base64url').toString('utf8'));
}

/** @param json as in `request.json` @throws LifeboatError USAGE */
export function parseRequest(json: string): RunRequest {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (cause) {
    throw new LifeboatError('USAGE', `The request is no JSON: ${(cause as Error).message}`, { cause });
  }
  const parsed = runRequestSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
  throw new LifeboatError('USAGE', `The request cannot be understood: ${problems.join('; ')}`, {
    hint: 'Agent and stack are of different versions: deploy the stack again.',
  });
}
