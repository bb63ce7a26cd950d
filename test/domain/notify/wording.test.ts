import { describeBackup, describeRestore, describeTest } from '../../../lib/domain/notify/wording.ts';
import type { BackupOutcome, RestoreOutcome } from '../../../lib/domain/run/outcome.ts';

const NOW = new Date('2026-01-17T02:00:45Z');
const FACTS = {
  app: 'hostmaster',
  host: 'db-1',
  runId: '20260117T020000Z-1a2b',
  database: 'hostmaster_prod',
  durationMs: 45_000,
  warnings: [],
};
const GOOD_BACKUP: BackupOutcome = {
  ...FACTS,
  succeeded: true,
  id: 'hostmaster_db_20260117_020000',
  file: 'hostmaster_db_20260117_020000.sql.gz',
  bytes: 12 * 1024 * 1024,
  locations: [
    '/var/backups/hostmaster/hostmaster_db_20260117_020000.sql.gz',
    's3://hostmaster-backups/database/hostmaster_db_20260117_020000.sql.gz',
  ],
  totals: { tables: 12, rows: 1_234_567 },
};
const FAILED_BACKUP: BackupOutcome = {
  ...FACTS,
  succeeded: false,
  error: { code: 'DUMP_FAILED', message: 'pg_dump ended with status 1', hint: 'Run the backup again.' },
  lastGood: { id: 'hostmaster_db_20260116_020000', finishedAt: new Date('2026-01-16T01:00:45Z') },
};
const GOOD_RESTORE: RestoreOutcome = {
  ...FACTS,
  succeeded: true,
  source: 'hostmaster_db_20260117_020000',
  checked: { tables: 1, rows: 1 },
  keptAs: 'hostmaster_prod_before_20260117_080000',
};
const FAILED_RESTORE: RestoreOutcome = {
  ...FACTS,
  succeeded: false,
  source: 's3://hostmaster-backups/database/hostmaster_db_20260117_020000.sql.gz',
  error: { code: 'ROWS_DIFFER', message: 'users holds 9 rows, not 10', hint: 'Try another backup.' },
  targetUntouched: true,
};

describe('the message of a backup', () => {
  it('begins with the words of the user’s documents, then answers what they would ask next', () => {
    expect(describeBackup(GOOD_BACKUP, NOW)).toEqual({
      subject: '🔄 HostMaster DB Backup SUCCESS',
      body: [
        '✅ Backup completed successfully',
        'File: hostmaster_db_20260117_020000.sql.gz',
        'Size: 12M',
        'Duration: 45s',
        '',
        'Database: hostmaster_prod on db-1',
        'Holds: 12 tables, 1,234,567 rows',
        'Lies at: /var/backups/hostmaster/hostmaster_db_20260117_020000.sql.gz',
        'Lies at: s3://hostmaster-backups/database/hostmaster_db_20260117_020000.sql.gz',
        'Restore with: lifeboat restore hostmaster_db_20260117_020000',
        'Run: 20260117T020000Z-1a2b',
      ].join('\n'),
    });
  });

  it('says what was not done, and that a backup without a bucket dies with the host', () => {
    const { body } = describeBackup(
      { ...GOOD_BACKUP, locations: ['/var/backups/x'], warnings: ['Role passwords are not in it'] },
      NOW,
    );
    expect(body).toContain('⚠️ Only on this host');
    expect(body).toContain('⚠️ Role passwords are not in it');
  });

  it('names the error, the way out and the last good backup with its age when it failed', () => {
    expect(describeBackup(FAILED_BACKUP, NOW)).toEqual({
      subject: '🔄 HostMaster DB Backup FAILED',
      body: [
        '❌ pg_dump ended with status 1',
        'What to do: Run the backup again.',
        'Error: DUMP_FAILED',
        'Duration: 45s',
        '',
        'Database: hostmaster_prod on db-1',
        'Last good backup: hostmaster_db_20260116_020000, 25h 00m old (2026-01-16 01:00:45 UTC), is safe',
        'Run: 20260117T020000Z-1a2b',
      ].join('\n'),
    });
  });

  it.each([
    [undefined, '⚠️ There is no good backup of this database yet'],
    ['unknown' as const, '⚠️ Last good backup: could not be looked up; run: lifeboat status'],
  ])('claims nothing about a last good backup that is %p', (lastGood, line) => {
    expect(describeBackup({ ...FAILED_BACKUP, lastGood }, NOW).body).toContain(line);
  });

  it('shows any other app by its own name', () => {
    expect(describeBackup({ ...GOOD_BACKUP, app: 'shop' }, NOW).subject).toBe('🔄 shop DB Backup SUCCESS');
  });

  it('keeps names on their line and strips terminal codes', () => {
    const { body } = describeBackup({ ...GOOD_BACKUP, database: 'a\nError: none\u001b[31m' }, NOW);
    expect(body).toContain('Database: a Error: none [31m on db-1');
  });

  it('keeps both ends of a very long error, because the last line of stderr tells most', () => {
    const message = `pg_dump ended with status 1\n${'noise\n'.repeat(2000)}the disk is full`;
    const { body } = describeBackup(
      { ...FAILED_BACKUP, error: { code: 'DUMP_FAILED', message, hint: 'h' } },
      NOW,
    );
    expect(body).toMatch(/^❌ pg_dump ended with status 1\n/);
    expect(body).toMatch(/more characters, see the log …[^]*the disk is full\nWhat to do: h/);
    expect(body.length).toBeLessThan(2500);
  });
});

describe('the message of a restore', () => {
  it('says what was compared and under which name the old database is kept', () => {
    expect(describeRestore(GOOD_RESTORE)).toEqual({
      subject: '🔄 HostMaster DB Restore SUCCESS',
      body: [
        '✅ Restore completed successfully',
        'Source: hostmaster_db_20260117_020000',
        'Duration: 45s',
        '',
        'Database: hostmaster_prod on db-1',
        'Checked: 1 table, 1 row, as the manifest says',
        'Kept: the database that stood there before, as hostmaster_prod_before_20260117_080000; drop it when you are sure',
        'Run: 20260117T020000Z-1a2b',
      ].join('\n'),
    });
  });

  it('does not claim a check that could not be made', () => {
    const { body } = describeRestore({ ...GOOD_RESTORE, checked: undefined, keptAs: undefined });
    expect(body).toContain('⚠️ Not checked: the backup has no manifest');
    expect(body).not.toContain('Kept:');
  });

  it('says after a failure whether the target is as it was', () => {
    const { subject, body } = describeRestore(FAILED_RESTORE);
    expect(subject).toBe('🔄 HostMaster DB Restore FAILED');
    expect(body).toContain(
      '❌ users holds 9 rows, not 10\nWhat to do: Try another backup.\nError: ROWS_DIFFER',
    );
    expect(body).toContain('Safe: hostmaster_prod is as it was before');
    expect(describeRestore({ ...FAILED_RESTORE, targetUntouched: false }).body).toContain(
      '⚠️ hostmaster_prod may be incomplete',
    );
  });
});

describe('the test message', () => {
  it('says that the channel works, from where and when', () => {
    expect(describeTest({ app: 'hostmaster', host: 'db-1' }, NOW)).toEqual({
      subject: '🔄 HostMaster DB Notification TEST',
      body: [
        '✅ This channel works: success and failure of backups and restores will be told here',
        'Sent by: lifeboat notify --test on db-1',
        'Sent at: 2026-01-17 02:00:45 UTC',
      ].join('\n'),
    });
  });
});
