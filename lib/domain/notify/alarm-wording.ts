import { z } from 'zod';
import { parseAlarmName, runbookAnchor, type AlarmRule } from '../watch/alarms.ts';
import { oneLine, severalLines, type Message } from './message.ts';

/** What CloudWatch publishes when an alarm changes its state, as far as people want to read it. */
const alarmSchema = z.object({
  AlarmName: z.string(),
  AlarmDescription: z.string().nullish(),
  NewStateValue: z.enum(['ALARM', 'OK', 'INSUFFICIENT_DATA']),
  NewStateReason: z.string(),
  StateChangeTime: z.string(),
  OldStateValue: z.string().optional(),
  Region: z.string().optional(),
  AlarmArn: z.string().optional(),
});

export type AlarmNotice = z.infer<typeof alarmSchema>;

/** `undefined` for a message that is no alarm's. */
export function parseAlarm(text: string): AlarmNotice | undefined {
  if (!text.startsWith('{')) return undefined;
  try {
    return alarmSchema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/** An alarm that was made a moment ago and finds all well has never rung: that it is over is no news. */
export function isNews({ NewStateValue, OldStateValue }: AlarmNotice): boolean {
  return NewStateValue !== 'OK' || OldStateValue !== 'INSUFFICIENT_DATA';
}

export interface AlarmContext {
  /** The deployment's name, with which every alarm of ours begins. */
  readonly deployment: string;
  /** Where docs/runbook.md can be read. */
  readonly runbookUrl: string;
  readonly dashboardUrl: string | undefined;
}

const WORD = { ALARM: '🚨 ALARM', OK: '✅ OK again', INSUFFICIENT_DATA: '❔ NO DATA' } as const;

/** An alarm's message as a person would write it: what, of which series, why, since when, what to do. */
export function describeAlarm(alarm: AlarmNotice, context: AlarmContext): Message {
  const name = oneLine(alarm.AlarmName);
  const { rule, label } = parseAlarmName(context.deployment, name);
  const title = rule?.title ?? name;
  const of = label === undefined ? '' : `: ${label}`;
  const url = consoleAlarmUrl(alarm);
  return {
    subject: `${WORD[alarm.NewStateValue]} ${title}${of}`,
    body: [
      ...(alarm.AlarmDescription ? [severalLines(alarm.AlarmDescription)] : []),
      `Why: ${severalLines(alarm.NewStateReason)}`,
      `Since: ${formatSince(alarm.StateChangeTime)}`,
      `Alarm: ${name}${url === undefined ? '' : ` ${url}`}`,
      ...runbookLine(rule, alarm.AlarmDescription ?? '', context.runbookUrl),
      ...(context.dashboardUrl === undefined ? [] : [`Dashboard: ${context.dashboardUrl}`]),
    ].join('\n'),
  };
}

/** The alarm's own description names it already where the stack wrote it. */
function runbookLine(rule: AlarmRule | undefined, description: string, runbookUrl: string): string[] {
  if (!rule) return [];
  const anchor = `#${runbookAnchor(rule.runbookHeading)}`;
  return description.includes(anchor) ? [] : [`Runbook: ${runbookUrl}${anchor}`];
}

function consoleAlarmUrl({ AlarmArn, AlarmName }: AlarmNotice): string | undefined {
  const region = /^arn:aws:cloudwatch:([a-z0-9-]+):/.exec(AlarmArn ?? '')?.[1];
  if (region === undefined) return undefined;
  const name = encodeURIComponent(AlarmName);
  return `https://${region}.console.aws.amazon.com/cloudwatch/home?region=${region}#alarmsV2:alarm/${name}`;
}

/** As in `2026-01-18T05:00:00.000+0000`. */
function formatSince(time: string): string {
  const parsed = new Date(time.replace(/\+0000$/, 'Z'));
  if (Number.isNaN(parsed.getTime())) return oneLine(time);
  return `${parsed.toISOString().slice(0, 19).replace('T', ' ')} UTC`;
}
