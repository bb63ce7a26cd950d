import type { LifeboatError } from '../../../lib/domain/errors.ts';
import { formatHoleRecord, parseHoleRecord, type HoleRecord } from '../../../lib/domain/wal/hole.ts';
import {
  formatWalMetadata,
  parseWalMetadata,
  type WalMetadata,
} from '../../../lib/domain/wal/wal-metadata.ts';

const METADATA: WalMetadata = {
  app: 'hostmaster',
  runId: '20260117T020000Z-1a2b3c4d',
  rawSize: 16 * 1024 * 1024,
  rawSha256: '0123456789abcdef'.repeat(4),
  lastCommit: { time: '2026-01-17T08:54:59.123456Z', lsn: 0x16b374d848n },
};

function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    return (error as LifeboatError).code;
  }
  return 'none';
}

describe('The metadata of a WAL object', () => {
  it('says what the window needs, in S3’s lower-case names', () => {
    expect(formatWalMetadata(METADATA)).toEqual({
      'lifeboat-app': 'hostmaster',
      'lifeboat-run-id': '20260117T020000Z-1a2b3c4d',
      'lifeboat-raw-size': '16777216',
      'lifeboat-raw-sha256': '0123456789abcdef'.repeat(4),
      'lifeboat-last-commit-time': '2026-01-17T08:54:59.123456Z',
      'lifeboat-last-commit-lsn': '16/B374D848',
    });
  });

  it('comes back, with and without a commit', () => {
    expect(parseWalMetadata(formatWalMetadata(METADATA), 'x')).toEqual(METADATA);
    const idle = { ...METADATA, lastCommit: undefined };
    expect(Object.keys(formatWalMetadata(idle))).toHaveLength(4);
    expect(parseWalMetadata(formatWalMetadata(idle), 'x')).toEqual(idle);
  });

  it('gives times that sort, also where decimals were left out', () => {
    const metadata = { ...formatWalMetadata(METADATA), 'lifeboat-last-commit-time': '2026-01-17T08:54:59Z' };
    expect(parseWalMetadata(metadata, 'x').lastCommit?.time).toBe('2026-01-17T08:54:59.000000Z');
  });

  it('is refused with the object’s name where it is none, or half of a commit', () => {
    const good = formatWalMetadata(METADATA);
    for (const [name, value] of [
      ['lifeboat-raw-size', '-1'],
      ['lifeboat-raw-size', ''],
      ['lifeboat-raw-sha256', 'x'],
      ['lifeboat-last-commit-time', 'yesterday'],
      ['lifeboat-last-commit-lsn', '16'],
    ] as const) {
      const parse = (): unknown => parseWalMetadata({ ...good, [name]: value }, 's3://b/k.zst');
      expect(codeOf(parse)).toBe('CORRUPT');
      expect(parse).toThrow(`s3://b/k.zst is no WAL object: its metadata ${name}`);
    }
    const { 'lifeboat-last-commit-lsn': _, ...half } = good;
    expect(codeOf(() => parseWalMetadata(half, 'x'))).toBe('CORRUPT');
    expect(codeOf(() => parseWalMetadata({}, 'x'))).toBe('CORRUPT');
  });
});

const HOLE: HoleRecord = {
  schemaVersion: 1,
  kind: 'hole',
  app: 'hostmaster',
  systemIdentifier: '7300000000000000001',
  timeline: 1,
  from: '0/3000000',
  to: '0/9000000',
  since: '2026-01-17T08:54:59.123456Z',
  recordedAt: '2026-01-17T09:10:00.000Z',
  runId: '20260117T091000Z-1a2b3c4d',
  reason: 'the slot "lifeboat_hostmaster" was lost: it fell more than max_slot_wal_keep_size behind',
};

describe('The record of a hole', () => {
  it('comes back from its text', () => {
    expect(parseHoleRecord(formatHoleRecord(HOLE), 'x')).toEqual(HOLE);
    expect(parseHoleRecord(formatHoleRecord({ ...HOLE, since: null }), 'x').since).toBeNull();
  });

  it('is refused where it is none, and where a newer version wrote it', () => {
    expect(codeOf(() => parseHoleRecord('{', 'x'))).toBe('CORRUPT');
    expect(codeOf(() => parseHoleRecord('null', 'x'))).toBe('CORRUPT');
    expect(codeOf(() => parseHoleRecord(JSON.stringify({ ...HOLE, to: 'x' }), 'x'))).toBe('CORRUPT');
    expect(codeOf(() => parseHoleRecord(JSON.stringify({ ...HOLE, schemaVersion: 2 }), 'x'))).toBe(
      'MANIFEST_NEWER',
    );
    expect(() => formatHoleRecord({ ...HOLE, timeline: 0 })).toThrow();
  });
});
