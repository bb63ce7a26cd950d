import type { RecoveryPlan } from '../base/recovery-plan.ts';
import { estimateRecovery } from '../base/recovery-estimate.ts';
import { describeTarget, type RecoveryRequest } from '../base/recovery-target.ts';
import type { SeriesConfig } from '../deployment/config.ts';
import { LifeboatError } from '../errors.ts';
import { formatBytes, formatCount, formatDuration } from '../quantities.ts';
import { recoveryOptionWords, takesOut, type RequestedRecovery } from '../run/requested-recovery.ts';
import { describeWindow } from '../wal/window-report.ts';
import type { RestorableWindow } from '../wal/window.ts';
import { planHead, stopWriters, type RemotePlan } from './remote-plan.ts';

export interface RecoveryPlanInput {
  readonly planId: string;
  readonly now: Date;
  readonly series: SeriesConfig;
  readonly instanceId: string;
  readonly request: RecoveryRequest;
  readonly requested: RequestedRecovery;
  /** What is loaded into, where a database or tables are taken out of the recovered cluster. */
  readonly toDatabase: string | undefined;
  readonly replace: boolean;
  readonly globals: boolean;
  readonly window: RestorableWindow;
  /** `undefined`: only the host, which reads the WAL, can tell where the target lies. */
  readonly plan: RecoveryPlan | undefined;
  /** Of the run. */
  readonly runMinutes: number;
}

/** As it was planned it is executed: from that base backup, on that timeline, whatever else there is by then. */
export function makeRecoveryPlan(input: RecoveryPlanInput): RemotePlan {
  const { requested, plan, request } = input;
  const database = targetOf(input);
  const pinned =
    plan && request.target.kind !== 'latest' ? { base: plan.base.label, timeline: plan.timeline } : {};
  return {
    ...planHead(input),
    source: `recovery to ${describeTarget(request.target)}`,
    database,
    confirm: confirmText(input, database),
    recovery: { ...requested, ...pinned },
  };
}

/** As the documents install it, for people. */
const AGENT = '/opt/lifeboat/current/bin/lifeboat';

/**
 * In the place of the live cluster it is done by somebody on the host, who stops what uses the cluster and looks at the plan there:
 * which service, which directories, how much room. All that S3 tells is decided already.
 */
export function sendToHost(input: RecoveryPlanInput): LifeboatError {
  const { series, instanceId, request } = input;
  const { recovery } = makeRecoveryPlan(input);
  const words = recoveryOptionWords(recovery!, request.target)
    .join(' ')
    .replaceAll("'", String.raw`'\''`);
  const command = (last: string): string =>
    `sudo sh -c 'set -a; . /etc/lifeboat/${series.app}-wal.env; set +a; cd /; exec ${AGENT} restore ${words} --in-place${last}'`;
  const { window, warnings } = describeRecoveryPlan(input);
  return new LifeboatError(
    'RESTORE_REFUSED',
    [
      `It can be recovered, but in the place of the live cluster of ${series.app} that is done on its host. Nothing was started`,
      ...window,
      ...warnings,
    ].join('\n'),
    {
      hint: [
        'Stop what uses the cluster, then look at the plan there, and do it:',
        `aws ssm start-session --target ${instanceId}`,
        command(' --dry-run'),
        command(''),
      ].join('\n'),
    },
  );
}

function targetOf({ toDatabase, requested, series }: RecoveryPlanInput): string {
  return toDatabase ?? requested.database ?? series.database;
}

function confirmText(
  { request, requested, series, instanceId }: RecoveryPlanInput,
  database: string,
): string {
  const to = `to ${describeTarget(request.target)}`;
  if (!takesOut(requested)) return `recover the cluster of ${series.app} ${to} beside it on ${instanceId}`;
  const what = requested.table === undefined ? `${requested.database}` : `the tables ${requested.table}`;
  return `recover ${what} of ${series.app} ${to} into ${database} on ${instanceId}`;
}

/** What the plan's answer tells. */
export interface RecoveryPlanDescription {
  readonly target: string;
  readonly steps: readonly string[];
  readonly recovery: {
    readonly systemIdentifier: string;
    readonly base: string;
    readonly chain: readonly string[];
    readonly timeline: number;
    readonly wal: { readonly first: string | null; readonly last: string | null; readonly segments: number };
    readonly bytes: { readonly base: number; readonly wal: number; readonly disk: number };
    readonly minutes: number;
  } | null;
  /** Lines of what can be recovered at all. */
  readonly window: readonly string[];
  readonly estimate: string;
  readonly warnings: readonly string[];
}

/** For people, in what the restore function answers. */
export function describeRecoveryPlan(input: RecoveryPlanInput): RecoveryPlanDescription {
  const { plan, window, request } = input;
  const milliseconds = plan && estimateRecovery(plan);
  return {
    target: describeTarget(request.target),
    steps: describeSteps(input),
    recovery: plan ? describePlan(plan, milliseconds ?? 0) : null,
    window: describeWindow(window),
    estimate:
      milliseconds === undefined
        ? 'not known: the host looks for the target in the WAL first'
        : `about ${formatDuration(milliseconds)} until the cluster is there${takesOut(input.requested) ? ', then the dump and the load' : ''}`,
    warnings: warningsOf(input, milliseconds),
  };
}

function describePlan(
  plan: RecoveryPlan,
  milliseconds: number,
): NonNullable<RecoveryPlanDescription['recovery']> {
  const { systemIdentifier, base, chain, timeline, wal, walNeeded, bytes } = plan;
  return {
    systemIdentifier,
    base: base.label,
    chain: chain.map(({ label }) => label),
    timeline,
    wal: { first: wal[0]?.name ?? null, last: wal[walNeeded - 1]?.name ?? null, segments: walNeeded },
    bytes: { base: bytes.base, wal: bytes.wal, disk: bytes.disk },
    minutes: Math.ceil(milliseconds / 60_000),
  };
}

function describeSteps(input: RecoveryPlanInput): string[] {
  const { series, instanceId, requested, request, plan, replace, globals, toDatabase } = input;
  const into = [
    ...(toDatabase === undefined ? [] : ['--to-database', toDatabase]),
    ...(replace ? ['--replace'] : []),
    ...(globals ? ['--globals'] : []),
  ];
  const words = [...recoveryOptionWords(requested, request.target), ...into].join(' ');
  return [
    `On ${instanceId}, as ${series.osUser}: lifeboat restore ${words}`,
    plan
      ? `Fetch ${plan.base.label} (${formatBytes(plan.bytes.base)}), check and unpack it, and replay ${formatCount(plan.walNeeded, 'WAL segment')} (${formatBytes(plan.bytes.wal)})`
      : 'Look for the target in the WAL, fetch the base backup before it, and replay the WAL between the two',
    `The recovered cluster lies ${requested.dataDir === undefined ? `in the backup folder of ${series.app}` : `in ${requested.dataDir}`}, isolated: nobody but ${series.osUser} gets in, nothing goes out`,
    ...(takesOut(input.requested) ? takeOutSteps(input) : [stateStep(requested)]),
  ];
}

function stateStep({ end = 'promote', port }: RequestedRecovery): string {
  const where = port === undefined ? 'on a socket in that folder' : `on localhost, port ${port}`;
  const states = {
    promote: `Leave it open ${where}; the live cluster is not touched`,
    pause: `Leave it open ${where}, for reading; the live cluster is not touched`,
    shutdown: 'Leave it stopped; the live cluster is not touched',
  };
  return states[end];
}

function takeOutSteps(input: RecoveryPlanInput): string[] {
  const { requested, replace } = input;
  const target = targetOf(input);
  const table = requested.table !== undefined;
  const database = requested.database ?? input.series.database;
  return [
    `Dump ${table ? `the tables ${requested.table} of ` : ''}its database ${database}, load that beside ${target} of the live server, and compare all rows`,
    table
      ? `In one transaction: ${replace ? 'move the tables that are there to another schema, and ' : ''}put them into ${target}${replace ? '' : '; if one of them is there, the run is refused and touches nothing'}`
      : replace
        ? `Rename: what is ${target} now is kept under another name until you drop it`
        : `Rename it to ${target}; if a ${target} with data in it is there, the run is refused before it begins`,
    requested.keep === true
      ? 'Leave the recovered cluster open'
      : 'Shut the recovered cluster down and remove it',
  ];
}

function warningsOf(input: RecoveryPlanInput, milliseconds: number | undefined): string[] {
  const { plan, runMinutes, replace, requested } = input;
  const warnings = [...(plan?.notes ?? [])];
  if (milliseconds !== undefined && milliseconds > runMinutes * 60_000 * 0.8) {
    warnings.push(
      `This may take longer than a run may: raise limits.runMinutes (${runMinutes}) in lifeboat.config.json and deploy it, or recover on the host itself`,
    );
  }
  if (replace && requested.table === undefined) warnings.push(stopWriters(targetOf(input)));
  return warnings;
}
