import {
  baseManifestSchema,
  formatBaseManifest,
  parseBaseManifest,
  type BaseManifest,
} from '../../../lib/domain/base/base-manifest.ts';
import type { LifeboatError } from '../../../lib/domain/errors.ts';
import { fullManifest, incrementalManifest, volumeOf } from './manifests.ts';

const WHERE = 's3://bucket/prefix/manifest.json';

function refusal(manifest: unknown): LifeboatError {
  try {
    parseBaseManifest(typeof manifest === 'string' ? manifest : JSON.stringify(manifest), WHERE);
  } catch (error) {
    return error as LifeboatError;
  }
  throw new Error('it was taken');
}

describe('A base backup’s manifest', () => {
  it('comes back from its text, full and incremental, with and without what is optional', () => {
    const full = fullManifest();
    const { stopTime: _, ...without } = full;
    for (const manifest of [full, incrementalManifest(full), without, { ...full, backupManifest: null }]) {
      expect(parseBaseManifest(formatBaseManifest(manifest), WHERE)).toEqual(manifest);
    }
    expect(formatBaseManifest(full)).toMatch(/^\{\n "schemaVersion": 1,\n "kind": "base",[^]*\}\n$/);
  });

  it('is read by those who do not know a later optional field', () => {
    expect(parseBaseManifest(JSON.stringify({ ...fullManifest(), later: true }), WHERE)).toEqual(
      fullManifest(),
    );
  });

  it('of a newer version is refused as such', () => {
    const error = refusal({ schemaVersion: 2 });
    expect(error).toMatchObject({ code: 'MANIFEST_NEWER' });
    expect(error.message).toBe(`${WHERE} has schema version 2; this Lifeboat reads up to 1`);
  });

  const full = fullManifest();
  const server = (overrides: Partial<BaseManifest['server']>): unknown => ({
    ...full,
    server: { ...full.server, ...overrides },
  });
  const volume = (overrides: object): unknown => ({
    ...full,
    volumes: [{ ...full.volumes[0], ...overrides }],
  });
  const wrong: Record<string, unknown> = {
    'is no JSON': '{',
    'is empty': '',
    'is null': 'null',
    'is that of a dump': { ...full, kind: 'dump' },
    'has another app’s label': { ...full, label: 'other_base_20260117_020000' },
    'has no label of a base backup': { ...full, label: 'hostmaster_db_20260117_020000' },
    'has no LSN': { ...full, startLsn: 'x' },
    'stops before it starts': { ...full, stopLsn: full.startLsn },
    'has a timeline that does not exist': { ...full, startTimeline: 0 },
    'has a segment size that does not exist': server({ walSegmentSize: 3_000_000 }),
    'has no system identifier': server({ systemIdentifier: '' }),
    'has a stop time without a zone': { ...full, stopTime: '2026-01-17T02:10:00' },
    'is full and has a chain': {
      ...full,
      parent: 'hostmaster_base_20260116_020000',
      chain: ['hostmaster_base_20260116_020000'],
    },
    'is incremental without a chain': { ...full, type: 'incremental' },
    'is incremental with another parent': {
      ...incrementalManifest(full),
      parent: 'hostmaster_base_20260101_020000',
    },
    'is incremental without a parent': { ...incrementalManifest(full), parent: null },
    'has no volumes': { ...full, volumes: [] },
    'has a volume with a path': volume({ key: '../base-00001.tar.zst' }),
    'has a volume of another series': volume({ series: 'wal' }),
    'has a volume whose frames are not its size': volume({ frameSizes: [1] }),
    'has a volume with too few frames': volume({ rawSize: 100 * 1024 * 1024 }),
    'has a volume without a checksum': volume({ crc32: '' }),
    'has a backup manifest elsewhere': { ...full, backupManifest: { ...full.backupManifest, key: 'x' } },
    'lacks a field': { ...full, settings: undefined },
  };
  it.each(Object.entries(wrong))('is refused where it %s', (_name, manifest) => {
    const error = refusal(manifest);
    expect(error).toMatchObject({ code: 'CORRUPT' });
    expect(error.message).toContain(WHERE);
    expect(error.message.length).toBeGreaterThan(WHERE.length + 10);
  });

  it('is never written where it would be refused', () => {
    expect(() => formatBaseManifest({ ...full, stopLsn: full.startLsn })).toThrow('stops before it starts');
    expect(() =>
      baseManifestSchema.parse({
        ...full,
        volumes: [volumeOf('ts-5', 1), { ...volumeOf('base', 1), key: 'x' }],
      }),
    ).toThrow();
  });
});
