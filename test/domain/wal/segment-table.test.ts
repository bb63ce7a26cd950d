import type { ListedFile } from '../../../lib/domain/backup/catalog.ts';
import { walKey, type WalSeries } from '../../../lib/domain/wal/keys.ts';
import { segmentName } from '../../../lib/domain/wal/segment.ts';
import { SegmentTable } from '../../../lib/domain/wal/segment-table.ts';
import { mulberry32 } from '../../lambda/start-run/virtual-time.ts';

const SERIES: WalSeries = { app: 'hostmaster', systemIdentifier: '7300000000000000001' };
const MIB = 1024 * 1024;

describe.each([MIB, 16 * MIB, 1024 * MIB])('A table of segments of %d bytes', (size) => {
  const lsnOf = (number: number): bigint => BigInt(number) * BigInt(size);
  const nameOf = (timeline: number, number: number): string => segmentName(timeline, lsnOf(number), size);
  const fileOf = (name: string, at: number): ListedFile => {
    const storageClass = ['STANDARD', 'STANDARD_IA', undefined][at % 3];
    const key = walKey(SERIES, Number.parseInt(name.slice(0, 8), 16), name);
    const common = { key, size: 1 + at, modifiedAt: new Date(1_700_000_000_000 + at * 1000) };
    return storageClass === undefined ? common : { ...common, storageClass };
  };

  it('holds what a map holds, in the order of timelines and of their WAL', () => {
    const chance = mulberry32(size);
    const table = new SegmentTable(SERIES, size);
    const map = new Map<string, ListedFile>();
    for (let at = 0; at < 3000; at += 1) {
      // Some far away from the others, and some put twice.
      const number = Math.floor(chance() * 4000) + (chance() < 0.01 ? 5_000_000 : 0);
      const name = nameOf(1 + Math.floor(chance() * 3), number);
      table.set(name, fileOf(name, at));
      map.set(name, fileOf(name, at));
    }
    const names = [...map.keys()].toSorted();
    expect(table.size).toBe(map.size);
    expect(table.timelines()).toEqual([1, 2, 3]);
    expect([...table]).toEqual(names.map((name) => [name, map.get(name)]));
    expect([...table.keys()]).toEqual(names);
    expect([...table.values()]).toEqual(names.map((name) => map.get(name)));
    for (const number of [0, 1, 1023, 1024, 2047, 3999, 4000, 6_000_000]) {
      const name = nameOf(2, number);
      expect(table.get(name)).toEqual(map.get(name));
      expect(table.has(name)).toBe(map.has(name));
      const from = [...table.entriesFrom(2, lsnOf(number) + 1n)].map(([each]) => each);
      expect(from).toEqual(names.filter((each) => each.startsWith('00000002') && each > name));
    }
  });

  it('tells where a row of segments ends, over its pages and up to a limit', () => {
    const table = new SegmentTable(SERIES, size);
    for (let number = 1000; number < 2100; number += 1)
      if (number !== 2050) table.set(nameOf(1, number), fileOf(nameOf(1, number), number));
    expect(table.endOfRun(1, lsnOf(1000), undefined)).toBe(lsnOf(2050));
    expect(table.endOfRun(1, lsnOf(2051), undefined)).toBe(lsnOf(2100));
    expect(table.endOfRun(1, lsnOf(2050), undefined)).toBe(lsnOf(2050));
    expect(table.endOfRun(1, lsnOf(1000), lsnOf(1500) + 5n)).toBe(lsnOf(1500));
    expect(table.endOfRun(2, lsnOf(1000), undefined)).toBe(lsnOf(1000));
  });

  it('passes over names of no segment of this size', () => {
    const table = new SegmentTable(SERIES, size);
    for (const name of ['00000001', 'backup', `${nameOf(1, 1)}0`, '0000000100000000FFFFFFFF'])
      table.set(name, fileOf(nameOf(1, 1), 1));
    expect(table.size).toBe(0);
    expect([...table]).toEqual([]);
    expect(table.has('backup')).toBe(false);
    expect(table.get('backup')).toBeUndefined();
  });
});
