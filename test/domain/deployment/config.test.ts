import { readFileSync } from 'node:fs';
import {
  backupKindOf,
  deploymentJsonSchema,
  parseDeploymentConfig,
} from '../../../lib/domain/deployment/config.ts';
import { cronExpression, scheduleSchema } from '../../../lib/domain/deployment/schedule.ts';
import { LifeboatError } from '../../../lib/domain/errors.ts';

const host = { instanceId: 'i-0123456789abcdef0' };
const one = { host, database: 'hostmaster' };

function refusal(value: unknown): LifeboatError {
  try {
    parseDeploymentConfig(value, 'lifeboat.config.json');
  } catch (error) {
    if (error instanceof LifeboatError) return error;
  }
  throw new Error('It was not refused');
}

describe('The deployment’s configuration', () => {
  it('needs a host and a database, and knows the rest', () => {
    const { name, series, schedule, limits, notifications } = parseDeploymentConfig(
      { series: [one] },
      'the test',
    );
    expect(name).toBe('Lifeboat');
    expect(series).toEqual([
      {
        ...one,
        app: 'hostmaster',
        dbHost: '/var/run/postgresql',
        port: 5432,
        user: 'postgres',
        osUser: 'postgres',
        format: 'plain',
        compression: 'gzip',
        localRetentionDays: 7,
        pointInTimeRecovery: false,
        incrementalBaseBackups: false,
      },
    ]);
    expect(cronExpression(schedule)).toBe('cron(0 2 * * ? *)');
    expect(limits).toMatchObject({ maxBackupAgeHours: 26 });
    expect(notifications.emails).toEqual([]);
  });

  it('makes base backups beside the dumps where point-in-time recovery is set up', () => {
    const { series } = parseDeploymentConfig(
      {
        series: [
          { ...one, pointInTimeRecovery: true, incrementalBaseBackups: true },
          { ...one, app: 'b' },
        ],
      },
      'the test',
    );
    expect(series.map(backupKindOf)).toEqual(['both', 'dump']);
    const alone = refusal({ series: [{ ...one, incrementalBaseBackups: true }] });
    expect(alone.message).toContain(
      '- series.0.incrementalBaseBackups: there are no nightly base backups without pointInTimeRecovery (hostmaster)',
    );
  });

  it('tells every problem at once, each with its place', () => {
    const { code, message, hint } = refusal({
      name: '1st',
      storage: { transitionDays: 29 },
      schedule: { at: '25:00' },
      notifications: { emails: ['nobody'] },
      series: [{ host: { instanceId: 'web-1' }, database: '' }],
    });
    expect(code).toBe('SETTINGS_INVALID');
    for (const place of [
      'name',
      'storage.transitionDays',
      'schedule.at',
      'notifications.emails.0',
      'series.0.host.instanceId',
    ])
      expect(message).toContain(`- ${place}: `);
    expect(message).toContain('- series.0.database: ');
    expect(hint).toContain('lifeboat.config.json');
  });

  it('refuses two series of one app name, whose backups would mix', () => {
    expect(refusal({ series: [one, { ...one, database: 'other' }] }).message).toContain(
      'the app name "hostmaster" is used twice',
    );
  });

  it('refuses them beside whatever else is wrong', () => {
    const { message } = refusal({
      storage: { retentionDays: 0 },
      series: [one, { ...one, compressionLevel: 12 }],
    });
    for (const line of [
      '- storage.retentionDays: ',
      '- series: the app name',
      '- series.1.compressionLevel: gzip',
    ])
      expect(message).toContain(line);
  });

  it('takes many hosts and databases, by instance id or by tag', () => {
    const series = [
      one,
      { ...one, app: 'billing', database: 'billing' },
      { ...one, app: 'fleet', host: { tag: { key: 'lifeboat', value: 'yes' } } },
    ];
    expect(parseDeploymentConfig({ series }, 'the test').series.map(({ app }) => app)).toEqual([
      'hostmaster',
      'billing',
      'fleet',
    ]);
  });

  it.each([
    ['a typing error', { ...one, databse: 'x' }],
    ['a compression level that gzip has not', { ...one, compressionLevel: 10 }],
    ['a control character in a name', { ...one, database: 'a\nb' }],
    ['a name that PostgreSQL would cut off', { ...one, database: 'x'.repeat(64) }],
    ['a user that is a command', { ...one, osUser: 'postgres; id' }],
    ['a folder that is not absolute', { ...one, backupDir: '../backups' }],
    ['a password in plain', { ...one, password: 'secret' }],
    ['a secret that is no ARN', { ...one, passwordSecretArn: 'my-secret' }],
    ['a port out of range', { ...one, port: 70_000 }],
    ['an app name that leads elsewhere', { ...one, app: '../other' }],
  ])('refuses %s', (_, series) => {
    expect(refusal({ series: [series] }).message).toContain('- series.0');
  });

  it('says what a host must look like, whatever was written instead', () => {
    for (const wrong of [
      'i-0123456789abcdef0',
      {},
      { instanceId: 5 },
      { ...host, tag: { key: 'a', value: 'b' } },
    ])
      expect(refusal({ series: [{ ...one, host: wrong }] }).message).toContain(
        '- series.0.host: is neither {"instanceId": "i-0123456789abcdef0"} nor {"tag": {"key": "…", "value": "…"}}',
      );
  });

  it('refuses a tag without a value, by which SSM finds nothing', () => {
    expect(refusal({ series: [{ ...one, host: { tag: { key: 'backup', value: '' } } }] }).message).toContain(
      '- series.0.host.tag.value: ',
    );
  });

  it('refuses a host outside of EC2, whose credentials are root’s alone', () => {
    expect(refusal({ series: [{ ...one, host: { instanceId: 'mi-0123456789abcdef0' } }] }).message).toContain(
      '- series.0.host.instanceId: is no EC2 instance: run Lifeboat on it by lifeboat install',
    );
  });

  it('calls what is missing missing', () => {
    expect(refusal({}).message).toContain('- series: is missing (array)');
    expect(refusal({ series: [{ host }] }).message).toContain('- series.0.database: is missing (string)');
  });

  it('is described for editors by docs/lifeboat.config.schema.json; `npm run schema` brings that up to date', () => {
    const written: unknown = JSON.parse(readFileSync('docs/lifeboat.config.schema.json', 'utf8'));
    expect(written).toEqual(JSON.parse(JSON.stringify(deploymentJsonSchema())));
  });

  it('has an example that is right', () => {
    const example: unknown = JSON.parse(readFileSync('lifeboat.config.example.json', 'utf8'));
    expect(parseDeploymentConfig(example, 'the example').series).toHaveLength(1);
    expect(example).toMatchObject({ $schema: './docs/lifeboat.config.schema.json' });
  });
});

describe('The schedule', () => {
  it('is a time of day, in UTC unless a time zone is named', () => {
    const at = (settings: Record<string, unknown>): string => cronExpression(scheduleSchema.parse(settings));
    expect(at({})).toBe('cron(0 2 * * ? *)');
    expect(at({ at: '23:59', timeZone: 'Europe/Berlin' })).toBe('cron(59 23 * * ? *)');
    expect(() => at({ at: '2:00' })).toThrow('is no time of day');
    for (const timeZone of ['Mars/Olympus', '+02:00', 'europe/berlin', 'utc'])
      expect(() => at({ timeZone })).toThrow('is no time zone');
    expect(at({ timeZone: 'Europe/Kyiv' })).toBe('cron(0 2 * * ? *)');
  });
});
