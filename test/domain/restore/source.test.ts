import { parseRestoreSource, splitPath } from '../../../lib/domain/restore/source.ts';

describe('parseRestoreSource', () => {
  it('knows latest, ids, paths and S3 URLs apart', () => {
    expect(parseRestoreSource('latest')).toEqual({ kind: 'latest' });
    expect(parseRestoreSource('hostmaster_db_20260115_020000')).toEqual({
      kind: 'id',
      id: { app: 'hostmaster', time: new Date('2026-01-15T02:00:00Z') },
    });
    expect(parseRestoreSource('/var/backups/hostmaster/hostmaster_db_20260115_020000.sql.gz')).toEqual({
      kind: 'path',
      path: '/var/backups/hostmaster/hostmaster_db_20260115_020000.sql.gz',
    });
    expect(parseRestoreSource('s3://hostmaster-backups/database/x.sql.gz')).toEqual({
      kind: 's3',
      bucket: 'hostmaster-backups',
      key: 'database/x.sql.gz',
    });
  });

  it('takes a key for what it says, whatever characters it has', () => {
    expect(parseRestoreSource('s3://bucket/a b/../%41?#/x.sql.gz')).toMatchObject({
      key: 'a b/../%41?#/x.sql.gz',
    });
  });

  it.each([
    'backup.sql',
    'backup.dump',
    'dump.sql.zst',
    './latest',
    'hostmaster_db_20260115_020000.manifest.json',
  ])('takes %s for a path', (text) => expect(parseRestoreSource(text)).toEqual({ kind: 'path', path: text }));

  it.each([
    '',
    'newest',
    'hostmaster_db_20261315_020000',
    's3://bucket',
    's3://bucket/',
    's3:///key',
    's3://b/folder/',
  ])('refuses %j and says what is wanted', (text) =>
    expect(() => parseRestoreSource(text)).toThrow(/give latest, a backup’s id, a file’s path or s3:/),
  );

  it('splits a path after its last slash', () => {
    expect(splitPath('/a/b/c.gz')).toEqual({ folder: '/a/b/', name: 'c.gz' });
    expect(splitPath('c.gz')).toEqual({ folder: '', name: 'c.gz' });
  });
});
