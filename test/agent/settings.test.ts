import { parseSettings, requireDatabaseName } from '../../scripts/agent/settings.ts';

describe('The settings', () => {
  it('have the defaults of the user’s guide', () => {
    expect(parseSettings({})).toMatchObject({
      app: 'hostmaster',
      backupDir: '/var/backups/hostmaster',
      database: { port: 5432, user: 'postgres' },
      s3: undefined,
      localRetentionDays: 7,
      s3RetentionDays: 30,
      format: 'plain',
      compression: 'gzip',
    });
  });

  it('are read as the user types them', () => {
    const settings = parseSettings({
      DB_HOST: 'localhost',
      DB_PORT: '5433',
      DB_NAME: 'hostmaster_prod',
      DB_PASSWORD: `it's "a" $(pass)\\ word`,
      S3_BUCKET: 'hostmaster-backups',
      S3_PREFIX: '/database/',
      EMAIL_TO: 'a@example.com, b@example.com',
    });
    expect(settings.database).toMatchObject({
      host: 'localhost',
      port: 5433,
      password: `it's "a" $(pass)\\ word`,
    });
    expect(settings.s3).toMatchObject({
      bucket: 'hostmaster-backups',
      prefix: 'database',
      stateBucket: 'hostmaster-backups',
    });
    expect(settings.notify.emailTo).toEqual(['a@example.com', 'b@example.com']);
  });

  it('say what a number may be', () => {
    const wrong = {
      DB_PORT: 'abc',
      LOCAL_RETENTION_DAYS: '0.5',
      RESTORE_JOBS: '65',
      MAX_BACKUP_AGE_HOURS: '-1',
      WAL_JOURNAL_SECONDS: 'x',
    };
    expect(() => parseSettings(wrong)).toThrow(
      expect.objectContaining({
        message: [
          'Settings are wrong:',
          '- DB_PORT="abc": must be a whole number from 1 to 65535',
          '- LOCAL_RETENTION_DAYS="0.5": must be a whole number from 1 to 36500',
          '- RESTORE_JOBS="65": must be a whole number from 1 to 64',
          '- MAX_BACKUP_AGE_HOURS="-1": must be a number above 0',
          '- WAL_JOURNAL_SECONDS="x": must be a number from 1 to 3600',
        ].join('\n'),
      }) as Error,
    );
  });

  it('treat an empty variable as one that is not set', () => {
    expect(parseSettings({ S3_BUCKET: '', SLACK_WEBHOOK_URL: '', DB_PORT: '' }).s3).toBeUndefined();
  });

  it('report every problem at once', () => {
    const wrong = {
      APP_NAME: '../x',
      DB_PORT: '99999',
      BACKUP_FORMAT: 'tar',
      LOCAL_RETENTION_DAYS: '0',
      BACKUP_DIR: 'relative',
      S3_PREFIX: 'a/../b',
      PGPORT: 'abc',
    };
    let message = '';
    try {
      parseSettings(wrong);
    } catch (error) {
      message = (error as Error).message;
    }
    for (const name of Object.keys(wrong)) expect(message).toContain(name);
  });

  it('take prefixes with any harmless character', () => {
    for (const prefix of ['database', 'a b', 'ünï', '$(id)', "it's", 'a/b/c']) {
      expect(parseSettings({ S3_BUCKET: 'bucket', S3_PREFIX: prefix }).s3?.prefix).toBe(prefix);
    }
    for (const prefix of ['..', 'a//b', './a', 'a\nb', 'a\\b']) {
      expect(() => parseSettings({ S3_BUCKET: 'bucket', S3_PREFIX: prefix })).toThrow('S3_PREFIX');
    }
  });

  it('count a database name in bytes, as PostgreSQL does', () => {
    expect(parseSettings({ DB_NAME: 'ü'.repeat(31) }).database.name).toHaveLength(31);
    expect(() => parseSettings({ DB_NAME: 'ü'.repeat(32) })).toThrow('63 bytes');
  });

  it('limit the level to what the compression knows', () => {
    expect(
      parseSettings({ BACKUP_COMPRESSION: 'zstd', BACKUP_COMPRESSION_LEVEL: '19' }).compressionLevel,
    ).toBe(19);
    expect(() => parseSettings({ BACKUP_COMPRESSION_LEVEL: '10' })).toThrow('BACKUP_COMPRESSION_LEVEL');
    expect(() => parseSettings({ BACKUP_COMPRESSION: 'zstd', BACKUP_COMPRESSION_LEVEL: '-1' })).toThrow(
      'BACKUP_COMPRESSION_LEVEL',
    );
  });

  it('say how to name the database when a command needs one', () => {
    expect(() => requireDatabaseName(parseSettings({}))).toThrow(
      expect.objectContaining({ code: 'SETTINGS_INVALID', hint: expect.stringContaining('export DB_NAME=') }),
    );
  });
});
