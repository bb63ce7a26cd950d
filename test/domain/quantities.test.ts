import { formatBytes, formatDuration, formatTime } from '../../lib/domain/quantities.ts';

describe('Quantities for people', () => {
  it('are sizes as du -h writes them', () => {
    const sizes = [
      0,
      1,
      1023,
      1024,
      1500,
      10_240,
      12_000_000,
      1024 ** 2 * 999.5,
      1024 ** 3 - 1,
      1024 ** 3,
      1.5 * 1024 ** 4,
    ];
    expect(sizes.map(formatBytes)).toEqual([
      '0',
      '1',
      '1023',
      '1.0K',
      '1.5K',
      '10K',
      '12M',
      '1000M',
      '1.0G',
      '1.0G',
      '1.5T',
    ]);
  });

  it('are durations in the two largest units', () => {
    const seconds = [0, 45, 59.6, 65, 3599, 3600, 7380, 48 * 3600, -5];
    expect(seconds.map((each) => formatDuration(each * 1000))).toEqual([
      '0s',
      '45s',
      '1m 00s',
      '1m 05s',
      '59m 59s',
      '1h 00m',
      '2h 03m',
      '2d 0h',
      '0s',
    ]);
  });

  it('are times in UTC', () => {
    expect(formatTime(new Date('2026-01-17T09:55:00+01:00'))).toBe('2026-01-17 08:55:00');
  });
});
