import type { Results } from '../rounds.ts';
import { median, medianRatio } from '../statistics.ts';
import {
  formatSeconds,
  PEAK_LIMIT_MB,
  peakMegabytes,
  renderMarkdown,
  type Measured,
  type Verdict,
} from '../table.ts';
import type { Report } from '../times.ts';
import { LEVELS } from './base-backups.ts';
import { BACKLOG_SEGMENTS } from './wal-backlog.ts';

interface Quantity {
  readonly of: (run: Measured) => number;
  readonly format: (value: number) => string;
}

const WALL: Quantity = { of: ({ seconds }) => seconds, format: formatSeconds };
const CPU: Quantity = { of: ({ cpuSeconds }) => cpuSeconds, format: formatSeconds };
const STORED: Quantity = {
  of: ({ fileBytes }) => fileBytes ?? Number.NaN,
  format: (bytes) => `${Math.round(bytes / 1e6)} MB`,
};

/** Ours against another's, and what it is to be at most. */
interface Comparison {
  readonly what: string;
  readonly quantity: Quantity;
  readonly ours: string;
  readonly theirs: string;
  readonly target: number;
}

const HEAD = ['', 'ours', 'min–max', 'theirs', 'min–max', 'ratio', 'target', ''];

/** The ratios that were asked for, and the agent's peak memory; of what was measured. */
export function describePitr(results: Results): Report {
  const compared = comparisons()
    .filter(({ ours, theirs }) => results.has(ours) && results.has(theirs))
    .map((comparison) => compare(results, comparison));
  const peaks = ['base 1', 'base 3', 'base restore', 'wal drain', 'wal replay'].flatMap((id) => {
    const found = results.get(id);
    return found ? [{ label: found.label, peak: peakMegabytes(found.runs) ?? 0 }] : [];
  });
  return {
    lines: [
      ...renderMarkdown(
        HEAD,
        compared.map(({ cells }) => cells),
      ),
      '',
      ...renderMarkdown(
        ['peak memory of the agent', 'highest', 'target', ''],
        peaks.map(({ label, peak }) => [
          label,
          `${peak} MB`,
          `≤ ${PEAK_LIMIT_MB} MB`,
          peak <= PEAK_LIMIT_MB ? 'met' : '**missed**',
        ]),
      ),
    ],
    verdicts: [
      ...compared.map(({ verdict }) => verdict),
      ...peaks.map(({ label, peak }) => ({ what: `${label}, memory`, met: peak <= PEAK_LIMIT_MB })),
    ],
  };
}

function comparisons(): Comparison[] {
  const ofLevels = LEVELS.flatMap((level): Comparison[] => {
    const [ours, theirs] = [`base ${level}`, `pgbackrest ${level}`];
    const backup = `full backup, level ${level}`;
    return [
      { what: `${backup}: wall time`, quantity: WALL, ours, theirs, target: 0.85 },
      {
        what: `${backup}: wall time against \`tar \\| zstd -T2\``,
        quantity: WALL,
        ours,
        theirs: `limit ${level}`,
        target: 1.25,
      },
      { what: `${backup}: stored bytes`, quantity: STORED, ours, theirs, target: 1.05 },
      { what: `${backup}: CPU time`, quantity: CPU, ours, theirs, target: 1 },
    ];
  });
  return [
    ...ofLevels,
    {
      what: 'restore: wall time until the server is open',
      quantity: WALL,
      ours: 'base restore',
      theirs: 'pgbackrest restore',
      target: 0.85,
    },
    {
      what: `draining ${BACKLOG_SEGMENTS} WAL segments to S3`,
      quantity: WALL,
      ours: 'wal drain',
      theirs: 'pgbackrest drain',
      target: 0.9,
    },
    {
      what: `draining ${BACKLOG_SEGMENTS} WAL segments to S3 by \`archive_command\``,
      quantity: WALL,
      ours: 'push drain',
      theirs: 'pgbackrest drain',
      target: 0.9,
    },
    {
      what: `replaying ${BACKLOG_SEGMENTS} WAL segments from S3`,
      quantity: WALL,
      ours: 'wal replay',
      theirs: 'pgbackrest replay',
      target: 0.9,
    },
  ];
}

function compare(
  results: Results,
  { what, quantity, ours, theirs, target }: Comparison,
): { readonly cells: string[]; readonly verdict: Verdict } {
  const [own, other] = [ours, theirs].map((id) => results.get(id)!.runs.map((run) => quantity.of(run)));
  const ratio = medianRatio(own!, other!);
  // As printed: nobody should read "0.85, target ≤ 0.85, missed".
  const met = Number(ratio.toFixed(2)) <= target;
  return {
    cells: [
      what,
      ...[own!, other!].flatMap((values) => [quantity.format(median(values)), range(values, quantity)]),
      ratio.toFixed(2),
      `≤ ${target.toFixed(2)}`,
      met ? 'met' : '**missed**',
    ],
    verdict: { what, met },
  };
}

function range(values: readonly number[], { format }: Quantity): string {
  const [least, most] = [format(Math.min(...values)), format(Math.max(...values))];
  return least === most ? '' : `${least.replace(/ \w+$/, '')}–${most.replace(/ \w+$/, '')}`;
}
