import {
  decodeRequest,
  ENCODED_REQUEST_PATTERN,
  encodeRequest,
  type RunRequest,
} from '../../../lib/domain/run/request.ts';
import {
  requireKind,
  requireRestore,
  requireThisHost,
  settingsOfRequest,
  walSettingsOfRequest,
} from '../../../lib/domain/run/request-settings.ts';
import { parseSettings } from '../../../scripts/agent/settings.ts';

const KEY = 'arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-555555555555';

const REQUEST: RunRequest = {
  schemaVersion: 1,
  runId: '20260117T020000Z-3f9a0c1b2d4e',
  operation: 'backup',
  trigger: 'schedule',
  instanceId: 'i-0123456789abcdef0',
  nonce: '00112233445566778899aabbccddeeff',
  requestedAt: '2026-01-17T02:00:01Z',
  deadline: '2026-01-17T09:10:01Z',
  series: {
    app: 'hostmaster',
    database: 'hostmaster_prod',
    dbHost: '/var/run/postgresql',
    port: 5433,
    user: 'postgres',
    osUser: 'postgres',
    pgBinDir: '/usr/pgsql-17/bin',
    format: 'custom',
    compression: 'zstd',
    compressionLevel: 3,
    backupDir: '/srv/backups',
    localRetentionDays: 5,
  },
  storage: {
    bucket: 'hostmaster-backups',
    prefix: 'database/i-0123456789abcdef0',
    stateBucket: 'hostmaster-state',
    statePrefix: 'database',
    region: 'eu-central-1',
    kmsKeyArn: KEY,
    retentionDays: 45,
  },
};

const RESTORE = { source: 'latest', database: 'staging', replace: false, globals: false };

function decode(value: unknown): RunRequest {
  return decodeRequest(Buffer.from(JSON.stringify(value)).toString('base64url'));
}

/** The request with one field changed. */
function changed(field: string, value: unknown): unknown {
  const copy = structuredClone({
    ...REQUEST,
    ...(field.startsWith('restore.') ? { restore: RESTORE, operation: 'restore' } : {}),
  });
  const names = field.split('.');
  const last = names.pop()!;
  const holder = names.reduce(
    (at, name) => at[name] as Record<string, unknown>,
    copy as Record<string, unknown>,
  );
  holder[last] = value;
  return copy;
}

describe('A request', () => {
  it('travels as base64url that means nothing to a shell, JSON or SSM', () => {
    const encoded = encodeRequest(REQUEST);
    expect(encoded).toMatch(new RegExp(ENCODED_REQUEST_PATTERN));
    expect(decodeRequest(encoded)).toEqual(REQUEST);
  });

  it('is refused in words when it is no request at all', () => {
    expect(() => decodeRequest('$(id)')).toThrow('no base64url text');
    expect(() => decodeRequest('x'.repeat(8193))).toThrow('at most 8192');
    expect(() => decodeRequest(Buffer.from('hello').toString('base64url'))).toThrow('The request is no JSON');
    expect(() => decode({ ...REQUEST, schemaVersion: 2 })).toThrow('schemaVersion');
    expect(() => decode([])).toThrow('cannot be understood');
  });

  it('says what to restore when it is a restore, and only then', () => {
    expect(() => decode({ ...REQUEST, operation: 'restore' })).toThrow('what to restore');
    expect(() => decode({ ...REQUEST, restore: RESTORE })).toThrow('what to restore');
  });
});

describe('The kind of a backup', () => {
  it('is one that the agent knows, and of a backup alone', () => {
    for (const kind of ['dump', 'base', 'both']) {
      const request = decode({ ...REQUEST, kind });
      expect(parseSettings(settingsOfRequest(request))).toMatchObject({ backupKind: kind });
    }
    expect(() => decode({ ...REQUEST, kind: 'full' })).toThrow('kind');
    expect(() => decode({ ...REQUEST, operation: 'verify', kind: 'dump' })).toThrow(
      'kind: a backup, and nothing else, has a kind',
    );
  });

  it('is a dump where nothing says more', () => {
    expect(parseSettings(settingsOfRequest(decode(REQUEST)))).toMatchObject({
      backupKind: 'dump',
      baseIncremental: false,
    });
  });
});

describe('The service that streams WAL', () => {
  it('has the request’s settings, but neither its run nor its kind', () => {
    const request = decode({
      ...REQUEST,
      kind: 'both',
      series: { ...REQUEST.series, pointInTimeRecovery: true, incrementalBaseBackups: true },
    });
    const settings = parseSettings(walSettingsOfRequest(request));
    expect(settings).toMatchObject({ runId: undefined, backupKind: 'dump', baseIncremental: true });
    expect(settings.s3).toMatchObject({
      bucket: 'hostmaster-backups',
      stateBucket: 'hostmaster-state',
      prefix: 'database/i-0123456789abcdef0',
    });
  });
});

describe('A request for a host outside of EC2', () => {
  it('is refused with what to do there instead', () => {
    expect(() => decode({ ...REQUEST, instanceId: 'mi-0123456789abcdef0' })).toThrow(
      'instanceId: is no EC2 instance: run Lifeboat on it by lifeboat install',
    );
  });
});

describe('A hostile value', () => {
  const HOSTILE = [
    '$(id)',
    '`id`',
    `'"; id; "'`,
    'a\nid\n',
    '../../etc/passwd',
    'x'.repeat(5000),
    'a\0b',
    '{{ id }}',
    ' ',
  ];

  it.each([
    'runId',
    'operation',
    'trigger',
    'instanceId',
    'nonce',
    'requestedAt',
    'deadline',
    'series.port',
    'series.osUser',
    'series.passwordSecretArn',
    'series.pgBinDir',
    'series.format',
    'series.compression',
    'series.compressionLevel',
    'series.backupDir',
    'series.localRetentionDays',
    'storage.bucket',
    'storage.prefix',
    'storage.stateBucket',
    'storage.statePrefix',
    'storage.region',
    'storage.retentionDays',
    'storage.kmsKeyArn',
    'restore.replace',
    'restore.globals',
  ])('in %s is refused, and the field is named', (field) => {
    for (const value of HOSTILE) expect(() => decode(changed(field, value))).toThrow(`${field}: `);
  });

  it('of 5 KB is refused in every text', () => {
    const long = 'x'.repeat(5000);
    for (const field of [
      'series.app',
      'series.database',
      'series.dbHost',
      'series.user',
      'storage.kmsKeyArn',
      'backupId',
    ])
      expect(() => decode(changed(field, long))).toThrow(`${field}: `);
    for (const field of ['restore.source', 'restore.database'])
      expect(() => decode(changed(field, long))).toThrow(`${field}: `);
  });

  it.each(['/var/backups/../../etc', 'var/backups', '/var/back ups', '/var/$x'])(
    'is a folder %s',
    (folder) => {
      expect(() => decode(changed('series.backupDir', folder))).toThrow('series.backupDir');
    },
  );
});

describe('The settings of a request', () => {
  it('are those that a person would type', () => {
    expect(parseSettings(settingsOfRequest(REQUEST))).toMatchObject({
      app: 'hostmaster',
      backupDir: '/srv/backups',
      database: {
        host: '/var/run/postgresql',
        port: 5433,
        name: 'hostmaster_prod',
        user: 'postgres',
        password: undefined,
        binDir: '/usr/pgsql-17/bin',
      },
      s3: {
        bucket: 'hostmaster-backups',
        prefix: 'database/i-0123456789abcdef0',
        stateBucket: 'hostmaster-state',
        kmsKeyId: KEY,
      },
      localRetentionDays: 5,
      s3RetentionDays: 45,
      format: 'custom',
      compression: 'zstd',
      compressionLevel: 3,
      runId: '20260117T020000Z-3f9a0c1b2d4e',
    });
  });

  it('leave out what the request leaves out', () => {
    const { compressionLevel, backupDir, pgBinDir, ...series } = REQUEST.series;
    const settings = settingsOfRequest({ ...REQUEST, series });
    expect(Object.values(settings)).not.toContain(undefined);
    expect(parseSettings(settings)).toMatchObject({
      backupDir: '/var/backups/hostmaster',
      compressionLevel: undefined,
    });
    expect([compressionLevel, backupDir, pgBinDir]).toHaveLength(3);
  });

  it('are refused for an app whose name cannot be part of a file name', () => {
    const series = { ...REQUEST.series, app: '../x' };
    expect(() => parseSettings(settingsOfRequest({ ...REQUEST, series }))).toThrow('"../x"');
  });
});

describe('Who may ask for what', () => {
  it('is decided by the document: backups by one, restores by the other', () => {
    const restore = { ...REQUEST, operation: 'restore', restore: RESTORE } as const;
    expect(() => requireKind(restore, 'backup')).toThrow('not for restore');
    expect(() => requireKind(REQUEST, 'restore')).toThrow('not for backup');
    for (const operation of ['backup', 'verify', 'status', 'list', 'retention'] as const)
      expect(() => requireKind({ ...REQUEST, operation }, 'backup')).not.toThrow();
    expect(() => requireKind(restore, 'restore')).not.toThrow();
    expect(() => requireKind(restore, undefined)).not.toThrow();
  });

  it('and by the host, where SSM says which it is', () => {
    expect(() => requireThisHost(REQUEST, 'i-0123456789abcdef0')).not.toThrow();
    expect(() => requireThisHost(REQUEST, undefined)).not.toThrow();
    expect(() => requireThisHost(REQUEST, 'i-00000000000000000')).toThrow('and this is i-00000000000000000');
  });

  it('and a file of the host is nothing to restore from', () => {
    const from = (source: string) =>
      requireRestore({ ...REQUEST, operation: 'restore', restore: { ...RESTORE, source } }).source;
    expect(['latest', 'hostmaster_db_20260117_020000', 's3://b/k.sql.gz'].map(from)).toHaveLength(3);
    for (const path of ['/etc/passwd', './x.sql.gz', 'dump.sql.gz'])
      expect(() => from(path)).toThrow('is a file of the host');
  });
});
