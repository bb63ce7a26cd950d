import { formatBaseLabel, parseBaseLabel, requireBaseLabel } from '../../../lib/domain/base/base-label.ts';
import {
  BACKUP_MANIFEST,
  baseManifestKey,
  basePrefix,
  basesPrefix,
  historyKey,
  holeKey,
  holePrefix,
  inUseKey,
  journalKey,
  journalPrefix,
  parsePitrKey,
  parseVolumeName,
  partialWalKey,
  pitrAppPrefix,
  pitrPrefix,
  volumeKey,
  volumeName,
  walKey,
  walPrefix,
  type PitrObject,
} from '../../../lib/domain/wal/keys.ts';
import { DEFAULT_SEGMENT_SIZE, segmentName } from '../../../lib/domain/wal/segment.ts';
import { mulberry32 } from '../../lambda/start-run/virtual-time.ts';

const SERIES = { app: 'hostmaster', systemIdentifier: '7300000000000000001' };
const SEGMENT = '0000000200000016000000B3';
const LABEL = 'hostmaster_base_20260117_020000';

/** Names that are valid and look like parts of keys, labels and ids. */
const AWKWARD = [
  'a',
  'hostmaster',
  'hostmaster_staging',
  'pitr',
  'wal',
  'base',
  'journal',
  'holes',
  'x.y-z_1',
  'app.zst',
  'app.history',
  '00000001',
  '0000000200000016000000B3',
  'my_base_20200101_000000',
  'manifest.json',
  'a'.repeat(63),
];

describe('The keys of point-in-time recovery', () => {
  it('are those of the design', () => {
    expect(pitrPrefix('hostmaster', '7300000000000000001')).toBe('pitr/hostmaster/7300000000000000001/');
    expect(walKey(SERIES, 2, SEGMENT)).toBe(
      'pitr/hostmaster/7300000000000000001/wal/00000002/0000000200000016000000B3.zst',
    );
    expect(partialWalKey(SERIES, 2, SEGMENT)).toBe(
      'pitr/hostmaster/7300000000000000001/wal/00000002/0000000200000016000000B3.partial.zst',
    );
    expect(historyKey(SERIES, 2)).toBe('pitr/hostmaster/7300000000000000001/wal/00000002.history');
    expect(volumeKey(SERIES, LABEL, 'ts-16400-00001.tar.zst')).toBe(
      'pitr/hostmaster/7300000000000000001/base/hostmaster_base_20260117_020000/ts-16400-00001.tar.zst',
    );
    expect(baseManifestKey(SERIES, LABEL)).toBe(
      'pitr/hostmaster/7300000000000000001/base/hostmaster_base_20260117_020000/manifest.json',
    );
    expect(journalKey(SERIES, 2, SEGMENT, 0x16b3000000n, 0x16b374d848n)).toBe(
      'journal/hostmaster/7300000000000000001/00000002/0000000200000016000000B3/00000016B3000000-00000016B374D848.zst',
    );
    expect(holeKey(SERIES, 2, 0x16b3000000n, 0x16b374d848n)).toBe(
      'holes/hostmaster/7300000000000000001/00000002/00000016B3000000-00000016B374D848.json',
    );
  });

  it('come back from what was made, for any app name, and lie below the prefixes that are listed for them', () => {
    const chance = mulberry32(5);
    for (const app of AWKWARD) {
      const series = { app, systemIdentifier: String(1 + Math.floor(chance() * 2 ** 53)) };
      for (const { key, object, under } of randomObjects(series, chance)) {
        expect(parsePitrKey(key)).toEqual({ series, ...object });
        expect(key.startsWith(under)).toBe(true);
        for (const other of AWKWARD.filter((name) => name !== app)) {
          expect(key.startsWith(pitrAppPrefix(other))).toBe(false);
        }
      }
    }
  });

  it('are none when anything about them is not as it would have been made', () => {
    const wal = walKey(SERIES, 2, SEGMENT);
    const journal = journalKey(SERIES, 2, SEGMENT, 1n, 2n);
    const wrong = [
      '',
      'pitr/',
      `/${wal}`,
      `x/${wal}`,
      `${wal}.zst`,
      `${wal}/`,
      wal.replace('.zst', '.gz'),
      wal.replace('.zst', ''),
      wal.replace('/00000002/', '/00000001/'),
      wal.replace('/00000002/', '/2/'),
      wal.replaceAll('00000002', '00000000'),
      wal.replace('B3.zst', 'b3.zst'),
      wal.replace('7300000000000000001', '07300000000000000001'),
      wal.replace('7300000000000000001', 'x'),
      wal.replace('hostmaster', 'host..master'),
      wal.replace('hostmaster', '-x'),
      wal.replace('/wal/', '/WAL/'),
      wal.replace('B3.zst', 'B3.partial'),
      historyKey(SERIES, 2).replace('.history', '.HISTORY'),
      historyKey(SERIES, 2).replace('00000002', '2'),
      baseManifestKey(SERIES, LABEL).replace('_020000', '_250000'),
      baseManifestKey(SERIES, LABEL).replace('base/hostmaster', 'base/other'),
      baseManifestKey(SERIES, LABEL).replace('manifest.json', 'base-00000.tar.zst'),
      baseManifestKey(SERIES, LABEL).replace('manifest.json', 'sub/manifest.json'),
      baseManifestKey(SERIES, LABEL).replace('manifest.json', 'ts-016-00001.tar.zst'),
      baseManifestKey(SERIES, LABEL).replace('manifest.json', 'config-00001.tar.zst'),
      journal.replace('-', '_'),
      journal.replace('0001-', '0003-'),
      journal.replace('0001-', '001-'),
      journal.replace('.zst', '.json'),
      holeKey(SERIES, 2, 1n, 2n).replace('0001-', '0002-'),
      holeKey(SERIES, 2, 1n, 2n).replace('.json', '.zst'),
      'hostmaster_db_20260117_020000.sql.gz',
    ];
    expect(wrong.filter((key) => parsePitrKey(key) !== undefined)).toEqual([]);
  });

  it('are not made of parts that do not fit', () => {
    expect(() => walKey(SERIES, 1, SEGMENT)).toThrow('timeline 1');
    expect(() => walKey(SERIES, 2, SEGMENT.toLowerCase())).toThrow('no segment');
    expect(() => walKey({ ...SERIES, app: '../x' }, 2, SEGMENT)).toThrow('no app name');
    expect(() => walKey({ ...SERIES, systemIdentifier: '' }, 2, SEGMENT)).toThrow('no system identifier');
    expect(() => journalKey(SERIES, 2, SEGMENT, 2n, 2n)).toThrow('empty');
    expect(() => basePrefix(SERIES, 'other_base_20260117_020000')).toThrow('no base backup of "hostmaster"');
    expect(() => volumeKey(SERIES, LABEL, 'x.tar.zst')).toThrow('no file of a base backup');
    for (const [series, number] of [
      ['base', 0],
      ['base', 100_000],
      ['config', 2],
      ['ts-0', 1],
      ['other', 1],
    ] as const) {
      expect(() => volumeName(series as 'base', number)).toThrow('has no name');
    }
  });
});

describe('A volume', () => {
  it('comes back from its name', () => {
    for (const series of ['base', 'wal', 'ts-1', 'ts-4294967295'] as const) {
      for (const number of [1, 2, 99_999])
        expect(parseVolumeName(volumeName(series, number))).toEqual({ series, number });
    }
    expect(volumeName('config', 1)).toBe('config.tar.zst');
    expect(parseVolumeName('config.tar.zst')).toEqual({ series: 'config', number: 1 });
  });
});

describe('A base backup’s label', () => {
  it('comes back from what was formatted, for any app name', () => {
    const time = new Date('2026-01-17T02:00:00Z');
    for (const app of AWKWARD) expect(parseBaseLabel(formatBaseLabel({ app, time }))).toEqual({ app, time });
    expect(formatBaseLabel({ app: 'hostmaster', time })).toBe(LABEL);
  });

  it('is refused with a date that does not exist, and where it is a dump’s id', () => {
    for (const text of [
      'hostmaster_base_20260230_020000',
      'hostmaster_db_20260117_020000',
      'latest',
      '_base_20260117_020000',
    ]) {
      expect(parseBaseLabel(text)).toBeUndefined();
      expect(() => requireBaseLabel(text)).toThrow(JSON.stringify(text));
    }
    expect(requireBaseLabel(LABEL).app).toBe('hostmaster');
  });
});

type WithoutSeries<Each> = Each extends PitrObject ? Omit<Each, 'series'> : never;

/** One of each kind. */
function randomObjects(
  series: typeof SERIES,
  chance: () => number,
): { key: string; object: WithoutSeries<PitrObject>; under: string }[] {
  const timeline = 1 + Math.floor(chance() * 2 ** 31);
  const from = BigInt(Math.floor(chance() * 2 ** 52));
  const to = from + 1n + BigInt(Math.floor(chance() * 1000));
  const segment = segmentName(timeline, from, DEFAULT_SEGMENT_SIZE);
  const label = formatBaseLabel({ app: series.app, time: new Date(Math.floor(chance() * 2 ** 31) * 1000) });
  const name = volumeName(`ts-${1 + Math.floor(chance() * 2 ** 31)}`, 1 + Math.floor(chance() * 99_998));
  const wal = walPrefix(series);
  const base = basesPrefix(series);
  return [
    { key: walKey(series, timeline, segment), object: { role: 'wal', timeline, segment }, under: wal },
    {
      key: partialWalKey(series, timeline, segment),
      object: { role: 'partial-wal', timeline, segment },
      under: wal,
    },
    { key: historyKey(series, timeline), object: { role: 'history', timeline }, under: wal },
    { key: volumeKey(series, label, name), object: { role: 'volume', label, name }, under: base },
    {
      key: volumeKey(series, label, BACKUP_MANIFEST),
      object: { role: 'backup-manifest', label },
      under: base,
    },
    { key: baseManifestKey(series, label), object: { role: 'base-manifest', label }, under: base },
    {
      key: journalKey(series, timeline, segment, from, to),
      object: { role: 'journal', timeline, segment, from, to },
      under: journalPrefix(series),
    },
    {
      key: holeKey(series, timeline, from, to),
      object: { role: 'hole', timeline, from, to },
      under: holePrefix(series),
    },
    {
      key: inUseKey(series, timeline, '2026-01-17T08:54:59.123Z'),
      object: { role: 'in-use', timeline, since: '2026-01-17T08:54:59.123000Z' },
      under: journalPrefix(series),
    },
  ];
}
