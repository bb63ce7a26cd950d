import { formatBytes, formatDuration } from '../quantities.ts';
import type { LastGoodBackup, RowTotals, RunFailure } from '../run/outcome.ts';
import { describeKind, describeSize, describeStored, type StoredBaseBackup } from './base-wording.ts';
import { oneLine, type Message } from './message.ts';
import {
  describeDatabase,
  describeFailure,
  describeLastGood,
  describeTotals,
  describeWarning,
  subjectOf,
} from './wording.ts';

/** How a run ended that makes a dump and a base backup, one after the other. */
export interface BothOutcome {
  readonly app: string;
  readonly host: string;
  readonly runId: string;
  readonly database: string;
  readonly durationMs: number;
  readonly warnings: readonly string[];
  /** What was made and stands; `undefined`: that half failed. */
  readonly dump: StoredDump | undefined;
  readonly base: StoredBaseBackup | undefined;
  /** Says which half failed. */
  readonly failure: RunFailure | undefined;
  /** Of the half that failed; `undefined` when there is none, `'unknown'` when nobody could look. */
  readonly lastGood?: LastGoodBackup | 'unknown' | undefined;
  readonly lastGoodBase?: LastGoodBackup | 'unknown' | undefined;
}

interface StoredDump {
  readonly id: string;
  readonly file: string;
  readonly bytes: number;
  readonly locations: readonly string[];
  readonly totals: RowTotals;
}

/** @param now for the age of what is left */
export function describeBothBackups(outcome: BothOutcome, now: Date): Message {
  const { app, failure } = outcome;
  const lines = failure ? describeBad(outcome, failure, now) : describeGood(outcome);
  return { subject: subjectOf('Backup', { app, succeeded: !failure }), body: lines.join('\n') };
}

function describeGood({ dump, base, ...run }: BothOutcome): string[] {
  return [
    '✅ Backup completed successfully',
    ...(dump ? [`File: ${oneLine(dump.file)}`, `Size: ${formatBytes(dump.bytes)}`] : []),
    ...(base
      ? [`Base backup: ${oneLine(base.label)}, ${describeKind(base)}`, `Its size: ${describeSize(base)}`]
      : []),
    `Duration: ${formatDuration(run.durationMs)}`,
    '',
    describeDatabase(run),
    ...(dump ? describeDump(dump) : []),
    ...(base ? describeStored(base, 'Base backup lies at') : []),
    ...run.warnings.map(describeWarning),
    ...(dump ? [`Restore with: lifeboat restore ${dump.id}`] : []),
    `Run: ${oneLine(run.runId)}`,
  ];
}

function describeBad(
  { dump, base, lastGood, lastGoodBase, ...run }: BothOutcome,
  failure: RunFailure,
  now: Date,
): string[] {
  return [
    ...describeFailure(failure, run.durationMs),
    '',
    describeDatabase(run),
    ...(dump
      ? [`Dump made all the same: ${oneLine(dump.id)}, ${formatBytes(dump.bytes)}`, ...describeDump(dump)]
      : [`Dump: ${describeLastGood(lastGood, now)}`]),
    ...(base
      ? [
          `Base backup stored all the same: ${oneLine(base.label)}`,
          ...describeStored(base, 'Base backup lies at'),
        ]
      : [`Base backup: ${describeLastGood(lastGoodBase, now)}`]),
    ...run.warnings.map(describeWarning),
    `Run: ${oneLine(run.runId)}`,
  ];
}

function describeDump({ locations, totals }: StoredDump): string[] {
  return [
    `Holds: ${describeTotals(totals)}`,
    ...locations.map((location) => `Dump lies at: ${oneLine(location)}`),
  ];
}
