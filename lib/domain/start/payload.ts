import { z } from 'zod';
import { parseBackupId } from '../backup/backup-id.ts';
import { parseBaseLabel } from '../base/base-label.ts';
import type { DeploymentConfig, SeriesConfig } from '../deployment/config.ts';
import { LifeboatError } from '../errors.ts';
import { BACKUP_KINDS, type BackupKind } from '../run/backup-kind.ts';
import { RUN_OPERATIONS } from '../run/request.ts';
import { isInstanceId } from './places.ts';

/** What start-run is invoked with, by the schedule or by hand. */
export interface StartPayload {
  readonly operation: (typeof RUN_OPERATIONS)[number];
  /** `backup`: what to make; what the series' configuration says when left out. */
  readonly kind: BackupKind | undefined;
  /** The minute for which the schedule meant it; `undefined` for a manual start. */
  readonly scheduledFor: Date | undefined;
  /** Of one host; all of the series' when left out. */
  readonly instanceId: string | undefined;
  /** `verify`: one dump or base backup; all dumps and the newest base backup when left out. */
  readonly backupId: string | undefined;
  /** Those that were asked for; all when none was named. */
  readonly series: readonly SeriesConfig[];
}

/** Of a dump or a base backup. */
function appOf(backupId: string): string | undefined {
  return (parseBackupId(backupId) ?? parseBaseLabel(backupId))?.app;
}

const HOUR_MS = 60 * 60 * 1000;
/** EventBridge keeps an undelivered event for a day; what is older was typed, and its run would lie where nobody looks. */
const OLDEST_SCHEDULE_MS = 72 * HOUR_MS;
const NEWEST_SCHEDULE_MS = 25 * HOUR_MS;

const payloadSchema = z.strictObject({
  operation: z.enum(RUN_OPERATIONS),
  kind: z.enum(BACKUP_KINDS).optional(),
  scheduledFor: z.iso.datetime({ offset: true }).optional(),
  app: z.string().optional(),
  instanceId: z.string().refine(isInstanceId, 'is no instance id such as i-0123456789abcdef0').optional(),
  backupId: z
    .string()
    .refine(
      (text) => appOf(text) !== undefined,
      'is no backup id such as hostmaster_db_20260117_020000 or hostmaster_base_20260117_020000',
    )
    .optional(),
});

type RawPayload = z.infer<typeof payloadSchema>;

/** @throws LifeboatError USAGE naming every problem, with what is expected as its hint */
export function parseStartPayload(event: unknown, config: DeploymentConfig, now: Date): StartPayload {
  const parsed = payloadSchema.safeParse(event);
  if (!parsed.success) throw wrongPayload(describeIssues(parsed.error), config);
  const problems = findContradictions(parsed.data, config, now);
  if (problems.length > 0) throw wrongPayload(problems, config);
  const { operation, kind, scheduledFor, instanceId, backupId } = parsed.data;
  return {
    operation,
    kind,
    scheduledFor: scheduledFor === undefined ? undefined : toMinute(scheduledFor),
    instanceId,
    backupId,
    series: selectSeries(parsed.data, config),
  };
}

const MINUTE_MS = 60 * 1000;

/**
 * A schedule knows minutes alone (https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html), and
 * its event may carry any second of one: two events of the same minute are one night.
 */
function toMinute(time: string): Date {
  return new Date(Math.floor(new Date(time).getTime() / MINUTE_MS) * MINUTE_MS);
}

function selectSeries(
  { app, backupId, instanceId }: RawPayload,
  { series }: DeploymentConfig,
): SeriesConfig[] {
  const wanted = app ?? (backupId === undefined ? undefined : appOf(backupId));
  return series.filter(
    (each) => (wanted === undefined || each.app === wanted) && mayLiveOn(each, instanceId),
  );
}

/** Whether a tag's hosts include the instance is SSM's to say. */
function mayLiveOn({ host }: SeriesConfig, instanceId: string | undefined): boolean {
  return instanceId === undefined || 'tag' in host || host.instanceId === instanceId;
}

function findContradictions(payload: RawPayload, config: DeploymentConfig, now: Date): string[] {
  const { app, instanceId, kind, operation, scheduledFor } = payload;
  const apps = config.series.map((each) => each.app);
  const problems = judgeBackupId(payload, apps);
  if (kind !== undefined && operation !== 'backup')
    problems.push(`kind: belongs to backup, not to ${operation}`);
  if (app !== undefined && !apps.includes(app))
    problems.push(`app: there is no series ${JSON.stringify(app)}; this deployment has ${listApps(apps)}`);
  if (scheduledFor !== undefined) problems.push(...judgeSchedule(new Date(scheduledFor), now));
  if (problems.length === 0 && selectSeries(payload, config).length === 0)
    problems.push(`instanceId: no series${app === undefined ? '' : ` ${app}`} lives on ${instanceId}`);
  return problems;
}

function judgeBackupId({ operation, app, backupId }: RawPayload, apps: readonly string[]): string[] {
  if (backupId === undefined) return [];
  const problems = operation === 'verify' ? [] : [`backupId: belongs to verify, not to ${operation}`];
  const owner = appOf(backupId) ?? '';
  if (app !== undefined && owner !== app) problems.push(`backupId: ${backupId} is no backup of ${app}`);
  else if (!apps.includes(owner))
    problems.push(`backupId: ${backupId} is of no series of this deployment, which has ${listApps(apps)}`);
  return problems;
}

function judgeSchedule(scheduledFor: Date, now: Date): string[] {
  const ageMs = now.getTime() - scheduledFor.getTime();
  if (ageMs <= OLDEST_SCHEDULE_MS && ageMs >= -NEWEST_SCHEDULE_MS) return [];
  return [`scheduledFor: ${scheduledFor.toISOString()} is not about now (${now.toISOString()})`];
}

/** Long lists help nobody. */
function listApps(apps: readonly string[]): string {
  const shown = apps.slice(0, 20).join(', ');
  return apps.length > 20 ? `${shown} and ${apps.length - 20} more` : shown;
}

/** `app: expected string, received number`; a value is never repeated at length. */
export function describeIssues(error: z.ZodError): string[] {
  return error.issues.map(({ path, message }) =>
    `${path.join('.') || 'the payload'}: ${message}`.slice(0, 300),
  );
}

function wrongPayload(problems: readonly string[], { series }: DeploymentConfig): LifeboatError {
  const operations = RUN_OPERATIONS.map((each) => JSON.stringify(each)).join(' | ');
  const kinds = BACKUP_KINDS.map((each) => JSON.stringify(each)).join(' | ');
  const apps = listApps(series.map(({ app }) => app));
  return new LifeboatError(
    'USAGE',
    `The payload is wrong:\n${problems.map((line) => `- ${line}`).join('\n')}`,
    {
      hint: `Expected is {"operation": ${operations}, "kind"?: ${kinds} (backup only), "app"?: one of ${apps}, "instanceId"?: "i-…", "backupId"?: "…" (verify only), "scheduledFor"?: "…" (the schedule only)}, as in {"operation":"backup"}`,
    },
  );
}
