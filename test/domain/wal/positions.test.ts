import {
  formatLsn,
  formatLsnDigits,
  parseLsn,
  parseLsnDigits,
  tryParseLsn,
} from '../../../lib/domain/wal/lsn.ts';
import {
  dateOfPgTime,
  formatPgTime,
  parsePgTime,
  pgTimeOfDate,
  tryParsePgTime,
} from '../../../lib/domain/wal/pg-time.ts';
import {
  DEFAULT_SEGMENT_SIZE,
  formatTimeline,
  historyFileName,
  isSegmentSize,
  parseSegmentName,
  parseTimeline,
  segmentName,
  segmentsBetween,
  segmentStart,
} from '../../../lib/domain/wal/segment.ts';
import { mulberry32 } from '../../lambda/start-run/virtual-time.ts';

const MIB = 1024 * 1024;
const SIZES = Array.from({ length: 11 }, (_, power) => MIB * 2 ** power);

/** Of 64 bits, small and large ones alike. */
function randomLsn(chance: () => number): bigint {
  const digits = Array.from({ length: 1 + Math.floor(chance() * 16) }, () =>
    Math.floor(chance() * 16).toString(16),
  );
  return BigInt(`0x${digits.join('')}`);
}

describe('An LSN', () => {
  it('is read and written as PostgreSQL does', () => {
    expect(parseLsn('16/B374D848')).toBe(0x16b374d848n);
    expect(formatLsn(0x16b374d848n)).toBe('16/B374D848');
    expect(formatLsn(0n)).toBe('0/0');
    expect(parseLsn('0/00000028')).toBe(0x28n);
    expect(parseLsn('ffffffff/ffffffff')).toBe(2n ** 64n - 1n);
  });

  it('comes back from its text and from its digits, which sort as the positions do', () => {
    const chance = mulberry32(1);
    const lsns = Array.from({ length: 500 }, () => randomLsn(chance));
    for (const lsn of lsns) {
      expect(parseLsn(formatLsn(lsn))).toBe(lsn);
      expect(parseLsnDigits(formatLsnDigits(lsn))).toBe(lsn);
    }
    const byDigits = lsns.map(formatLsnDigits).toSorted();
    expect(byDigits).toEqual(lsns.toSorted((one, other) => (one < other ? -1 : 1)).map(formatLsnDigits));
  });

  it('is refused in any other form', () => {
    for (const text of [
      '',
      '0',
      '0/',
      '/0',
      '0/0/0',
      '0/123456789',
      '0/G',
      ' 0/0',
      '0/0\n',
      '-1/0',
      '0x1/0',
    ]) {
      expect(tryParseLsn(text)).toBeUndefined();
      expect(() => parseLsn(text)).toThrow(JSON.stringify(text));
    }
    for (const text of ['', '0', '00000016b374d848', '00000016B374D8480'])
      expect(parseLsnDigits(text)).toBeUndefined();
    expect(() => formatLsn(-1n)).toThrow('no LSN');
    expect(() => formatLsn(2n ** 64n)).toThrow('no LSN');
  });
});

describe('A segment', () => {
  it('has the name that PostgreSQL gives it', () => {
    // SELECT pg_walfile_name('16/B374D848') on timeline 1, with segments of 16 MiB, 1 MiB and 1 GiB.
    expect(segmentName(1, 0x16b374d848n, DEFAULT_SEGMENT_SIZE)).toBe('0000000100000016000000B3');
    expect(segmentName(1, 0x16b374d848n, MIB)).toBe('000000010000001600000B37');
    expect(segmentName(1, 0x16b374d848n, 1024 * MIB)).toBe('000000010000001600000002');
    expect(segmentName(0x1f, 0xff000000n, DEFAULT_SEGMENT_SIZE)).toBe('0000001F00000000000000FF');
    expect(segmentName(0x1f, 0x100000000n, DEFAULT_SEGMENT_SIZE)).toBe('0000001F0000000100000000');
    expect(historyFileName(0x1f)).toBe('0000001F.history');
  });

  it('comes back from its name, for every size', () => {
    const chance = mulberry32(2);
    for (const size of SIZES) {
      for (let each = 0; each < 50; each += 1) {
        const lsn = randomLsn(chance);
        const timeline = 1 + Math.floor(chance() * 0xffff_fffe);
        const start = segmentStart(lsn, size);
        expect(parseSegmentName(segmentName(timeline, lsn, size), size)).toEqual({ timeline, start });
        expect(lsn - start).toBeGreaterThanOrEqual(0n);
        expect(lsn - start).toBeLessThan(BigInt(size));
      }
    }
  });

  it('is none with a name of another size, of timeline 0, or in lower case', () => {
    expect(parseSegmentName('0000000100000016000000B3', DEFAULT_SEGMENT_SIZE)).toBeDefined();
    for (const name of [
      '000000010000001600000B37',
      '0000000000000016000000B3',
      '0000000100000016000000b3',
      '0000000100000016000000B3.partial',
      '00000001.history',
      '',
    ]) {
      expect(parseSegmentName(name, DEFAULT_SEGMENT_SIZE)).toBeUndefined();
    }
  });

  it('is listed from the one that holds the first byte to the one that holds the last', () => {
    const size = DEFAULT_SEGMENT_SIZE;
    const step = BigInt(size);
    expect(segmentsBetween(1, 0xff000028n, 0x100000001n, size)).toEqual([
      '0000000100000000000000FF',
      '000000010000000100000000',
    ]);
    expect(segmentsBetween(1, step, 2n * step, size)).toEqual(['000000010000000000000001']);
    expect(segmentsBetween(1, step, 2n * step + 1n, size)).toHaveLength(2);
    expect(segmentsBetween(1, step, step, size)).toEqual([]);
    expect(segmentsBetween(1, 2n * step, step, size)).toEqual([]);
  });

  it('has a size that initdb takes', () => {
    expect(SIZES.every(isSegmentSize)).toBe(true);
    for (const size of [0, 1, MIB / 2, 3 * MIB, MIB + 1, 2048 * MIB, -MIB, Number.NaN, 1.5 * MIB]) {
      expect(isSegmentSize(size)).toBe(false);
      expect(() => segmentStart(0n, size)).toThrow('no WAL segment size');
    }
  });

  it('is of a timeline counted from 1', () => {
    expect(parseTimeline(formatTimeline(0xffff_ffff))).toBe(0xffff_ffff);
    expect(parseTimeline('00000000')).toBeUndefined();
    expect(parseTimeline('1')).toBeUndefined();
    for (const timeline of [0, -1, 1.5, 2 ** 32])
      expect(() => formatTimeline(timeline)).toThrow('no timeline');
  });
});

describe('PostgreSQL’s time', () => {
  it('counts microseconds since 2000 and loses none of them', () => {
    expect(formatPgTime(0n)).toBe('2000-01-01T00:00:00.000000Z');
    expect(formatPgTime(1n)).toBe('2000-01-01T00:00:00.000001Z');
    expect(formatPgTime(-1n)).toBe('1999-12-31T23:59:59.999999Z');
    expect(parsePgTime('2026-01-17T08:54:59.123456Z')).toBe(821_955_299_123_456n);
    expect(parsePgTime('2026-01-17T08:54:59Z')).toBe(821_955_299_000_000n);
    expect(parsePgTime('2026-01-17T08:54:59.1Z')).toBe(821_955_299_100_000n);
  });

  it('comes back from its text, and texts sort as the instants do', () => {
    const chance = mulberry32(3);
    const times = Array.from({ length: 500 }, () => BigInt(Math.floor((chance() - 0.5) * 2 ** 53)));
    for (const time of times) expect(parsePgTime(formatPgTime(time))).toBe(time);
    const sorted = times.toSorted((one, other) => (one < other ? -1 : 1));
    expect(times.map(formatPgTime).toSorted()).toEqual(sorted.map(formatPgTime));
  });

  it('meets a Date to the millisecond', () => {
    const date = new Date('2026-01-17T08:54:59.123Z');
    expect(formatPgTime(pgTimeOfDate(date))).toBe('2026-01-17T08:54:59.123000Z');
    expect(dateOfPgTime(parsePgTime('2026-01-17T08:54:59.123999Z'))).toEqual(date);
    expect(dateOfPgTime(-1n)).toEqual(new Date('1999-12-31T23:59:59.999Z'));
  });

  it('is refused where it is none: infinity, dates that do not exist, another zone', () => {
    const infinity = 2n ** 63n - 1n;
    expect(() => formatPgTime(infinity)).toThrow('no time of a commit');
    expect(() => formatPgTime(-infinity)).toThrow('no time of a commit');
    for (const text of [
      '',
      '2026-01-17',
      '2026-01-17T08:54:59',
      '2026-01-17T08:54:59+01:00',
      '2026-02-30T00:00:00Z',
      '2026-01-17T08:54:60Z',
      '2026-01-17T08:54:59.1234567Z',
      '2026-01-17 08:54:59Z',
    ]) {
      expect(tryParsePgTime(text)).toBeUndefined();
      expect(() => parsePgTime(text)).toThrow('no time in UTC');
    }
  });
});
