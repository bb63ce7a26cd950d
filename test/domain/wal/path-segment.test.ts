import { segmentOnPath } from '../../../lib/domain/wal/path-segment.ts';
import { timelinePath } from '../../../lib/domain/wal/timeline.ts';

const SIZE = 1024 * 1024;
const at = (segment: number, offset = 0): bigint => BigInt(segment) * BigInt(SIZE) + BigInt(offset);
const reason = '';

describe('A segment on the way to a timeline', () => {
  it('is the one timeline’s where there is only one', () => {
    expect(segmentOnPath(timelinePath(1, []), at(5, 77), SIZE)).toEqual({
      timeline: 1,
      name: '000000010000000000000005',
      start: at(5),
      end: at(6),
      left: undefined,
    });
  });

  it('is the successor’s where a timeline is left within it, which is also told', () => {
    const path = timelinePath(2, [{ timeline: 1, switchLsn: at(5, 100), reason }]);
    for (const offset of [0, 99, 100, SIZE - 1]) {
      expect(segmentOnPath(path, at(5, offset), SIZE)).toMatchObject({
        timeline: 2,
        name: '000000020000000000000005',
        left: { timeline: 1, name: '000000010000000000000005', switchLsn: at(5, 100) },
      });
    }
    expect(segmentOnPath(path, at(4), SIZE)).toMatchObject({ timeline: 1, left: undefined });
    expect(segmentOnPath(path, at(6), SIZE)).toMatchObject({ timeline: 2, left: undefined });
  });

  it('leaves nothing where a timeline ends with a segment', () => {
    const path = timelinePath(2, [{ timeline: 1, switchLsn: at(5), reason }]);
    expect(segmentOnPath(path, at(4, SIZE - 1), SIZE)).toMatchObject({ timeline: 1, left: undefined });
    expect(segmentOnPath(path, at(5), SIZE)).toMatchObject({ timeline: 2, left: undefined });
  });

  it('is the last one’s where several are left within it', () => {
    const path = timelinePath(3, [
      { timeline: 1, switchLsn: at(5, 100), reason },
      { timeline: 2, switchLsn: at(5, 200), reason },
    ]);
    expect(segmentOnPath(path, at(5), SIZE)).toMatchObject({ timeline: 3, left: { timeline: 2 } });
  });
});
