import { z } from 'zod';
import {
  describeTarget,
  parseRecoveryRequest,
  type RecoveryRequest,
  type RecoveryTarget,
} from '../base/recovery-target.ts';
import { folder, postgresName } from './shared-fields.ts';

/**
 * A recovery to a point in time as it is asked for from outside the host: the options of `lifeboat restore --to-…` in the
 * names of their long forms. What is wrong with a target is said by whoever parses it: parseRequestedRecovery.
 */

const text = z.string().min(1).max(255);

export const RECOVERY_FIELDS = {
  toTime: text.optional(),
  toLsn: text.optional(),
  /** A number as well: JSON has them. */
  toXid: z.union([text, z.int().positive().transform(String)]).optional(),
  toName: text.optional(),
  latest: z.literal(true).optional(),
  immediate: z.literal(true).optional(),
  exclusive: z.boolean().optional(),
  timeline: z.int().positive().optional(),
  base: text.optional(),
  /** What becomes of the recovered cluster; the command's --action. */
  end: z.enum(['promote', 'pause', 'shutdown']).optional(),
  dataDir: folder.optional(),
  tablespaceDir: folder.optional(),
  port: z.int().min(1).max(65_535).optional(),
  /** Only this database of the recovered cluster … */
  database: postgresName.optional(),
  /** … or only these tables of it, a list quoted as in SQL, into the live server. */
  table: z.string().min(1).max(1024).optional(),
  keep: z.boolean().optional(),
} as const;

export const requestedRecoverySchema = z.object(RECOVERY_FIELDS);

export type RequestedRecovery = z.infer<typeof requestedRecoverySchema>;

/** @throws LifeboatError USAGE unless exactly one target is given, and is one */
export function parseRequestedRecovery(requested: RequestedRecovery): RecoveryRequest {
  const { timeline } = requested;
  return parseRecoveryRequest({
    ...requested,
    timeline: timeline === undefined ? undefined : String(timeline),
  });
}

/** Whether a database or tables are taken out of the recovered cluster, which then goes. */
export function takesOut({ database, table }: RequestedRecovery): boolean {
  return database !== undefined || table !== undefined;
}

/** As one would type them: `--to-time 2026-01-17T08:54:59.000000Z --base …`. */
export function recoveryOptionWords(requested: RequestedRecovery, target: RecoveryTarget): string[] {
  const { exclusive, timeline, base, end, dataDir, tablespaceDir, port, database, table, keep } = requested;
  const named = { timeline, base, action: end, dataDir, tablespaceDir, port, database, table };
  const options = Object.entries(named).flatMap(([name, value]) =>
    value === undefined ? [] : [`--${kebab(name)}`, inWords(String(value))],
  );
  const flags = [...(exclusive === true ? ['--exclusive'] : []), ...(keep === true ? ['--keep'] : [])];
  return [...targetWords(target, requested), ...options, ...flags];
}

function targetWords(target: RecoveryTarget, { toLsn, toXid, toName }: RequestedRecovery): string[] {
  switch (target.kind) {
    case 'time':
      return ['--to-time', target.time];
    case 'lsn':
      return ['--to-lsn', toLsn ?? ''];
    case 'xid':
      return ['--to-xid', toXid ?? ''];
    case 'name':
      return ['--to-name', inWords(toName ?? '')];
    case 'latest':
    case 'immediate':
      return [`--${target.kind}`];
  }
}

function kebab(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

function inWords(text: string): string {
  return /^[\w./:@,+-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

/** What a message names as the source: `the time 2026-01-17T08:54:59.000000Z`. */
export function recoverySource(requested: RequestedRecovery): string {
  return describeTarget(parseRequestedRecovery(requested).target);
}
