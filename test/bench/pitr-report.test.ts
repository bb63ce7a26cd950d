import { describePitr } from '../../scripts/bench/pitr/pitr-report.ts';
import type { Measured } from '../../scripts/bench/table.ts';

const THEIRS: Measured = { seconds: 10, cpuSeconds: 20, fileBytes: 1_000_000_000 };

function results(ours: Measured): Map<string, { label: string; runs: Measured[] }> {
  const found = new Map<string, { label: string; runs: Measured[] }>();
  const add = (id: string, run: Measured): unknown => found.set(id, { label: id, runs: [run, run, run] });
  for (const level of [1, 3]) {
    add(`limit ${level}`, { ...THEIRS, seconds: 7 });
    add(`pgbackrest ${level}`, THEIRS);
    add(`base ${level}`, ours);
  }
  for (const name of ['restore', 'drain', 'replay']) add(`pgbackrest ${name}`, THEIRS);
  for (const name of ['base restore', 'wal drain', 'wal replay']) add(name, ours);
  return found;
}

function ours(changes: Partial<Measured> = {}): Measured {
  const agent = { cpuSeconds: 15, peakBytes: 250e6 };
  return { seconds: 8.5, cpuSeconds: 18, fileBytes: 1_050_000_000, agent, ...changes };
}

const missed = (run: Measured): string[] =>
  describePitr(results(run))
    .verdicts.filter(({ met }) => !met)
    .map(({ what }) => what);

describe('the report beside pgBackRest', () => {
  it('holds wall time, the limit, bytes, CPU time and memory to what was asked for', () => {
    expect(missed(ours())).toEqual([]);
    expect(missed(ours({ seconds: 8.8 }))).toEqual([
      'full backup, level 1: wall time',
      'full backup, level 1: wall time against `tar \\| zstd -T2`',
      'full backup, level 3: wall time',
      'full backup, level 3: wall time against `tar \\| zstd -T2`',
      'restore: wall time until the server is open',
    ]);
    expect(missed(ours({ fileBytes: 1_060_000_000, cpuSeconds: 21 }))).toHaveLength(4);
    expect(missed(ours({ agent: { cpuSeconds: 1, peakBytes: 301e6 } }))).toHaveLength(5);
  });

  it('tells of what was measured where that is a part', () => {
    const all = results(ours());
    const part = new Map(['pgbackrest drain', 'wal drain'].map((id) => [id, all.get(id)!]));
    expect(describePitr(part).verdicts.map(({ what }) => what)).toEqual([
      'draining 100 WAL segments to S3',
      'wal drain, memory',
    ]);
  });

  it('shows both sides, the ratio and the verdict of each row', () => {
    const { lines } = describePitr(results(ours({ seconds: 9.1 })));
    const row = lines.find((line) => line.includes('replaying 100'))!;
    expect(row.split('|').map((cell) => cell.trim())).toEqual([
      '',
      'replaying 100 WAL segments from S3',
      '9.1 s',
      '',
      '10.0 s',
      '',
      '0.91',
      '≤ 0.90',
      '**missed**',
      '',
    ]);
  });
});
