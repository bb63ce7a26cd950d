import { describeBothBackups, type BothOutcome } from '../../../lib/domain/notify/both-wording.ts';

const NOW = new Date('2026-01-17T03:00:00Z');
const dump = {
  id: 'hostmaster_db_20260117_020000',
  file: 'hostmaster_db_20260117_020000.sql.gz',
  bytes: 12 * 1024 ** 2,
  locations: ['s3://backups/database/hostmaster_db_20260117_020000.sql.gz'],
  totals: { tables: 12, rows: 1_234_567 },
};
const base = {
  label: 'hostmaster_base_20260117_020100',
  parent: 'hostmaster_base_20260116_020100',
  bytes: 2 * 1024 ** 3,
  rawBytes: 5 * 1024 ** 3,
  startLsn: '16/B3000028',
  stopLsn: '16/B374D848',
  location: 's3://backups/database/pitr/hostmaster/7300000000000000001/base/hostmaster_base_20260117_020100/',
  restorable: {
    earliest: '2026-01-10T02:04:11.123456Z',
    latest: '2026-01-17T02:05:59.654321Z',
    holes: 0,
  },
};
const GOOD: BothOutcome = {
  app: 'hostmaster',
  host: 'db1',
  runId: 'run-1',
  database: 'hostmaster_prod',
  durationMs: 312_000,
  warnings: [],
  dump,
  base,
  failure: undefined,
};
const failure = { code: 'S3_DENIED', message: 'The base backup failed', hint: 'Give the right.' };

describe('The message of a dump and a base backup', () => {
  it('says of each how large it is and where it lies, and to which instants the cluster can go back', () => {
    const { subject, body } = describeBothBackups(GOOD, NOW);
    expect(subject).toBe('🔄 HostMaster DB Backup SUCCESS');
    expect(body.split('\n')).toEqual([
      '✅ Backup completed successfully',
      'File: hostmaster_db_20260117_020000.sql.gz',
      'Size: 12M',
      'Base backup: hostmaster_base_20260117_020100, incremental, on hostmaster_base_20260116_020100',
      'Its size: 2.0G (5.0G before compression)',
      'Duration: 5m 12s',
      '',
      'Database: hostmaster_prod on db1',
      'Holds: 12 tables, 1,234,567 rows',
      'Dump lies at: s3://backups/database/hostmaster_db_20260117_020000.sql.gz',
      'WAL: 16/B3000028 to 16/B374D848, all of it in the backup',
      'Restorable to any second: 2026-01-10 02:04:11 UTC to 2026-01-17 02:05:59 UTC',
      `Base backup lies at: ${base.location}`,
      'Restore with: lifeboat restore hostmaster_db_20260117_020000',
      'Run: run-1',
    ]);
  });

  it('does not promise the seconds that a hole takes away', () => {
    const restorable = { ...base.restorable, holes: 2 };
    const { body } = describeBothBackups({ ...GOOD, base: { ...base, restorable } }, NOW);
    expect(body).toContain('02:05:59 UTC, but for 2 holes: wal status on its host tells of each\n');
  });

  it('of which one failed says what stands, and the last good one of the other', () => {
    const lastGoodBase = {
      id: 'hostmaster_base_20260116_020100',
      finishedAt: new Date('2026-01-16T03:00:00Z'),
    };
    const half = { ...GOOD, base: undefined, failure, lastGoodBase };
    const { subject, body } = describeBothBackups(half, NOW);
    expect(subject).toBe('🔄 HostMaster DB Backup FAILED');
    expect(body).toMatch(/^❌ The base backup failed\nWhat to do: Give the right.\nError: S3_DENIED\n/);
    expect(body).toContain('\nDump made all the same: hostmaster_db_20260117_020000, 12M\nHolds: 12 tables');
    expect(body).toContain(
      '\nBase backup: Last good backup: hostmaster_base_20260116_020100, 24h 00m old (2026-01-16 03:00:00 UTC), is safe\n',
    );
    const other = describeBothBackups({ ...GOOD, dump: undefined, failure, lastGood: 'unknown' }, NOW).body;
    expect(other).toContain('\nDump: ⚠️ Last good backup: could not be looked up');
    expect(other).toContain('\nBase backup stored all the same: hostmaster_base_20260117_020100\nWAL: ');
  });
});
