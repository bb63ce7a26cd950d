import { describeBaseBackup, type BaseBackupOutcome } from '../../../lib/domain/notify/base-wording.ts';

const NOW = new Date('2026-01-17T03:00:00Z');
const GOOD: BaseBackupOutcome = {
  app: 'hostmaster',
  host: 'db1',
  runId: 'run-1',
  durationMs: 312_000,
  warnings: [],
  stored: {
    label: 'hostmaster_base_20260117_020000',
    parent: null,
    bytes: 12 * 1024 ** 3,
    rawBytes: 40 * 1024 ** 3,
    startLsn: '16/B3000028',
    stopLsn: '16/B374D848',
    location:
      's3://backups/database/pitr/hostmaster/7300000000000000001/base/hostmaster_base_20260117_020000/',
  },
  failure: undefined,
};

describe('The message of a base backup', () => {
  it('says on success what it is, how large, how long it took, and from where to where its WAL goes', () => {
    const { subject, body } = describeBaseBackup(GOOD, NOW);
    expect(subject).toBe('🔄 HostMaster DB Base Backup SUCCESS');
    expect(body.split('\n')).toEqual([
      '✅ Base backup completed successfully',
      'Backup: hostmaster_base_20260117_020000',
      'Kind: full',
      'Size: 12G (40G before compression)',
      'Duration: 5m 12s',
      '',
      'WAL: 16/B3000028 to 16/B374D848, all of it in the backup',
      `Lies at: ${GOOD.stored!.location}`,
      'Host: db1',
      'Run: run-1',
    ]);
  });

  it('names what an incremental one is built on, and its warnings, each on a line of its own', () => {
    const stored = { ...GOOD.stored!, parent: 'hostmaster_base_20260116_020000' };
    const { body } = describeBaseBackup({ ...GOOD, stored, warnings: ['no checksums'] }, NOW);
    expect(body).toContain('\nKind: incremental, on hostmaster_base_20260116_020000\n');
    expect(body).toContain('\n⚠️ no checksums\n');
  });

  it('warns where the only copy lies on the host itself', () => {
    const { body } = describeBaseBackup(
      { ...GOOD, stored: { ...GOOD.stored!, location: '/var/backups/x/' } },
      NOW,
    );
    expect(body).toContain('⚠️ Only on this host');
  });

  const failure = { code: 'DB_LOST', message: 'The connection broke', hint: 'Run it again.' };

  it('says on failure what failed, what to do, and how old the last good one is', () => {
    const lastGood = { id: 'hostmaster_base_20260116_020000', finishedAt: new Date('2026-01-16T02:10:00Z') };
    const { subject, body } = describeBaseBackup({ ...GOOD, stored: undefined, failure, lastGood }, NOW);
    expect(subject).toBe('🔄 HostMaster DB Base Backup FAILED');
    expect(body.split('\n')).toEqual([
      '❌ The connection broke',
      'What to do: Run it again.',
      'Error: DB_LOST',
      'Duration: 5m 12s',
      '',
      'Last good backup: hostmaster_base_20260116_020000, 24h 50m old (2026-01-16 02:10:00 UTC), is safe',
      'Host: db1',
      'Run: run-1',
    ]);
  });

  it('tells where a backup with damaged pages lies all the same', () => {
    const { body } = describeBaseBackup({ ...GOOD, failure }, NOW);
    expect(body).toContain('Stored all the same: hostmaster_base_20260117_020000\nWAL: 16/B3000028');
    expect(body).toContain('There is no good backup');
  });
});
