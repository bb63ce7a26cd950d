import { parseDeploymentConfig } from '../../../lib/domain/deployment/config.ts';
import {
  decodeRequest,
  encodeRequest,
  LONGEST_ENCODED_REQUEST,
  runRequestSchema,
  type RunRequest,
} from '../../../lib/domain/run/request.ts';
import { parseCommandRecord } from '../../../lib/domain/start/command-record.ts';
import { backupPrefix } from '../../../lib/domain/start/places.ts';
import { makeRequest } from '../../../lib/domain/start/request.ts';

const INSTANCE = 'i-0123456789abcdef0';
const NONCE = '00112233445566778899aabbccddeeff';
const FULL = {
  app: 'shop',
  database: 'shop',
  host: { tag: { key: 'Role', value: 'db' } },
  dbHost: '10.0.0.7',
  port: 6432,
  user: 'backup',
  osUser: 'backup',
  passwordSecretArn: 'arn:aws:secretsmanager:eu-west-1:111122223333:secret:shop-AbCdEf',
  pgBinDir: '/usr/lib/postgresql/15/bin',
  format: 'custom',
  compression: 'zstd',
  compressionLevel: 3,
  backupDir: '/srv/backups',
  localRetentionDays: 3,
  pointInTimeRecovery: true,
  incrementalBaseBackups: true,
};
const config = parseDeploymentConfig(
  {
    series: [{ database: 'hostmaster', host: { instanceId: INSTANCE } }, FULL],
    limits: { runMinutes: 90, deliveryMinutes: 20 },
    storage: {
      prefix: 'db/prod',
      retentionDays: 14,
      kmsKeyArn: 'arn:aws:kms:eu-west-1:111122223333:key/01234567-89ab-cdef-0123-456789abcdef',
    },
  },
  'test',
);

function requestFor(index: number) {
  return makeRequest({
    config,
    target: { series: config.series[index]!, instanceId: INSTANCE },
    runId: '20260117T020000Z-0123456789ab',
    operation: 'backup',
    trigger: 'schedule',
    now: new Date('2026-01-17T02:00:05Z'),
    bucket: 'backups',
    stateBucket: 'state',
    region: 'eu-west-1',
    nonce: NONCE,
  });
}

describe('a request', () => {
  it.each([0, 1])('of any series is what the host accepts', (index) => {
    const request = requestFor(index);
    expect(runRequestSchema.parse(request)).toEqual(request);
    expect(decodeRequest(encodeRequest(request))).toEqual(request);
  });

  it('carries every setting of its series and none of another', () => {
    const { host: _, ...series } = FULL;
    expect(requestFor(1).series).toEqual(series);
    expect(requestFor(1).storage).toEqual({
      bucket: 'backups',
      stateBucket: 'state',
      prefix: `db/prod/${INSTANCE}`,
      statePrefix: 'db/prod',
      region: 'eu-west-1',
      kmsKeyArn: 'arn:aws:kms:eu-west-1:111122223333:key/01234567-89ab-cdef-0123-456789abcdef',
      retentionDays: 14,
    });
    expect(Object.keys(requestFor(0).series)).not.toContain('passwordSecretArn');
  });

  it('of a night makes what the series’ configuration says', () => {
    expect([requestFor(0).kind, requestFor(1).kind]).toEqual(['dump', 'both']);
  });

  it('is certainly over once delivery, each step of the document and the run have timed out, and ten minutes more', () => {
    const minutes = 20 + (1 + 60 + 60) + 90 + 10;
    const { requestedAt, deadline } = requestFor(0);
    expect(Date.parse(deadline) - Date.parse(requestedAt)).toBe(minutes * 60_000);
  });

  it('keeps the hosts that were chosen by tag apart', () => {
    const [fixed, tagged] = config.series;
    expect(backupPrefix(config, { series: fixed!, instanceId: INSTANCE })).toBe('db/prod');
    expect(backupPrefix(config, { series: tagged!, instanceId: INSTANCE })).toBe(`db/prod/${INSTANCE}`);
  });
});

describe('whatever the configuration takes, the host takes', () => {
  const NAME = '"'.repeat(63);
  const LONGEST = {
    app: 'a'.repeat(63),
    database: NAME,
    user: NAME,
    host: { tag: { key: 'Role', value: 'db' } },
    dbHost: '€'.repeat(255),
    port: 65_535,
    osUser: 'a'.repeat(32),
    passwordSecretArn:
      `arn:aws-us-gov:secretsmanager:us-gov-west-1:111122223333:secret:${'s'.repeat(1024)}`.slice(0, 1024),
    pgBinDir: `/${'p'.repeat(254)}`,
    format: 'custom',
    compression: 'zstd',
    compressionLevel: 19,
    backupDir: `/${'b'.repeat(254)}`,
    localRetentionDays: 36_500,
  };
  const storage = {
    prefix: 'p'.repeat(200),
    retentionDays: 3650,
    expirationDays: 3651,
    kmsKeyArn: 'arn:aws-us-gov:kms:us-gov-west-1:111122223333:key/mrk-0123456789abcdef0123456789abcdef',
  };

  function requestOf(series: object, restore?: RunRequest['restore']): RunRequest {
    const parsed = parseDeploymentConfig({ series: [series], storage }, 'test');
    return makeRequest({
      config: parsed,
      target: { series: parsed.series[0]!, instanceId: INSTANCE },
      runId: '20260117T020000Z-0123456789ab',
      operation: restore ? 'restore' : 'backup',
      trigger: 'manual',
      now: new Date('2026-01-17T02:00:05Z'),
      bucket: 'b'.repeat(63),
      stateBucket: 's'.repeat(63),
      region: 'us-gov-west-1',
      nonce: NONCE,
      ...(restore && { restore }),
    });
  }

  it('the longest of everything at once', () => {
    const source = `s3://${'b'.repeat(63)}/${'k'.repeat(1024)}`.slice(0, 1024);
    const request = requestOf(LONGEST, { source, database: NAME, replace: true, globals: true });
    const encoded = encodeRequest(request);
    expect(encoded.length).toBeLessThanOrEqual(LONGEST_ENCODED_REQUEST);
    expect(decodeRequest(encoded)).toEqual(request);
  });

  it.each([
    ['backupDir', '/srv/../etc'],
    ['pgBinDir', '/usr/lib/../bin'],
    ['backupDir', `/${'b'.repeat(255)}`],
    ['dbHost', 'h'.repeat(256)],
    ['dbHost', 'a\nb'],
    ['passwordSecretArn', `${LONGEST.passwordSecretArn}x`],
  ])('and what the host refuses, the configuration refuses: %s', (field, value) => {
    expect(() => requestOf({ ...LONGEST, [field]: value })).toThrow(`series.0.${field}: `);
    const request = requestOf(LONGEST);
    const wrong = { ...request, series: { ...request.series, [field]: value } };
    expect(runRequestSchema.safeParse(wrong).success).toBe(false);
  });
});

describe('the record of a command', () => {
  it('that cannot be read is none', () => {
    const record = { commandId: 'c', sentAt: '2026-01-17T02:00:05.000Z' };
    expect(parseCommandRecord(JSON.stringify(record))).toEqual(record);
    for (const text of ['', '{', '{}', '{"commandId":7}']) expect(parseCommandRecord(text)).toBeUndefined();
  });
});
