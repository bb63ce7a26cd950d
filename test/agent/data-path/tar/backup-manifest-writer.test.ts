import { chownSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { parseBackupManifest } from '../../../../scripts/agent/data-path/tar/backup-manifest.ts';
import {
  BackupManifestWriter,
  type ManifestEntry,
} from '../../../../scripts/agent/data-path/tar/backup-manifest-writer.ts';
import { postgresBinDir, usePostgres } from '../../../postgres-server.ts';
import { FULL, takeBackup, withReplication } from '../../replication/fixture.ts';

/** Bytes of names that JSON has to escape, that are UTF-8, or that are not. */
const AWKWARD = [
  Buffer.from(`quote " backslash \\ tab \t bell \u0007 delete \u007f`),
  Buffer.from('größe €𝄞'),
  Buffer.from([0x61, 0xff, 0x62]),
  // A surrogate, an overlong slash, and what lies behind the last character.
  Buffer.from([0xed, 0xa0, 0x80]),
  Buffer.from([0xc0, 0xaf]),
  Buffer.from([0xf4, 0x90, 0x80, 0x80]),
];

describe.each([15, 18] as const)('The backup manifest that is written for PostgreSQL %i', (major) => {
  const postgres = usePostgres({ binDir: postgresBinDir(major) });

  /** All that the server said of its files, beside its own manifest. */
  async function takeManifest(): Promise<{ bytes: Buffer; times: Map<string, Date>; systemId: string }> {
    const { uid, gid } = statSync(postgres().dataDir);
    for (const name of AWKWARD) {
      const file = Buffer.concat([Buffer.from(`${postgres().dataDir}/`), name]);
      writeFileSync(file, name);
      chownSync(file, uid, gid);
      utimesSync(file, 1_700_000_000.9, 1_700_000_000.9);
    }
    return await withReplication(postgres(), async (replication) => {
      const { systemIdentifier: systemId } = await replication.identify();
      const backup = await takeBackup(replication, FULL);
      const bytes = readFileSync(backup.manifest);
      rmSync(backup.folder, { recursive: true });
      const lines = bytes.toString('latin1').matchAll(/"Last-Modified": "([^ ]+) ([^ ]+) GMT"/g);
      const times = [...lines].map(([, day, time]) => new Date(`${day}T${time}.999Z`));
      const { files } = parseBackupManifest(bytes, 'theirs');
      return { bytes, systemId, times: new Map(files.map(({ path }, at) => [path, times[at]!])) };
    });
  }

  it('is the one that the server writes, byte for byte', async () => {
    const { bytes, times, systemId } = await takeManifest();
    const { files, walRanges } = parseBackupManifest(bytes, 'theirs');
    expect(files.length).toBeGreaterThan(900);
    for (const name of AWKWARD) expect(times.has(name.toString('latin1'))).toBe(true);
    const writer = new BackupManifestWriter({ versionNumber: major * 10_000, systemIdentifier: systemId });
    const ours = files.map(({ path, size, checksum }): Buffer => {
      const crc32c = Buffer.from(checksum!.hex, 'hex').readUInt32LE();
      return writer.add({ path, size, modifiedAt: times.get(path)!, crc32c });
    });
    ours.push(writer.finish(walRanges));
    expect(Buffer.concat(ours).equals(bytes)).toBe(true);
  });
});

describe('A backup manifest', () => {
  const systemIdentifier = '18446744073709551615';

  it('names the cluster from PostgreSQL 17 on, and several stretches of WAL', () => {
    const walRanges = [
      { timeline: 2, start: 0x2000028n, end: 0x1_0200_0100n },
      { timeline: 1, start: 0x1000028n, end: 0x2000028n },
    ];
    for (const [versionNumber, version] of [
      [169_999, 1],
      [170_000, 2],
    ] as const) {
      const bytes = new BackupManifestWriter({ versionNumber, systemIdentifier }).finish(walRanges);
      expect(parseBackupManifest(bytes, 'ours')).toEqual({
        version,
        systemIdentifier: version === 1 ? undefined : 2n ** 64n - 1n,
        files: [],
        walRanges,
      });
    }
  });

  it('of very many files is given out while they are added, none of them twice', () => {
    const writer = new BackupManifestWriter({ versionNumber: 150_000, systemIdentifier });
    const entries = Array.from({ length: 20_000 }, (_, index): ManifestEntry => {
      return { path: `base/5/${index}`, size: index, modifiedAt: new Date(0), crc32c: index };
    });
    const pieces = entries.map((entry) => writer.add(entry));
    const longest = Math.max(...pieces.map(({ length }) => length));
    pieces.push(writer.finish([]));
    expect(longest).toBeGreaterThan(0);
    expect(longest).toBeLessThan(100_000);
    const { files } = parseBackupManifest(Buffer.concat(pieces), 'ours');
    expect(files.map(({ path, size }) => [path, size])).toEqual(
      entries.map(({ path, size }) => [path, size]),
    );
    expect(files[258]!.checksum).toEqual({ algorithm: 'CRC32C', hex: '02010000' });
  });
});
