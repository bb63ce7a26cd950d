import {
  formatSeconds,
  judge,
  peakMegabytes,
  renderMarkdown,
  renderMemory,
  renderRows,
  type Measured,
  type Row,
} from '../../scripts/bench/table.ts';

const runs = (...seconds: number[]): Measured[] =>
  seconds.map((each) => ({ seconds: each, cpuSeconds: each }));

const OLD: Row = { label: 'old', runs: runs(40, 50, 60), against: undefined };

function against(seconds: number[], ratio: number, comparison: '≤' | '<' = '≤'): Row {
  return { label: 'ours', runs: runs(...seconds), against: OLD.runs, target: { ratio, comparison } };
}

describe('a verdict', () => {
  it('is met at the target itself and missed above it', () => {
    expect(judge(against([16, 20, 24], 0.4))).toEqual({ what: 'ours', met: true });
    expect(judge(against([17, 21, 25], 0.4))).toEqual({ what: 'ours', met: false });
  });

  it('is missed at the target itself where less was asked for', () => {
    expect(judge(against([16, 20, 24], 0.4, '<'))?.met).toBe(false);
    expect(judge(against([15, 19, 23], 0.4, '<'))?.met).toBe(true);
  });

  it('goes by the ratio as it is printed', () => {
    expect(judge(against([16.1, 20.1, 24.1], 0.4))?.met).toBe(true);
  });

  it('is not given where nothing was asked for', () => {
    expect(judge(OLD)).toBeUndefined();
    expect(judge({ label: 'other', runs: runs(1, 1, 1), against: OLD.runs })).toBeUndefined();
  });
});

describe('the table', () => {
  it('shows median, range, ratio, target, verdict, CPU time, memory and file of each row', () => {
    const ours: Row = {
      ...against([19, 22, 30], 0.4),
      runs: [19, 22, 30].map((seconds) => ({
        seconds,
        cpuSeconds: seconds / 2,
        agent: { cpuSeconds: seconds / 4, peakBytes: seconds * 10e6 },
        fileBytes: 700e6,
      })),
    };
    const [head, , first, second] = renderRows('backup', [OLD, ours]).map((line) =>
      line.split('|').map((cell) => cell.trim()),
    );
    expect(head).toEqual([
      '', 'backup', 'median', 'min–max', 'ratio', 'target', '', 'CPU', 'peak memory', 'file', '',
    ]); // prettier-ignore
    expect(first).toEqual(['', 'old', '50.0 s', '40.0–60.0', '1', '', '', '50.0 s', '', '', '']);
    expect(second).toEqual([
      '', 'ours', '22.0 s', '19.0–30.0', '0.47', '≤ 0.40', '**missed**', '11.0 s (agent 5.5)', '300 MB', '700 MB', '',
    ]); // prettier-ignore
  });

  it('shows hundredths of a second only where there is no whole one', () => {
    expect(formatSeconds(0.034)).toBe('0.03 s');
    expect(formatSeconds(12.34)).toBe('12.3 s');
  });

  it('is formatted as the house formats Markdown: columns of equal width, numbers to the right', () => {
    expect(renderMarkdown(['what', 'n'], [['a\\|b', '1'], ['longer', '22']])).toEqual([
      '| what   |   n |',
      '| ------ | --: |',
      '| a\\|b   |   1 |',
      '| longer |  22 |',
    ]); // prettier-ignore
  });
});

describe('the agent’s memory', () => {
  it('is the highest of all rounds, rounded up', () => {
    const peaks = [250_000_001, 240e6].map((peakBytes) => ({
      ...runs(1)[0]!,
      agent: { cpuSeconds: 1, peakBytes },
    }));
    expect(peakMegabytes(peaks)).toBe(251);
  });

  it('is unknown of a run without an agent', () => {
    expect(peakMegabytes(runs(1, 2))).toBeUndefined();
  });

  it('is judged at every size', () => {
    const lines = renderMemory(
      [2.5, 10],
      [
        { label: 'backup', peaksMb: [250, 260] },
        { label: 'restore', peaksMb: [250, 301] },
      ],
    );
    expect(lines[0]).toMatch(/2\.5 GB \|\s+10 GB/);
    expect(lines[2]).toMatch(/250 MB \| 260 MB \| ≤ 300 MB \|\s+met/);
    expect(lines[3]).toMatch(/250 MB \| 301 MB \| ≤ 300 MB \| \*\*missed\*\*/);
  });
});
