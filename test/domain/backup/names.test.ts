import { formatBackupId, parseBackupId, requireBackupId } from '../../../lib/domain/backup/backup-id.ts';
import { parseCopyTable } from '../../../lib/domain/backup/copy-statement.ts';
import {
  dumpKey,
  globalsKey,
  manifestKey,
  parseBackupFile,
  parseDumpSuffix,
} from '../../../lib/domain/backup/keys.ts';
import { displayName, parseAppName } from '../../../lib/domain/backup/series.ts';

const id = { app: 'hostmaster', time: new Date('2026-01-17T02:00:00Z') };

describe('The names of a backup', () => {
  it('are the ones that the user knows', () => {
    expect(formatBackupId(id)).toBe('hostmaster_db_20260117_020000');
    expect(dumpKey(id, { format: 'plain', compression: 'gzip' })).toBe(
      'hostmaster_db_20260117_020000.sql.gz',
    );
    expect(dumpKey(id, { format: 'custom', compression: 'zstd' })).toBe(
      'hostmaster_db_20260117_020000.dump.zst',
    );
    expect(globalsKey(id)).toBe('hostmaster_db_20260117_020000.globals.sql.gz');
    expect(manifestKey(id)).toBe('hostmaster_db_20260117_020000.manifest.json');
  });

  it('come back from what was formatted, for any app name', () => {
    for (const app of ['hostmaster', 'a', 'x.y-z_1', 'my_db_20200101_000000', 'app.sql.gz']) {
      const each = { app, time: id.time };
      expect(parseBackupId(formatBackupId(each))).toEqual(each);
      for (const format of ['plain', 'custom'] as const) {
        for (const compression of ['gzip', 'zstd'] as const) {
          const parsed = parseBackupFile(dumpKey(each, { format, compression }));
          expect(parsed).toEqual({
            id: each,
            partial: false,
            role: 'dump',
            encoding: { format, compression },
          });
        }
      }
      expect(parseBackupFile(`${manifestKey(each)}.partial`)).toEqual({
        id: each,
        partial: true,
        role: 'manifest',
      });
      expect(parseBackupFile(globalsKey(each))).toEqual({ id: each, partial: false, role: 'globals' });
    }
  });

  it('never take one series for another', () => {
    expect(parseBackupFile('hostmaster_staging_db_20260117_020000.sql.gz')?.id.app).toBe(
      'hostmaster_staging',
    );
    expect(parseBackupFile('hostmaster_db_db_20260117_020000.sql.gz')?.id.app).toBe('hostmaster_db');
  });

  it('refuse dates that do not exist and names that are none of ours', () => {
    for (const name of [
      'hostmaster_db_20260230_020000.sql.gz',
      'hostmaster_db_20260117_250000.sql.gz',
      'hostmaster_db_20260117_020000.sql.gz.bak',
      'hostmaster_db_20260117_020000.sql',
      'hostmaster_db_20260117_020000.foo.sql.gz',
      '../hostmaster_db_20260117_020000.sql.gz',
      '.hostmaster.lock',
    ]) {
      expect(parseBackupFile(name)).toBeUndefined();
    }
    expect(() => requireBackupId('latest')).toThrow('no backup id');
  });

  it('tell how any file is to be read by its end', () => {
    expect(parseDumpSuffix('/tmp/anything at all.sql.zst')).toEqual({ format: 'plain', compression: 'zstd' });
    expect(parseDumpSuffix('x.tar')).toBeUndefined();
  });
});

describe('The name of an app', () => {
  it('must be harmless in file names, keys and units', () => {
    for (const name of [
      '',
      '..',
      'a..b',
      '../x',
      'a b',
      "o'x",
      '$(id)',
      'ünï',
      'a/b',
      '-rf',
      '.hidden',
      'x'.repeat(64),
    ]) {
      expect(() => parseAppName(name)).toThrow('APP_NAME');
    }
    expect(parseAppName('host-master_2.eu')).toBe('host-master_2.eu');
  });

  it('is shown as the user’s product is called', () => {
    expect(displayName('hostmaster')).toBe('HostMaster');
    expect(displayName('billing')).toBe('billing');
  });
});

describe('The table of a COPY statement', () => {
  it('is read from bare and quoted names', () => {
    expect(parseCopyTable('COPY public.users (id, email) FROM stdin')).toEqual({
      schema: 'public',
      name: 'users',
    });
    expect(parseCopyTable('COPY public.nothing  FROM stdin')).toEqual({ schema: 'public', name: 'nothing' });
    expect(parseCopyTable('COPY "a.b"."c""d ("  ("x") FROM stdin')).toEqual({ schema: 'a.b', name: 'c"d (' });
    expect(parseCopyTable('COPY users FROM stdin')).toBeUndefined();
  });
});
