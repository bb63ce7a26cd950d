import { formatBytes, formatCount, formatDuration } from '../quantities.ts';
import type { LastGoodBackup, RunFailure } from '../run/outcome.ts';
import { oneLine, type Message } from './message.ts';
import { describeFailure, describeLastGood, describeWarning, subjectOf } from './wording.ts';

/** How a base backup's run ended, as far as people are told of it. Sizes are bytes, durations milliseconds. */
export interface BaseBackupOutcome {
  readonly app: string;
  readonly host: string;
  readonly runId: string;
  readonly durationMs: number;
  readonly warnings: readonly string[];
  /** What was stored; also of a backup that holds damaged pages and so failed. */
  readonly stored: StoredBaseBackup | undefined;
  readonly failure: RunFailure | undefined;
  /** Of a failure: the newest good one; `undefined` when there is none, `'unknown'` when nobody could look. */
  readonly lastGood?: LastGoodBackup | 'unknown' | undefined;
}

export interface StoredBaseBackup {
  readonly label: string;
  /** Label of the backup that this one is combined with; `null`: a full one. */
  readonly parent: string | null;
  readonly bytes: number;
  readonly rawBytes: number;
  readonly startLsn: string;
  readonly stopLsn: string;
  /** A path or an `s3://` URL. */
  readonly location: string;
  /** Instants, ISO 8601 in UTC; `null` or left out: not known. */
  readonly restorable?: { readonly earliest: string; readonly latest: string; readonly holes: number } | null;
}

/** @param now for the age of the last good backup */
export function describeBaseBackup(outcome: BaseBackupOutcome, now: Date): Message {
  const { app, failure, stored } = outcome;
  const lines = failure ? describeBad(outcome, failure, now) : stored ? describeGood(outcome, stored) : [];
  return { subject: subjectOf('Base Backup', { app, succeeded: !failure }), body: lines.join('\n') };
}

function describeGood(outcome: BaseBackupOutcome, stored: StoredBaseBackup): string[] {
  return [
    '✅ Base backup completed successfully',
    `Backup: ${oneLine(stored.label)}`,
    `Kind: ${describeKind(stored)}`,
    `Size: ${describeSize(stored)}`,
    `Duration: ${formatDuration(outcome.durationMs)}`,
    '',
    ...describeStored(stored),
    ...(stored.location.startsWith('s3://')
      ? []
      : ['⚠️ Only on this host: it would be lost with the host. Set S3_BUCKET to have it elsewhere']),
    ...outcome.warnings.map(describeWarning),
    ...describeOrigin(outcome),
  ];
}

function describeBad(outcome: BaseBackupOutcome, failure: RunFailure, now: Date): string[] {
  const { stored } = outcome;
  return [
    ...describeFailure(failure, outcome.durationMs),
    '',
    ...(stored ? [`Stored all the same: ${oneLine(stored.label)}`, ...describeStored(stored)] : []),
    describeLastGood(outcome.lastGood, now),
    ...outcome.warnings.map(describeWarning),
    ...describeOrigin(outcome),
  ];
}

/** @param parent the label of the base backup that it is built on; `null` for a full one */
export function describeKind({ parent }: { readonly parent: string | null }): string {
  return parent === null ? 'full' : `incremental, on ${oneLine(parent)}`;
}

/** `1.2G (5.1G before compression)`. */
export function describeSize({ bytes, rawBytes }: { bytes: number; rawBytes: number }): string {
  return `${formatBytes(bytes)} (${formatBytes(rawBytes)} before compression)`;
}

/** @param where what the location's line begins with */
export function describeStored(
  { startLsn, stopLsn, location, restorable }: StoredBaseBackup,
  where = 'Lies at',
): string[] {
  return [
    `WAL: ${startLsn} to ${stopLsn}, all of it in the backup`,
    ...(restorable ? [describeRestorable(restorable)] : []),
    `${where}: ${oneLine(location)}`,
  ];
}

/** To the second: `2026-01-10T02:04:11.123456Z` is for programs. */
function describeRestorable({
  earliest,
  latest,
  holes,
}: NonNullable<StoredBaseBackup['restorable']>): string {
  const [from, to] = [earliest, latest].map((time) => oneLine(time).slice(0, 19).replace('T', ' '));
  const but =
    holes === 0 ? '' : `, but for ${formatCount(holes, 'hole')}: wal status on its host tells of each`;
  return `Restorable to any second: ${from} UTC to ${to} UTC${but}`;
}

function describeOrigin({ host, runId }: BaseBackupOutcome): string[] {
  return [`Host: ${oneLine(host)}`, `Run: ${oneLine(runId)}`];
}
