import { backupContenders } from './contenders.ts';
import { countRows, DATABASE } from './database.ts';
import { restoreContenders } from './restores.ts';
import { countingContenders } from './row-counting.ts';
import { runRounds, type Contender, type Results } from './rounds.ts';
import type { Stage } from './stage.ts';
import {
  judge,
  PEAK_LIMIT_MB,
  peakMegabytes,
  renderRows,
  type Measured,
  type Row,
  type Verdict,
} from './table.ts';

export interface Report {
  /** What else it was measured with; Markdown. */
  readonly facts?: readonly string[];
  /** Markdown. */
  readonly lines: readonly string[];
  readonly verdicts: readonly Verdict[];
}

export type OnRun = (round: number, contender: Contender, measured: Measured) => void;

/** How long everything takes. */
export async function measureTimes(
  stage: Stage,
  { rounds, signal, onRun }: { rounds: number; signal: AbortSignal; onRun: OnRun },
): Promise<Report> {
  const backups = backupContenders(stage, signal);
  // Reads the database once before anything is timed: into memory, and with its hint bits set.
  await backups[0]?.run();
  const backupResults = await runRounds([...backups, ...countingContenders(stage, signal)], rounds, onRun);
  const expected = await countRows(stage.postgres, DATABASE);
  const restoreResults = await runRounds(restoreContenders(stage, signal, expected), rounds, onRun);
  return describe(new Map([...backupResults, ...restoreResults]));
}

const AT_MOST = (ratio: number): Row['target'] => ({ ratio, comparison: '≤' });

function describe(results: Results): Report {
  const row = (id: string, against?: string, target?: Row['target']): Row => ({
    label: results.get(id)!.label,
    runs: results.get(id)!.runs,
    against: against === undefined ? undefined : results.get(against)!.runs,
    ...(target ? { target } : {}),
  });
  const tables: [title: string, rows: Row[]][] = [
    [
      'backup, against the old pipeline',
      [
        row('old'),
        row('gzip', 'old', AT_MOST(0.4)),
        row('zstd', 'old', AT_MOST(0.3)),
        row('custom', 'old'),
        row('local', 'old'),
      ],
    ],
    [
      'backup, against the fastest dump there can be',
      [
        row('limit'),
        row('zstd', 'limit', AT_MOST(1.6)),
        row('custom', 'limit'),
        row('local', 'limit'),
        row('pg_dump-Fc', 'limit'),
      ],
    ],
    [
      'counting rows, against the whole backup',
      [
        row('count plain', 'zstd', { ratio: 0.1, comparison: '<' }),
        row('count custom', 'custom', { ratio: 0.1, comparison: '<' }),
      ],
    ],
    [
      'restore, against the old way',
      [
        row('old restore'),
        row('restore gzip', 'old restore', AT_MOST(1)),
        row('restore zstd', 'old restore', AT_MOST(1)),
        row('restore custom', 'old restore', AT_MOST(0.75)),
        row('pg_restore', 'old restore'),
      ],
    ],
  ];
  const peak = peakMegabytes([...results.values()].flatMap(({ runs }) => runs)) ?? 0;
  const peakVerdict = { what: 'peak memory of the agent', met: peak <= PEAK_LIMIT_MB };
  return {
    lines: [
      ...tables.flatMap(([title, rows]) => [...renderRows(title, rows), '']),
      `Peak memory of the agent, the highest of all its runs above: ${peak} MB (target ≤ ${PEAK_LIMIT_MB} MB: ${peakVerdict.met ? 'met' : '**missed**'}).`,
    ],
    verdicts: [...tables.flatMap(([, rows]) => rows.flatMap((each) => judge(each) ?? [])), peakVerdict],
  };
}
