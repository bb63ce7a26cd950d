import { METRIC } from '../names.ts';

/**
 * Every alarm on a metric of ours: what raises it, what it says and where the runbook says what to do. Alarms on AWS' own
 * metrics (Lambda errors, dead letters, the rule) are listed with them, so that the runbook and the dashboard know all.
 */
export interface AlarmRule {
  /** The alarm's name is `<deployment>-<id>`; where there is one for each series, the app's name follows (`alarmName`). */
  readonly id: string;
  readonly title: string;
  /** The heading in docs/runbook.md; a test proves that it is there. */
  readonly runbookHeading: string;
  /** One alarm for each series, for each with point-in-time recovery, or one for the deployment. */
  readonly per: 'series' | 'recovery' | 'deployment';
  /** What to do at once, in the message itself. */
  readonly next?: string;
}

/** Stands in `next` for the app's name. */
export const APP_HERE = '<app>';
/** From any place: the host of a stack has no `lifeboat` in its PATH, and its settings come with each request. */
const MAKE_BASE = `invoke start-run with {"operation":"backup","kind":"base","app":"${APP_HERE}"}`;

export const ALARMS = {
  backupTooOld: {
    id: 'backup-too-old',
    title: 'The newest verified backup is too old',
    runbookHeading: 'Alarm: backup too old',
    per: 'series',
  },
  backupFailed: {
    id: 'backup-failed',
    title: 'A run failed',
    runbookHeading: 'Alarm: backup failed',
    per: 'series',
  },
  sizeDrop: {
    id: 'size-drop',
    title: 'The newest backup is much smaller than those before it',
    runbookHeading: 'Alarm: size drop',
    per: 'series',
  },
  runOverdue: {
    id: 'run-overdue',
    title: 'A run takes longer than it should',
    runbookHeading: 'Alarm: run overdue',
    per: 'series',
  },
  hostUnreachable: {
    id: 'host-unreachable',
    title: 'The host does not answer SSM',
    runbookHeading: 'Alarm: host unreachable',
    per: 'series',
  },
  recoveryBehind: {
    id: 'recovery-behind',
    title: 'The latest transactions cannot be recovered from S3',
    runbookHeading: 'Alarm: recovery behind',
    per: 'recovery',
    next: 'How far S3 is behind, and why, is told by wal status on its host; the command is in the runbook, On a host of the stack',
  },
  walSilent: {
    id: 'wal-silent',
    title: 'No WAL reaches S3',
    runbookHeading: 'Alarm: WAL silent',
    per: 'recovery',
    next: 'On its host, see whether the service of the WAL stream runs: systemctl list-units --all "*-wal*"',
  },
  recoveryHole: {
    id: 'recovery-hole',
    title: 'WAL is missing, and no base backup stands behind it',
    runbookHeading: 'Alarm: recovery hole',
    per: 'recovery',
    next: `Unless one is under way, have a base backup made: ${MAKE_BASE}`,
  },
  baseTooOld: {
    id: 'base-too-old',
    title: 'The newest base backup is too old',
    runbookHeading: 'Alarm: base backup too old',
    per: 'recovery',
    next: `Look what the last run said, then have one made: ${MAKE_BASE}`,
  },
  lambdaErrors: {
    id: 'lambda-errors',
    title: 'A Lambda function failed',
    runbookHeading: 'Alarm: Lambda errors',
    per: 'deployment',
  },
  deadLetters: {
    id: 'dead-letters',
    title: 'An event could not be delivered',
    runbookHeading: 'Alarm: dead letters',
    per: 'deployment',
  },
  ruleFailed: {
    id: 'rule-failed',
    title: 'EventBridge could not start a run',
    runbookHeading: 'Alarm: rule failed',
    per: 'deployment',
  },
  replicationFailed: {
    id: 'replication-failed',
    title: 'A backup was not copied to the second region',
    runbookHeading: 'Alarm: replication failed',
    per: 'deployment',
  },
  undeliverable: {
    id: 'message-undeliverable',
    title: 'A message could not be delivered by e-mail or to Slack',
    runbookHeading: 'Alarm: message undeliverable',
    per: 'deployment',
  },
} as const satisfies Record<string, AlarmRule>;

/** The metric behind each alarm of ours. */
export const ALARM_METRIC = {
  backupTooOld: METRIC.backupAge,
  backupFailed: METRIC.runFailed,
  sizeDrop: METRIC.sizeRatio,
  runOverdue: METRIC.runningShare,
  hostUnreachable: METRIC.hostUnreachable,
} as const;

/** The same, of series with point-in-time recovery alone. */
export const RECOVERY_ALARM_METRIC = {
  recoveryBehind: METRIC.restorableAge,
  walSilent: METRIC.walSilence,
  recoveryHole: METRIC.recoveryHoles,
  baseTooOld: METRIC.baseBackupAge,
} as const;

/** A backup below this share of the median of the seven before it raises the alarm. */
export const SIZE_DROP_RATIO = 0.5;
/** A run above this share of the time that it may take raises the alarm. */
export const OVERDUE_SHARE = 0.8;

/**
 * @param label of what, where the rule has several alarms: an app's name, or a function's
 * @param nest of many series: the nested stack. An app's name never has a `@`. CloudFormation makes new alarms before it
 * removes the old, so one that moves to a nested stack needs another name.
 */
export function alarmName(deployment: string, { id }: AlarmRule, label?: string, nest?: number): string {
  return (
    [deployment, id, ...(label === undefined ? [] : [label])].join('-') +
    (nest === undefined ? '' : `@${nest}`)
  );
}

/** The reverse: of which rule an alarm is, and which label it has; both `undefined` for one that is none of ours. */
export function parseAlarmName(
  deployment: string,
  name: string,
): { readonly rule: AlarmRule | undefined; readonly label: string | undefined } {
  const rest = name.startsWith(`${deployment}-`) ? name.slice(deployment.length + 1) : name;
  const rules: AlarmRule[] = Object.values(ALARMS);
  const rule = rules.find(({ id }) => rest === id || rest.startsWith(`${id}-`));
  const label = rule && rest.slice(rule.id.length + 1).replace(/@\d+$/, '');
  return { rule, label: label === '' ? undefined : label };
}

/** `alarm-backup-too-old`: the heading's anchor, as GitHub makes it. */
export function runbookAnchor(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-');
}
