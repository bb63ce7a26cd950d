import { z } from 'zod';
import type { BackupCopy } from '../backup/catalog.ts';
import type { SeriesConfig } from '../deployment/config.ts';
import { LifeboatError } from '../errors.ts';
import { formatBytes, formatCount, formatDuration, formatTime } from '../quantities.ts';
import { requestedRecoverySchema } from '../run/requested-recovery.ts';
import { estimateRestore } from './estimate.ts';
import type { ExecutePayload } from './remote-payload.ts';

/** A restore that was planned from outside the host: `plans/<id>.json`, executed once and within the hour. */
const remotePlanSchema = z.object({
  schemaVersion: z.literal(1),
  planId: z.string(),
  createdAt: z.iso.datetime(),
  expiresAt: z.iso.datetime(),
  app: z.string(),
  instanceId: z.string(),
  /** What the host is given: a backup's id or an `s3://` URL, never `latest`, which may be another by then. */
  source: z.string(),
  database: z.string(),
  replace: z.boolean(),
  globals: z.boolean(),
  confirm: z.string(),
  /** To a point in time; `source` then says it in words. */
  recovery: requestedRecoverySchema.optional(),
});

export type RemotePlan = z.infer<typeof remotePlanSchema>;

const PLAN_LIFETIME_MS = 60 * 60 * 1000;

/** @throws LifeboatError CORRUPT */
export function parseRemotePlan(json: string): RemotePlan {
  try {
    return remotePlanSchema.parse(JSON.parse(json));
  } catch (cause) {
    throw new LifeboatError('CORRUPT', `The plan cannot be read: ${(cause as Error).message}`, {
      hint: 'Plan the restore again: {"action":"plan",…}',
    });
  }
}

/** `plan-20260117T080000Z-<16 hex>`. @param random 16 hex digits */
export function formatPlanId(time: Date, random: string): string {
  return `plan-${time.toISOString().slice(0, 19).replaceAll(/[-:]/g, '')}Z-${random}`;
}

export interface PlannedSource {
  /** As the host is given it. */
  readonly source: string;
  /** The backup's id, or the file's name. */
  readonly label: string;
  /** `undefined`: a file that is no backup of ours. */
  readonly copy: BackupCopy | undefined;
  readonly url: string;
  readonly size: number;
}

export interface PlanInput {
  readonly planId: string;
  readonly now: Date;
  readonly series: SeriesConfig;
  readonly instanceId: string;
  readonly database: string;
  readonly replace: boolean;
  readonly globals: boolean;
  readonly found: PlannedSource;
}

type Head = Pick<PlanInput, 'planId' | 'now' | 'series' | 'instanceId' | 'replace' | 'globals'>;

/** What every plan says, whatever it restores. */
export function planHead({
  planId,
  now,
  series,
  instanceId,
  replace,
  globals,
}: Head): Omit<RemotePlan, 'source' | 'database' | 'confirm'> {
  return {
    schemaVersion: 1,
    planId,
    createdAt: now.toISOString(),
    expiresAt: new Date(now.getTime() + PLAN_LIFETIME_MS).toISOString(),
    app: series.app,
    instanceId,
    replace,
    globals,
  };
}

/** Of one that replaces a database. */
export function stopWriters(database: string): string {
  return `Stop what writes to ${database} first: what is written during the restore stays in the old database`;
}

/** What a confirmation refers to; it is good for `PLAN_LIFETIME_MS`. */
export function makeRemotePlan(input: PlanInput): RemotePlan {
  const { instanceId, database, found } = input;
  return {
    ...planHead(input),
    source: found.source,
    database,
    confirm: `restore ${found.label} into ${database} on ${instanceId}`,
  };
}

/** What the plan's answer tells: steps in words, sizes, an estimate, and what to look out for. */
export interface PlanDescription {
  readonly steps: readonly string[];
  readonly backup: {
    readonly id: string;
    readonly startedAt: string | null;
    readonly database: string | null;
    readonly bytes: number;
    readonly rawBytes: number | null;
    readonly tables: number | null;
    readonly rows: number | null;
  };
  readonly estimate: string;
  readonly warnings: readonly string[];
}

/** The same for people, in what the restore function answers. */
export function describeRemotePlan(input: PlanInput): PlanDescription {
  const { found, series, database, replace } = input;
  const backup = describeSource(found);
  const rawSize = backup.rawBytes ?? found.size * USUAL_RATIO;
  const format = found.copy?.manifest?.dump.format ?? found.copy?.dump?.encoding.format ?? 'plain';
  const { downloadMs, restoreMs } = estimateRestore(found.size, rawSize, format, undefined);
  return {
    steps: describeSteps(input, backup),
    backup,
    estimate: `about ${formatDuration(downloadMs + restoreMs)}, until this host has measured its own`,
    warnings: warningsOf(found, series, database, replace),
  };
}

function describeSource({ label, size, copy }: PlannedSource): PlanDescription['backup'] {
  const nothing = { startedAt: null, database: null, rawBytes: null, tables: null, rows: null };
  const manifest = copy?.manifest;
  if (!manifest) return { id: label, bytes: size, ...nothing };
  return {
    id: label,
    startedAt: manifest.startedAt,
    database: manifest.database.name,
    bytes: size,
    rawBytes: manifest.dump.rawSize,
    tables: manifest.tables.length,
    rows: manifest.tables.reduce((sum, table) => sum + table.rows, 0),
  };
}

function describeSteps(input: PlanInput, { rawBytes, tables, rows }: PlanDescription['backup']): string[] {
  const { found, series, instanceId, database, replace, globals } = input;
  const options = `${replace ? ' --replace' : ''}${globals ? ' --globals' : ''}`;
  const proven = rawBytes !== null && tables !== null && rows !== null;
  return [
    `On ${instanceId}, as ${series.osUser}: lifeboat restore ${found.source} --to-database ${database}${options}`,
    `Download ${found.url} (${formatBytes(found.size)})${proven ? ' and check its size and SHA-256' : ''}`,
    `Restore ${proven ? `${formatBytes(rawBytes)} of SQL` : 'it'} beside ${database}, into a database of its own`,
    proven
      ? `Count ${formatCount(rows, 'row')} of ${formatCount(tables, 'table')} and compare them with the backup’s`
      : 'Compare no rows with a manifest: there is none',
    replace
      ? `Rename: what is ${database} now is kept under another name until you drop it`
      : `Rename it to ${database}; if a ${database} with data in it is there, the run is refused and touches nothing`,
  ];
}

/** A rule of thumb for text in gzip. */
const USUAL_RATIO = 6;

function warningsOf(
  { copy, label }: PlannedSource,
  series: SeriesConfig,
  database: string,
  replace: boolean,
): string[] {
  const warnings: string[] = [];
  if (!copy?.manifest)
    warnings.push(`${label} has no manifest: what it holds can be checked only as far as it can be read`);
  const other = copy?.manifest && copy.manifest.app !== series.app ? copy.manifest.app : undefined;
  if (other !== undefined) warnings.push(`${label} is a backup of ${other}, not of ${series.app}`);
  if (database === series.database && !replace)
    warnings.push(
      `${database} is what ${series.app} backs up: unless it is lost or empty, only "replace":true restores over it`,
    );
  if (replace) warnings.push(stopWriters(database));
  return warnings;
}

/** @throws LifeboatError RESTORE_REFUSED, USAGE: the plan is too old, or it was not confirmed as it asks for */
export function requireConfirmed(plan: RemotePlan, payload: ExecutePayload, now: Date): void {
  const { planId, expiresAt, confirm, replace, database } = plan;
  if (now.getTime() >= new Date(expiresAt).getTime()) {
    throw new LifeboatError(
      'RESTORE_REFUSED',
      `${planId} expired at ${formatTime(new Date(expiresAt))} UTC`,
      {
        hint: 'Plan the restore again: {"action":"plan",…}',
      },
    );
  }
  if (payload.confirm !== confirm)
    throw unconfirmed(
      `confirm is not the plan’s text`,
      `Read the plan, then send "confirm":${JSON.stringify(confirm)}`,
    );
  if (payload.database !== undefined && payload.database !== database)
    throw unconfirmed(
      `database is ${JSON.stringify(payload.database)}, and the plan restores into ${JSON.stringify(database)}`,
      'Plan the restore again for the database that you mean.',
    );
  if (payload.replace && !replace)
    throw unconfirmed('the plan replaces nothing', 'Plan it again with "replace":true, and read that plan.');
  if (replace && (!payload.replace || payload.database === undefined)) {
    throw unconfirmed(
      `the plan replaces ${JSON.stringify(database)}`,
      `Send "replace":true and type the database’s name again, as in "database":${JSON.stringify(database)}`,
    );
  }
}

function unconfirmed(reason: string, hint: string): LifeboatError {
  return new LifeboatError('RESTORE_REFUSED', `Nothing was started: ${reason}`, { hint });
}
