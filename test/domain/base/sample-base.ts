import { catalogBases, type Base } from '../../../lib/domain/base/base-catalog.ts';
import { baseManifestKey, basePrefix } from '../../../lib/domain/wal/keys.ts';
import type { BaseManifest, BaseVolume } from '../../../lib/domain/base/base-manifest.ts';
import { formatBaseLabel } from '../../../lib/domain/base/base-label.ts';

export const CLUSTER = '7300000000000000001';
export const HOUR_MS = 60 * 60 * 1000;
export const DAY_MS = 24 * HOUR_MS;

const VOLUME: BaseVolume = {
  series: 'base',
  key: 'base-00001.tar.zst',
  size: 1000,
  sha256: 'a'.repeat(64),
  crc32: 'AAAAAA==',
  rawSize: 5000,
  rawFrameSize: 8 * 1024 * 1024,
  frameSizes: [1000],
  members: 7,
};

/** A full backup begun at `startedAt` that took ten minutes. */
export function sampleBase(startedAt: Date, overrides: Partial<BaseManifest> = {}): BaseManifest {
  return {
    schemaVersion: 1,
    kind: 'base',
    label: formatBaseLabel({ app: 'hostmaster', time: startedAt }),
    app: 'hostmaster',
    runId: 'run-1',
    lifeboatVersion: '0.1.0',
    startedAt: startedAt.toISOString(),
    finishedAt: new Date(startedAt.getTime() + HOUR_MS / 6).toISOString(),
    host: { name: 'db1', platform: 'linux', architecture: 'x64', libc: 'glibc 2.36' },
    server: {
      version: '17.4',
      versionNumber: 17_00_04,
      systemIdentifier: CLUSTER,
      standby: false,
      dataChecksums: true,
      walSegmentSize: 16 * 1024 * 1024,
      blockSize: 8192,
    },
    type: 'full',
    parent: null,
    chain: [],
    startLsn: '0/2000028',
    startTimeline: 1,
    stopLsn: '0/2000120',
    stopTimeline: 1,
    settings: {},
    databases: [{ oid: 5, name: 'postgres' }],
    tablespaces: [],
    volumes: [VOLUME, { ...VOLUME, series: 'wal', key: 'wal-00001.tar.zst' }],
    backupManifest: { key: 'backup_manifest', size: 300, sha256: 'b'.repeat(64), crc32: 'AAAAAA==' },
    pageChecksums: { verified: true, failures: 0 },
    warnings: [],
    ...overrides,
  };
}

/** Built on `parent`. */
export function sampleIncrement(startedAt: Date, parent: BaseManifest): BaseManifest {
  return sampleBase(startedAt, {
    type: 'incremental',
    parent: parent.label,
    chain: [...parent.chain, parent.label],
  });
}

/** As they lie in a bucket, newest first. @param missing ends of keys that do not */
export function storedBases(manifests: readonly BaseManifest[], missing: readonly string[] = []): Base[] {
  const all = manifests.map((manifest) => {
    const series = { app: manifest.app, systemIdentifier: manifest.server.systemIdentifier };
    return { manifest, series, key: baseManifestKey(series, manifest.label) };
  });
  const files = all.flatMap(({ manifest, series }) => {
    const prefix = basePrefix(series, manifest.label);
    const named = [...manifest.volumes, manifest.backupManifest, { key: 'manifest.json', size: 2000 }];
    return named.flatMap((file) =>
      file ? [{ key: prefix + file.key, size: file.size, modifiedAt: new Date(manifest.finishedAt) }] : [],
    );
  });
  const isThere = ({ key }: { key: string }): boolean => !missing.some((end) => key.endsWith(end));
  return catalogBases('hostmaster', {
    files: files.filter(isThere),
    manifests: new Map(all.filter(isThere).map(({ key, manifest }) => [key, manifest])),
  });
}
