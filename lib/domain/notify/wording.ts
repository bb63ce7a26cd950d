import { displayName } from '../backup/series.ts';
import { formatBytes, formatCount, formatDuration, formatTime } from '../quantities.ts';
import type { BackupOutcome, LastGoodBackup, RestoreOutcome, RowTotals, RunFailure } from '../run/outcome.ts';
import { oneLine, severalLines, type Message } from './message.ts';

/** What people read when a run has ended: the user's own words first, then what they would ask next. */

type Succeeded<Outcome> = Extract<Outcome, { succeeded: true }>;
type Failed<Outcome> = Extract<Outcome, { succeeded: false }>;

/** The message of a dump, good or failed. @param now for the age of the last good one */
export function describeBackup(outcome: BackupOutcome, now: Date): Message {
  const lines = outcome.succeeded ? describeGoodBackup(outcome) : describeFailedBackup(outcome, now);
  return { subject: subjectOf('Backup', outcome), body: lines.join('\n') };
}

/** The message of a restore, good or failed. */
export function describeRestore(outcome: RestoreOutcome): Message {
  const lines = outcome.succeeded ? describeGoodRestore(outcome) : describeFailedRestore(outcome);
  return { subject: subjectOf('Restore', outcome), body: lines.join('\n') };
}

/** The message of `lifeboat notify --test`. */
export function describeTest({ app, host }: { app: string; host: string }, now: Date): Message {
  return {
    subject: `🔄 ${displayName(app)} DB Notification TEST`,
    body: [
      '✅ This channel works: success and failure of backups and restores will be told here',
      `Sent by: lifeboat notify --test on ${oneLine(host)}`,
      `Sent at: ${formatTime(now)} UTC`,
    ].join('\n'),
  };
}

/** @param what as in `Backup` */
export function subjectOf(what: string, outcome: { app: string; succeeded: boolean }): string {
  return `🔄 ${displayName(outcome.app)} DB ${what} ${outcome.succeeded ? 'SUCCESS' : 'FAILED'}`;
}

function describeGoodBackup(outcome: Succeeded<BackupOutcome>): string[] {
  const offSite = outcome.locations.some((location) => location.startsWith('s3://'));
  return [
    '✅ Backup completed successfully',
    `File: ${oneLine(outcome.file)}`,
    `Size: ${formatBytes(outcome.bytes)}`,
    `Duration: ${formatDuration(outcome.durationMs)}`,
    '',
    describeDatabase(outcome),
    `Holds: ${describeTotals(outcome.totals)}`,
    ...outcome.locations.map((location) => `Lies at: ${oneLine(location)}`),
    ...(offSite
      ? []
      : ['⚠️ Only on this host: it would be lost with the host. Set S3_BUCKET for a copy elsewhere']),
    ...outcome.warnings.map(describeWarning),
    `Restore with: lifeboat restore ${outcome.id}`,
    `Run: ${oneLine(outcome.runId)}`,
  ];
}

function describeFailedBackup(outcome: Failed<BackupOutcome>, now: Date): string[] {
  return [
    ...describeFailure(outcome.error, outcome.durationMs),
    '',
    describeDatabase(outcome),
    describeLastGood(outcome.lastGood, now),
    ...outcome.warnings.map(describeWarning),
    `Run: ${oneLine(outcome.runId)}`,
  ];
}

function describeGoodRestore(outcome: Succeeded<RestoreOutcome>): string[] {
  const { checked, keptAs, recovered = [] } = outcome;
  const kept = keptAs === undefined ? undefined : oneLine(keptAs);
  return [
    '✅ Restore completed successfully',
    `Source: ${oneLine(outcome.source)}`,
    ...recovered,
    `Duration: ${formatDuration(outcome.durationMs)}`,
    '',
    describeDatabase(outcome),
    checked
      ? `Checked: ${describeTotals(checked)}, as the manifest says`
      : '⚠️ Not checked: the backup has no manifest to compare row counts with',
    ...(kept === undefined
      ? []
      : [`Kept: the database that stood there before, as ${kept}; drop it when you are sure`]),
    ...outcome.warnings.map(describeWarning),
    `Run: ${oneLine(outcome.runId)}`,
  ];
}

function describeFailedRestore(outcome: Failed<RestoreOutcome>): string[] {
  const database = oneLine(outcome.database);
  return [
    ...describeFailure(outcome.error, outcome.durationMs),
    '',
    `Source: ${oneLine(outcome.source)}`,
    describeDatabase(outcome),
    outcome.targetUntouched
      ? `Safe: ${database} is as it was before`
      : `⚠️ ${database} may be incomplete: look at it before anyone uses it`,
    ...outcome.warnings.map(describeWarning),
    `Run: ${oneLine(outcome.runId)}`,
  ];
}

/** The lines that every message of a failure begins with. */
export function describeFailure(error: RunFailure, durationMs: number): string[] {
  return [
    `❌ ${severalLines(error.message)}`,
    `What to do: ${severalLines(error.hint)}`,
    `Error: ${error.code}`,
    `Duration: ${formatDuration(durationMs)}`,
  ];
}

/** @param lastGood `unknown`: it could not be looked up; `undefined`: there is none */
export function describeLastGood(lastGood: LastGoodBackup | 'unknown' | undefined, now: Date): string {
  if (lastGood === 'unknown') return '⚠️ Last good backup: could not be looked up; run: lifeboat status';
  if (!lastGood) return '⚠️ There is no good backup of this database yet';
  const age = formatDuration(now.getTime() - lastGood.finishedAt.getTime());
  return `Last good backup: ${lastGood.id}, ${age} old (${formatTime(lastGood.finishedAt)} UTC), is safe`;
}

export function describeDatabase({ database, host }: { database: string; host: string }): string {
  return `Database: ${oneLine(database)} on ${oneLine(host)}`;
}

export function describeTotals({ tables, rows }: RowTotals): string {
  return `${formatCount(tables, 'table')}, ${formatCount(rows, 'row')}`;
}

export function describeWarning(warning: string): string {
  return `⚠️ ${severalLines(warning)}`;
}
