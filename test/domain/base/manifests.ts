import { formatBaseLabel } from '../../../lib/domain/base/base-label.ts';
import type { BaseManifest, BaseVolume } from '../../../lib/domain/base/base-manifest.ts';
import { volumeName, type VolumeSeries } from '../../../lib/domain/wal/keys.ts';

const MIB = 1024 * 1024;

/** Two frames: one of 8 MiB of tar, and one of the rest. */
export function volumeOf(series: VolumeSeries, number: number, rawSize = 12 * MIB): BaseVolume {
  return {
    series,
    key: volumeName(series, number),
    size: 3_000_000,
    sha256: 'a'.repeat(64),
    crc32: 'AAAAAA==',
    rawSize,
    rawFrameSize: 8 * MIB,
    frameSizes: [2_000_000, 1_000_000],
    members: 41,
  };
}

/** Of the app hostmaster; begun at 02:00:00 on 17 January 2026, ended ten minutes later, unless said otherwise. */
export function fullManifest(overrides: Partial<BaseManifest> = {}): BaseManifest {
  return {
    schemaVersion: 1,
    kind: 'base',
    label: 'hostmaster_base_20260117_020000',
    app: 'hostmaster',
    runId: '20260117T020000Z-1a2b3c4d',
    lifeboatVersion: '0.1.0',
    startedAt: '2026-01-17T02:00:00.000Z',
    finishedAt: '2026-01-17T02:10:30.000Z',
    host: { name: 'db1', platform: 'linux', architecture: 'x64', libc: 'glibc 2.36' },
    server: {
      version: '15.18',
      versionNumber: 150018,
      systemIdentifier: '7300000000000000001',
      standby: false,
      dataChecksums: true,
      walSegmentSize: 16 * MIB,
      blockSize: 8192,
    },
    type: 'full',
    parent: null,
    chain: [],
    startLsn: '0/3000028',
    startTimeline: 1,
    stopLsn: '0/3000138',
    stopTimeline: 1,
    stopTime: '2026-01-17T02:10:00.000000Z',
    settings: { max_connections: '100', wal_level: 'replica' },
    databases: [{ oid: 5, name: 'postgres' }],
    tablespaces: [{ oid: 16400, name: 'fast', location: '/mnt/fast', size: 9 * MIB }],
    volumes: [volumeOf('base', 1), volumeOf('ts-16400', 1), volumeOf('wal', 1)],
    backupManifest: { key: 'backup_manifest', size: 200_000, sha256: 'b'.repeat(64), crc32: 'AAAAAA==' },
    pageChecksums: { verified: true, failures: 0 },
    warnings: [],
    ...overrides,
  };
}

/** A day after its parent. */
export function incrementalManifest(
  parent: BaseManifest,
  overrides: Partial<BaseManifest> = {},
): BaseManifest {
  return at(new Date(Date.parse(parent.startedAt) + 86_400_000), {
    type: 'incremental',
    parent: parent.label,
    chain: [...parent.chain, parent.label],
    ...overrides,
  });
}

/** Full, begun at `start`; it took ten minutes, and half a minute more to be stored. */
export function at(start: Date, overrides: Partial<BaseManifest> = {}): BaseManifest {
  const later = (seconds: number): string => new Date(start.getTime() + seconds * 1000).toISOString();
  return fullManifest({
    label: formatBaseLabel({ app: overrides.app ?? 'hostmaster', time: start }),
    startedAt: start.toISOString(),
    finishedAt: later(630),
    stopTime: later(600).replace('Z', '000Z'),
    ...overrides,
  });
}
