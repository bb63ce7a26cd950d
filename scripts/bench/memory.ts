import { backupContenders } from './contenders.ts';
import { addBallast, countRows, DATABASE } from './database.ts';
import { restoreContenders } from './restores.ts';
import { runRounds, type Contender, type Results } from './rounds.ts';
import type { Stage } from './stage.ts';
import { PEAK_LIMIT_MB, peakMegabytes, renderMemory, type Measured } from './table.ts';
import type { Report } from './times.ts';

/** The second database is so many times as large as the first. */
export const MEMORY_SCALE = 4;

const BACKUPS = ['gzip', 'zstd', 'custom'];
const RESTORES = ['restore gzip', 'restore zstd', 'restore custom'];

interface MemoryOptions {
  readonly gigabytes: number;
  readonly signal: AbortSignal;
  readonly onRun: (gigabytes: number, contender: Contender, measured: Measured) => void;
}

/** The agent's peak memory at two sizes of the database: it must not grow with what it moves. */
export async function measureMemory(stage: Stage, options: MemoryOptions): Promise<Report> {
  const sizes = [options.gigabytes, options.gigabytes * MEMORY_SCALE];
  const results: Results[] = [];
  for (const [index, gigabytes] of sizes.entries()) {
    if (index > 0) await addBallast(stage.postgres, gigabytes - options.gigabytes);
    results.push(await runAgentOnce(stage, gigabytes, options));
  }
  const rows = [...BACKUPS, ...RESTORES].map((id) => ({
    label: results[0]?.get(id)?.label ?? id,
    peaksMb: results.map((each) => peakMegabytes(each.get(id)?.runs ?? []) ?? 0),
  }));
  return {
    lines: renderMemory(sizes, rows),
    verdicts: rows.map(({ label, peaksMb }) => ({
      what: label,
      met: peaksMb.every((peak) => peak <= PEAK_LIMIT_MB),
    })),
  };
}

async function runAgentOnce(
  stage: Stage,
  gigabytes: number,
  { signal, onRun }: MemoryOptions,
): Promise<Results> {
  const expected = await countRows(stage.postgres, DATABASE);
  const contenders = [
    ...backupContenders(stage, signal).filter(({ id }) => BACKUPS.includes(id)),
    ...restoreContenders(stage, signal, expected).filter(({ id }) => RESTORES.includes(id)),
  ];
  return runRounds(contenders, 1, (_round, contender, measured) => onRun(gigabytes, contender, measured));
}
