import { mergeCopies } from '../../../lib/domain/backup/catalog.ts';
import {
  checkClient,
  checkDiskSpace,
  checkRights,
  checkSeries,
  estimateDumpSize,
  knowsRestrict,
} from '../../../lib/domain/backup/preflight.ts';
import { sampleManifest } from '../../fixtures/sample-manifest.ts';

const manifest = sampleManifest();
const backups = mergeCopies([
  {
    id: manifest.id,
    store: 'local',
    state: 'complete',
    detail: undefined,
    time: new Date(manifest.startedAt),
    manifest,
    files: [],
    dump: undefined,
  },
]);
const same = { database: 'hostmaster_prod', systemIdentifier: manifest.server.systemIdentifier };

describe('The preflight of a backup', () => {
  it('refuses a series that belongs to another database or cluster', () => {
    expect(checkSeries('hostmaster', same, backups)).toBeUndefined();
    expect(checkSeries('hostmaster', same, [])).toBeUndefined();
    expect(checkSeries('hostmaster', { ...same, database: 'other' }, backups)).toMatchObject({
      code: 'SERIES_MISMATCH',
      message: expect.stringContaining('"hostmaster_prod", not "other"'),
    });
    expect(checkSeries('hostmaster', { ...same, systemIdentifier: '1' }, backups)?.message).toContain(
      'cluster',
    );
  });

  it('refuses a client older than the server and names both versions', () => {
    const client = { path: '/usr/bin/pg_dump', version: '15.18', versionNumber: 150018 };
    expect(checkClient(client, { version: '15.4', versionNumber: 150004 })).toBeUndefined();
    expect(checkClient(client, { version: '14.9', versionNumber: 140009 })).toBeUndefined();
    expect(checkClient(client, { version: '18.1', versionNumber: 180001 })).toMatchObject({
      code: 'CLIENT_TOO_OLD',
      message: expect.stringMatching(/15\.18.*18\.1/),
      hint: expect.stringContaining('postgresql-client-18'),
    });
  });

  it('expects a dump to grow with its database, and asks for room accordingly', () => {
    expect(estimateDumpSize(1000, undefined)).toBe(500);
    expect(estimateDumpSize(manifest.database.sizeBytes * 2, manifest)).toBe(manifest.dump.size * 2 * 1.2);
    expect(checkDiskSpace('/b', 10, 11)).toMatchObject({ code: 'DISK_FULL' });
    expect(checkDiskSpace('/b', 11, 11)).toBeUndefined();
  });

  it('names what the role may not read', () => {
    expect(checkRights('app', ['public.secret'])?.message).toContain('public.secret');
    expect(checkRights('app', [])).toBeUndefined();
  });

  it('knows which psql reads \\restrict, major by major', () => {
    const known = [130_022, 140_019, 150_014, 160_010, 170_006, 180_000, 190_001];
    const unknown = [120_099, 130_021, 140_018, 150_013, 160_009, 170_005];
    expect(known.filter((version) => !knowsRestrict(version))).toEqual([]);
    expect(unknown.filter(knowsRestrict)).toEqual([]);
  });
});
