import type { RunFailure } from '../run/outcome.ts';
import type { RunOperation } from '../run/request.ts';
import { oneLine, severalLines, type Message } from './message.ts';
import { describeDatabase, describeFailure, describeWarning, subjectOf } from './wording.ts';

/** What people read of runs that are neither backup nor restore, and of a backup that only the host's own word proves. */

/** As messages call them. */
export const OPERATION_TITLE: Readonly<Record<RunOperation, string>> = {
  backup: 'Backup',
  restore: 'Restore',
  verify: 'Verify',
  status: 'Status',
  list: 'List',
  retention: 'Retention',
};

export interface ReportedRun {
  /** As in `Verify`. */
  readonly what: string;
  readonly app: string;
  readonly database: string;
  readonly host: string;
  readonly runId: string;
  readonly durationMs: number;
  /** What the command printed. */
  readonly lines: readonly string[];
  readonly warnings: readonly string[];
  /** `undefined`: it succeeded. */
  readonly error: RunFailure | undefined;
}

/** The message of a run that a Lambda started, whatever it was to do. */
export function describeReport(run: ReportedRun): Message {
  const { what, error, lines, warnings, runId, durationMs } = run;
  const head = error ? describeFailure(error, durationMs) : [`✅ ${what} completed successfully`];
  return {
    subject: subjectOf(what, { app: run.app, succeeded: !error }),
    body: [
      ...head,
      ...(lines.length > 0 ? ['', ...lines.map((line) => oneLineKeepingIndent(line))] : []),
      '',
      describeDatabase(run),
      ...warnings.map(describeWarning),
      `Run: ${oneLine(runId)}`,
    ].join('\n'),
  };
}

/** The host says that it succeeded, and its result did not come as far as S3. */
export function describeUnprovenRun(
  run: Omit<ReportedRun, 'lines' | 'error' | 'durationMs'>,
  words: string,
): Message {
  return {
    subject: subjectOf(run.what, { app: run.app, succeeded: true }),
    body: [
      `✅ ${run.what} completed successfully`,
      `The host says: ${severalLines(words)}`,
      '',
      describeDatabase(run),
      '⚠️ Its result did not come as far as S3, so size and rows are not known here; ask the host: lifeboat status',
      ...run.warnings.map(describeWarning),
      `Run: ${oneLine(run.runId)}`,
    ].join('\n'),
  };
}

/** Tables are set by columns, so leading spaces count. */
function oneLineKeepingIndent(line: string): string {
  const indent = /^ */.exec(line)?.[0] ?? '';
  return indent + oneLine(line);
}

/** Where to look next, below a message. */
export interface RunLinks {
  readonly commandId: string | undefined;
  /** The command's output in the AWS console. */
  readonly outputUrl: string | undefined;
  readonly dashboardUrl: string | undefined;
}

/** What Slack shows and SNS carries, with room for the subject. */
const LONGEST_BODY = 35_000;

/** Ways to more, behind the message; a body that is too long for its channel is cut. */
export function withLinks(
  { subject, body }: Message,
  { commandId, outputUrl, dashboardUrl }: RunLinks,
): Message {
  const links = [
    ...(commandId === undefined ? [] : [`Command: ${oneLine(commandId)}`]),
    ...(outputUrl === undefined ? [] : [`Output: ${outputUrl}`]),
    ...(dashboardUrl === undefined ? [] : [`Dashboard: ${dashboardUrl}`]),
  ];
  const left = body.length - LONGEST_BODY;
  const shown = left > 0 ? `${body.slice(0, LONGEST_BODY)}\n… ${left} more characters …` : body;
  return { subject, body: [shown, ...links].join('\n') };
}
