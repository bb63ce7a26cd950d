import { z } from 'zod';
import { parseAppName } from '../backup/series.ts';

/**
 * What lifeboat.config.json says of a series or the storage and a request repeats: one schema for both, so that no value is
 * deployed which the host then refuses. The lengths are such that the longest of all of them together fit into a request.
 */

/** The longest folder and the longest host name or list of them that anybody has. */
const LONGEST_PLACE = 255;

const noControls = (text: string): boolean => !/\p{Cc}/u.test(text);

/** Names of PostgreSQL's have at most 63 bytes; a NUL or line break in one is nobody's intention. */
export const postgresName = z
  .string()
  .min(1)
  .refine((name) => new TextEncoder().encode(name).length <= 63, 'has more than 63 bytes')
  .refine(noControls, 'holds control characters');

/** Made and entered by root before it becomes another user. */
export const folder = z
  .string()
  .max(LONGEST_PLACE)
  .regex(/^\/[\w./-]*$/, 'is no absolute path of letters, digits, ".", "_" and "-"')
  .refine((path) => !path.split('/').includes('..'), 'must not hold ".." parts');

export const SERIES_FIELDS = {
  app: z.string().refine(isAppName, 'use 1 to 63 letters, digits, ".", "-" or "_", no ".."'),
  database: postgresName,
  /** A socket's folder or a host name, seen from the host that the agent runs on. */
  dbHost: z.string().min(1).max(LONGEST_PLACE).refine(noControls, 'holds control characters'),
  port: z.int().min(1).max(65535),
  user: postgresName,
  osUser: z.string().regex(/^[a-z_][a-z0-9_-]{0,31}$/, 'is no user name of Linux'),
  passwordSecretArn: z
    .string()
    .max(1024)
    .regex(
      /^arn:aws[a-z-]*:secretsmanager:[a-z0-9-]{1,32}:\d{12}:secret:[\w/+=.@-]+$/,
      'is no Secrets Manager ARN',
    ),
  pgBinDir: folder,
  format: z.enum(['plain', 'custom']),
  compression: z.enum(['gzip', 'zstd']),
  compressionLevel: z.int().min(1).max(19),
  backupDir: folder,
  localRetentionDays: z.int().min(1).max(36500),
} as const;

export const STORAGE_FIELDS = {
  bucketName: z
    .string()
    .regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, 'is no bucket name (3 to 63 of a-z, 0-9, "." and "-")'),
  kmsKeyArn: z
    .string()
    .regex(
      /^arn:aws[a-z-]{0,32}:kms:[a-z0-9-]{1,32}:\d{12}:key\/(mrk-[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$/,
      'is no ARN of a KMS key',
    ),
  retentionDays: z.int().min(1).max(3650),
} as const;

function isAppName(name: string): boolean {
  try {
    return parseAppName(name) === name;
  } catch {
    return false;
  }
}
