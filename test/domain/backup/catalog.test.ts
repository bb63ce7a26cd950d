import {
  catalogStore,
  latestBackup,
  mergeCopies,
  type StoreContents,
} from '../../../lib/domain/backup/catalog.ts';
import type { Manifest } from '../../../lib/domain/backup/manifest.ts';
import { sampleManifest } from '../../fixtures/sample-manifest.ts';

const modifiedAt = new Date('2026-01-17T02:01:00Z');

function filesOf(manifest: Manifest, change: { drop?: string; size?: number } = {}) {
  return [
    { key: manifest.dump.key, size: change.size ?? manifest.dump.size, modifiedAt },
    { key: manifest.globals.key, size: manifest.globals.size, modifiedAt },
    { key: `${manifest.id}.manifest.json`, size: 1, modifiedAt },
  ].filter(({ key }) => key !== change.drop);
}

function contents(files: StoreContents['files'], manifests: readonly Manifest[] = []): StoreContents {
  return {
    store: 'local',
    files,
    manifests: new Map(manifests.map((manifest) => [`${manifest.id}.manifest.json`, manifest])),
  };
}

describe('The catalog of a store', () => {
  const manifest = sampleManifest();

  it('calls a backup complete only with a manifest and every file in its size', () => {
    const state = (change: { drop?: string; size?: number }) =>
      catalogStore('hostmaster', contents(filesOf(manifest, change), [manifest]))[0]!;
    expect(state({}).state).toBe('complete');
    expect(state({ size: 1 })).toMatchObject({
      state: 'damaged',
      detail: expect.stringContaining('1 bytes instead of'),
    });
    expect(state({ drop: manifest.dump.key })).toMatchObject({
      state: 'damaged',
      detail: expect.stringContaining('missing'),
    });
    expect(state({ drop: manifest.globals.key }).state).toBe('damaged');
  });

  it('tells a dump of earlier scripts from one of ours that did not get its manifest', () => {
    const name = 'hostmaster_db_20260115_020000';
    const states = (...suffixes: string[]) =>
      catalogStore(
        'hostmaster',
        contents(suffixes.map((suffix) => ({ key: name + suffix, size: 5, modifiedAt }))),
      ).map(({ state }) => state);
    expect(states('.sql.gz')).toEqual(['without manifest']);
    expect(states('.sql.gz', '.globals.sql.gz')).toEqual(['unfinished']);
    expect(states('.sql.gz.partial')).toEqual(['unfinished']);
    expect(states('.globals.sql.gz')).toEqual(['unfinished']);
    expect(states('.sql.gz', '.manifest.json.partial')).toEqual(['unfinished']);
  });

  it('shows a manifest that cannot be read as such, and never as a backup', () => {
    const store = {
      ...contents(filesOf(manifest)),
      manifests: new Map([[`${manifest.id}.manifest.json`, new Error('schema version 2')]]),
    };
    expect(catalogStore('hostmaster', store)[0]).toMatchObject({
      state: 'unreadable',
      detail: 'schema version 2',
    });
  });

  it('does not take a manifest for that of another backup', () => {
    const copied = { ...manifest, id: 'hostmaster_db_20260118_020000' };
    const files = [
      { key: 'hostmaster_db_20260118_020000.manifest.json', size: 1, modifiedAt },
      ...filesOf(manifest),
    ];
    const manifests = new Map([
      ['hostmaster_db_20260118_020000.manifest.json', manifest],
      [`${manifest.id}.manifest.json`, manifest],
    ]);
    const [first] = catalogStore('hostmaster', { store: 'local', files, manifests });
    expect(first).toMatchObject({
      id: copied.id,
      state: 'unreadable',
      detail: expect.stringContaining(manifest.id),
    });
  });

  it('leaves the files of similarly named series alone', () => {
    const files = [
      'hostmaster_staging_db_20260115_020000.sql.gz',
      'hostmaster_db_db_20260115_020000.sql.gz',
      'hostmaster_db_20260115_020000.sql.gz.bak',
      'notes.txt',
    ].map((key) => ({ key, size: 1, modifiedAt }));
    expect(catalogStore('hostmaster', contents(files))).toEqual([]);
    expect(catalogStore('hostmaster_db', contents(files)).map(({ id }) => id)).toEqual([
      'hostmaster_db_db_20260115_020000',
    ]);
  });

  it('calls a copy damaged that its last verification proved wrong', () => {
    const failed = new Map([[manifest.id, 'SHA-256 differs']]);
    expect(catalogStore('hostmaster', contents(filesOf(manifest), [manifest]), failed)[0]).toMatchObject({
      state: 'damaged',
      detail: 'SHA-256 differs',
    });
  });
});

describe('The backups of a series', () => {
  const older = sampleManifest({
    id: 'hostmaster_db_20260116_020000',
    startedAt: '2026-01-16T02:00:00.000Z',
  });
  const newer = sampleManifest();

  it('are one entry each, newest first by recorded time, wherever their copies lie', () => {
    const local = catalogStore(
      'hostmaster',
      contents([...filesOf(older), ...filesOf(newer)], [older, newer]),
    );
    const s3 = catalogStore('hostmaster', { ...contents(filesOf(newer), [newer]), store: 's3' });
    const backups = mergeCopies([...local, ...s3]);
    expect(backups.map(({ id, copies }) => [id, copies.map(({ store }) => store)])).toEqual([
      [newer.id, ['local', 's3']],
      [older.id, ['local']],
    ]);
  });

  it('have as latest the newest of which one copy at least is complete', () => {
    const damaged = catalogStore('hostmaster', contents(filesOf(newer, { size: 0 }), [newer]));
    const good = catalogStore('hostmaster', contents(filesOf(older), [older]));
    expect(latestBackup(mergeCopies([...damaged, ...good]))?.id).toBe(older.id);
    expect(latestBackup(mergeCopies(damaged))).toBeUndefined();
  });
});
