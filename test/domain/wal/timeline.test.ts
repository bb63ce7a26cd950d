import { LifeboatError } from '../../../lib/domain/errors.ts';
import {
  parseHistory,
  timelineOfLsn,
  timelinePath,
  type TimelineSwitch,
} from '../../../lib/domain/wal/timeline.ts';
import { mulberry32 } from '../../lambda/start-run/virtual-time.ts';

const left = (timeline: number, switchLsn: bigint): TimelineSwitch => ({ timeline, switchLsn, reason: '' });

describe('A history file', () => {
  it('tells the ancestors, oldest first, with what PostgreSQL wrote for a reason', () => {
    const text = [
      '1\t0/3000158\tno recovery target specified',
      '# a comment',
      '',
      '2\t0/5000000\tbefore 2026-01-17 08:54:59.123456+00',
      '',
    ].join('\n');
    expect(parseHistory(text, '00000003.history')).toEqual([
      { timeline: 1, switchLsn: 0x3000158n, reason: 'no recovery target specified' },
      { timeline: 2, switchLsn: 0x5000000n, reason: 'before 2026-01-17 08:54:59.123456+00' },
    ]);
    expect(parseHistory('', 'x')).toEqual([]);
    expect(parseHistory('1 0/3000158\r\n', 'x')).toEqual([left(1, 0x3000158n)]);
  });

  it('is refused with its name where a line is none, or timelines do not ascend', () => {
    for (const text of [
      'x',
      '1',
      '1\t3000158',
      '0\t0/1\tx',
      '1\t0/1\tx\n1\t0/2\tx',
      '2\t0/1\n1\t0/2',
      '4294967296\t0/1',
    ]) {
      expect(() => parseHistory(text, 's3://b/00000003.history')).toThrow('s3://b/00000003.history');
      try {
        parseHistory(text, 'x');
      } catch (error) {
        expect((error as LifeboatError).code).toBe('CORRUPT');
      }
    }
  });
});

describe('The way to a timeline', () => {
  it('is one open stretch for the first', () => {
    expect(timelinePath(1, [])).toEqual([{ timeline: 1, from: 0n, to: undefined }]);
  });

  it('changes where each ancestor was left', () => {
    expect(timelinePath(4, [left(1, 100n), left(2, 250n)])).toEqual([
      { timeline: 1, from: 0n, to: 100n },
      { timeline: 2, from: 100n, to: 250n },
      { timeline: 4, from: 250n, to: undefined },
    ]);
  });

  it('leaves out an ancestor that was never reached, or left at once', () => {
    expect(timelinePath(3, [left(1, 100n), left(2, 50n)])).toEqual([
      { timeline: 1, from: 0n, to: 50n },
      { timeline: 3, from: 50n, to: undefined },
    ]);
    expect(timelinePath(3, [left(1, 100n), left(2, 100n)])).toEqual([
      { timeline: 1, from: 0n, to: 100n },
      { timeline: 3, from: 100n, to: undefined },
    ]);
  });

  it('finds for every position the timeline that PostgreSQL’s tliOfPointInHistory finds', () => {
    const chance = mulberry32(4);
    for (let round = 0; round < 300; round += 1) {
      const count = Math.floor(chance() * 5);
      const switches = Array.from({ length: count }, (_, index) =>
        left(index + 1, BigInt(1 + Math.floor(chance() * 40))),
      );
      const path = timelinePath(count + 1, switches);
      for (let lsn = 0n; lsn < 45n; lsn += 1n) {
        expect(timelineOfLsn(path, lsn)).toBe(tliOfPointInHistory(lsn, count + 1, switches));
      }
      for (const [index, stretch] of path.entries()) expect(stretch.to).toBe(path[index + 1]?.from);
    }
  });
});

/** src/backend/access/transam/timeline.c: the entries newest first, each from where the one before it was left. */
function tliOfPointInHistory(lsn: bigint, timeline: number, switches: readonly TimelineSwitch[]): number {
  const entries = [...switches, undefined].map((entry, index) => ({
    tli: entry?.timeline ?? timeline,
    begin: switches[index - 1]?.switchLsn ?? 0n,
    end: entry?.switchLsn,
  }));
  return entries.toReversed().find(({ begin, end }) => begin <= lsn && (end === undefined || lsn < end))!.tli;
}
