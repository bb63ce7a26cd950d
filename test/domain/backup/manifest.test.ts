import { composeManifest, totalRows } from '../../../lib/domain/backup/compose-manifest.ts';
import { formatManifest, parseManifest } from '../../../lib/domain/backup/manifest.ts';
import { sampleManifest } from '../../fixtures/sample-manifest.ts';

describe('The manifest', () => {
  it('comes back as it was written', () => {
    const manifest = sampleManifest({ warnings: ['ünï "quoted"\n'] });
    expect(parseManifest(formatManifest(manifest), 'here')).toEqual(manifest);
  });

  it('of a newer Lifeboat is refused with both versions', () => {
    const text = JSON.stringify({ ...sampleManifest(), schemaVersion: 2 });
    expect(() => parseManifest(text, 's3://b/x.manifest.json')).toThrow(
      expect.objectContaining({
        code: 'MANIFEST_NEWER',
        message: expect.stringMatching(/s3:\/\/b\/x\.manifest\.json.*2.*1/),
      }),
    );
  });

  it('is refused when it is cut off, no manifest, or wrong in a field, and says where', () => {
    const text = formatManifest(sampleManifest());
    for (const wrong of [
      '',
      text.slice(0, 200),
      'null',
      '[]',
      '{}',
      text.replace('"rows": 1000', '"rows": -1'),
    ]) {
      expect(() => parseManifest(wrong, 'x.json')).toThrow(
        expect.objectContaining({ code: 'CORRUPT', message: expect.stringContaining('x.json') }),
      );
    }
    expect(() => parseManifest(text.replace('"rows": 1000', '"rows": -1'), 'x.json')).toThrow(
      'tables[0].rows',
    );
  });

  it('tells partitions and extension configuration tables from ordinary ones', () => {
    const sample = sampleManifest();
    const manifest = composeManifest({
      ...sample,
      id: { app: 'hostmaster', time: new Date(sample.startedAt) },
      finishedAt: new Date(sample.finishedAt),
      pgDumpVersion: '15.18',
      restricted: true,
      partitions: [{ schema: 'public', name: 'p1' }],
      extensionTables: [{ schema: 'ext', name: 'config' }],
      tables: [
        { schema: 'public', name: 'p1', rows: 1 },
        { schema: 'ext', name: 'config', rows: 2 },
        { schema: 'public', name: 'config', rows: 3 },
      ],
    });
    expect(manifest.tables.map(({ kind }) => kind)).toEqual([
      'partition',
      'extension-configuration',
      'table',
    ]);
    expect(totalRows(manifest)).toBe(6);
    expect(manifest.tools.psqlNeeded).toContain('15.14');
  });
});
