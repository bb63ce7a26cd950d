import { z } from 'zod';
import { parseBackupId } from '../backup/backup-id.ts';
import type { DeploymentConfig, SeriesConfig } from '../deployment/config.ts';
import { LifeboatError } from '../errors.ts';
import { RECOVERY_FIELDS } from '../run/requested-recovery.ts';
import { describeIssues } from '../start/payload.ts';
import { isInstanceId, type Target } from '../start/places.ts';

/** What the restore Lambda is invoked with. */

const instanceId = z
  .string()
  .refine(isInstanceId, 'is no instance id such as i-0123456789abcdef0')
  .optional();

const listSchema = z.strictObject({ action: z.literal('list'), app: z.string().optional(), instanceId });

const planSchema = z.strictObject({
  action: z.literal('plan'),
  app: z.string().optional(),
  source: z.string().min(1).max(1024).refine(isPrintable, 'holds control characters'),
  database: z.string().min(1).refine(isPrintable, 'holds control characters'),
  replace: z.boolean().default(false),
  globals: z.boolean().default(false),
  instanceId,
});

/** Of a recovery, instead of a backup to restore. */
const TARGETS = ['toTime', 'toLsn', 'toXid', 'toName', 'latest', 'immediate'] as const;

const NOT_IN_PLACE = [
  ...(['tablespaceDir', 'port', 'database', 'table', 'keep'] as const),
  ...(['toDatabase', 'replace', 'globals'] as const),
];

const recoverySchema = z
  .strictObject({
    action: z.literal('plan'),
    app: z.string().optional(),
    instanceId,
    ...RECOVERY_FIELDS,
    /** With `database` or `table`: where it goes; the same database when left out. */
    toDatabase: z.string().min(1).refine(isPrintable, 'holds control characters').optional(),
    replace: z.boolean().default(false),
    globals: z.boolean().default(false),
    /** Is planned, and answered with the commands for the host. */
    inPlace: z.boolean().optional(),
  })
  .superRefine((payload, context) => {
    const takesOut = payload.database !== undefined || payload.table !== undefined;
    const [refused, why]: [readonly (keyof typeof payload)[], string] = payload.inPlace
      ? [NOT_IN_PLACE, 'means nothing in the place of the live cluster']
      : takesOut
        ? [
            ['end'],
            'goes with a cluster that stays; "database" and "table" are taken out of one that then goes',
          ]
        : [['toDatabase', 'replace', 'globals', 'keep'], 'goes with "database" or "table" only'];
    for (const name of refused) {
      if (payload[name] !== undefined && payload[name] !== false)
        context.addIssue({ code: 'custom', path: [name], message: why });
    }
  });

const executeSchema = z.strictObject({
  action: z.literal('execute'),
  planId: z.string().regex(/^plan-\d{8}T\d{6}Z-[0-9a-f]{16}$/, 'is no plan’s id; action plan makes one'),
  confirm: z.string(),
  replace: z.boolean().default(false),
  database: z.string().optional(),
});

const payloadSchema = z.discriminatedUnion('action', [listSchema, planSchema, executeSchema]);

export type RecoveryPlanPayload = z.infer<typeof recoverySchema>;
export type RestorePayload = z.infer<typeof payloadSchema> | RecoveryPlanPayload;
export type PlanPayload = z.infer<typeof planSchema>;
export type ExecutePayload = z.infer<typeof executeSchema>;

const EXPECTED = [
  '{"action":"list","app"?:"…","instanceId"?:"i-…"}',
  '{"action":"plan","app"?:"…","source":"latest" | a backup’s id | "s3://…","database":"…","replace"?:true|false,"globals"?:true|false,"instanceId"?:"i-…"}',
  '{"action":"plan","app"?:"…","toTime":"2026-01-17T08:54:59Z" | "toLsn":"…" | "toXid":"…" | "toName":"…" | "latest":true,"database"?:"…","table"?:"…","toDatabase"?:"…","replace"?:true|false,"end"?:"promote"|"pause"|"shutdown","dataDir"?:"/…","port"?:5433,"timeline"?:1,"base"?:"…","instanceId"?:"i-…"}',
  '{"action":"execute","planId":"…","confirm":"…","replace"?:true,"database"?:"…"}',
];

/** @throws LifeboatError USAGE naming every problem, with what is expected as its hint */
export function parseRestorePayload(event: unknown): RestorePayload {
  const parsed = (namesTarget(event) ? recoverySchema : payloadSchema).safeParse(event);
  if (parsed.success) return parsed.data;
  const problems = describeIssues(parsed.error).map((line) => `- ${line}`);
  throw new LifeboatError('USAGE', `The payload is wrong:\n${problems.join('\n')}`, {
    hint: `Expected is one of\n${EXPECTED.join('\n')}`,
  });
}

function namesTarget(event: unknown): boolean {
  if (typeof event !== 'object' || event === null || 'source' in event) return false;
  return TARGETS.some((name) => name in event);
}

function isPrintable(text: string): boolean {
  return !/\p{Cc}/u.test(text);
}

interface Wish {
  readonly app?: string | undefined;
  readonly instanceId?: string | undefined;
  readonly source?: string | undefined;
}

/** The series meant: by name, by the backup's id, or the only one there is. @throws LifeboatError USAGE */
export function chooseSeries({ app, source }: Wish, { series }: DeploymentConfig): SeriesConfig {
  const named = app ?? (source === undefined ? undefined : parseBackupId(source)?.app);
  const found =
    named === undefined && series.length === 1 ? series[0] : series.find((each) => each.app === named);
  if (found) return found;
  const apps = series.slice(0, 20).map((each) => each.app);
  const what =
    named === undefined ? 'There are several series' : `There is no series ${JSON.stringify(named)}`;
  throw new LifeboatError('USAGE', `${what}; this deployment has ${apps.join(', ')}`, {
    hint: `Add one of them, as in "app":${JSON.stringify(apps[0])}`,
  });
}

/** The host meant; `undefined` where a tag has several and none was named. @throws LifeboatError USAGE */
export function chooseTarget({ instanceId: wanted }: Wish, series: SeriesConfig): Target | undefined {
  const { host, app } = series;
  if ('tag' in host) return wanted === undefined ? undefined : { series, instanceId: wanted };
  if (wanted === undefined || wanted === host.instanceId) return { series, instanceId: host.instanceId };
  throw new LifeboatError('USAGE', `${app} lives on ${host.instanceId}, not on ${wanted}`, {
    hint: `Leave instanceId out. To restore on another host, name it as ${app}’s host in lifeboat.config.json and deploy that.`,
  });
}
