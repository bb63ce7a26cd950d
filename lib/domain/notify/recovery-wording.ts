import { formatDuration } from '../quantities.ts';
import type { RecoveredFacts } from '../run/result.ts';
import { oneLine, type Message } from './message.ts';
import { describeWarning, subjectOf } from './wording.ts';

/** What people read of a recovery to a point in time. */

export interface RecoveredRun {
  readonly app: string;
  readonly database: string;
  readonly host: string;
  readonly runId: string;
  readonly durationMs: number;
  readonly warnings: readonly string[];
}

const STATE = {
  open: 'open',
  paused: 'paused, for reading',
  stopped: 'promoted and stopped',
} as const;

/** A cluster that stands beside the live one. */
export function describeRecoveredCluster(
  run: RecoveredRun,
  recovered: RecoveredFacts & { readonly cluster: NonNullable<RecoveredFacts['cluster']> },
): Message {
  const { dataDir, state, look, stop, remove } = recovered.cluster;
  return {
    subject: subjectOf('Recovery', { app: run.app, succeeded: true }),
    body: [
      '✅ Recovery completed successfully',
      `Target: ${oneLine(recovered.target)}`,
      ...recoveredLines(recovered),
      `Duration: ${formatDuration(run.durationMs)}${partsOf(recovered)}`,
      '',
      `Cluster: ${oneLine(dataDir)} on ${oneLine(run.host)}, ${STATE[state]}${recovered.timeline === null ? '' : `, timeline ${recovered.timeline}`}`,
      `Look: ${oneLine(look)}`,
      `Stop: ${oneLine(stop)}`,
      `Remove: ${oneLine(remove)}`,
      `Safe: the live cluster, with ${oneLine(run.database)}, is as it was`,
      ...run.warnings.map(describeWarning),
      `Run: ${oneLine(run.runId)}`,
    ].join('\n'),
  };
}

/** Where it came to, and what may be missing. */
export function recoveredLines({ lastCommit, lsn, loss, base }: RecoveredFacts): string[] {
  const commit = lastCommit === null ? 'no commit behind the base backup' : `last commit ${lastCommit}`;
  const position = lsn === null ? '' : ` at ${lsn}`;
  return [
    `Recovered: ${oneLine(`${commit}${position}`)}, from ${oneLine(base)}`,
    ...(loss === null ? [] : [`Loss: ${oneLine(loss)}`]),
  ];
}

function partsOf({ durationsMs }: RecoveredFacts): string {
  const parts = Object.entries(durationsMs)
    .filter(([name]) => name !== 'total')
    .map(([name, milliseconds]) => `${oneLine(name)} ${formatDuration(milliseconds)}`);
  return parts.length > 0 ? ` (${parts.join(', ')})` : '';
}
