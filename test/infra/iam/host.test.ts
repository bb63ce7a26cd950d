import { ACCOUNT, REGION } from '../synthesize.ts';
import { readAuthority, s3Calls, type Authority, type Call } from './authority.ts';

const SLACK = '/lifeboat/slack-webhook-url';
const SECRET = `arn:aws:secretsmanager:${REGION}:${ACCOUNT}:secret:hostmaster-AbCdEf`;
const KEY = `arn:aws:kms:${REGION}:${ACCOUNT}:key/11111111-2222-3333-4444-555555555555`;
const FOREIGN = `arn:aws:iam::${ACCOUNT}:role/databases/db-host`;
const host = { instanceId: 'i-0123456789abcdef0' };
const settings = {
  storage: { kmsKeyArn: KEY },
  notifications: { slackParameter: SLACK },
  series: [{ host, database: 'hostmaster', passwordSecretArn: SECRET }],
};

const RUN = 'database/runs/2026/01/17/20260117T020000Z-3f9a0c1b2d4e';
const DUMP = 'database/hostmaster_db_20260117_020000.sql.gz';
const MANIFEST = 'database/hostmaster_db_20260117_020000.manifest.json';

const made = readAuthority(settings);
const given = readAuthority({ ...settings, hostRoleName: 'db-host' }, FOREIGN);
const hosts: [string, Authority, { roleArn: string }][] = [
  ['a host with the role that was made for it', made, made.role('HostRole') as { roleArn: string }],
  ['a host with a role that it had', given, { roleArn: FOREIGN }],
];

/** On any bucket of ours; none of it may be got around by a role that was given too much elsewhere. */
const never = (backups: ReturnType<typeof s3Calls>): [string, (key: string) => Call[]][] => [
  [
    'delete a backup',
    (key) => ['DeleteObject', 'DeleteObjectVersion'].map((action) => backups.on(action, key)),
  ],
  [
    'overwrite a backup',
    (key) => [
      backups.overwrite(key),
      backups.on('PutObject', key, { 's3:if-match': '"etag"', 's3:ObjectCreationOperation': 'true' }),
    ],
  ],
  [
    'tag a backup',
    (key) =>
      [
        'PutObjectTagging',
        'PutObjectVersionTagging',
        'DeleteObjectTagging',
        'DeleteObjectVersionTagging',
      ].map((action) => backups.on(action, key)),
  ],
  [
    'change a backup’s lock',
    (key) =>
      ['PutObjectRetention', 'PutObjectLegalHold', 'BypassGovernanceRetention'].map((action) =>
        backups.on(action, key),
      ),
  ],
  [
    'open a backup to others',
    (key) =>
      ['PutObjectAcl', 'PutObjectVersionAcl', 'ObjectOwnerOverrideToBucketOwner'].map((action) =>
        backups.on(action, key),
      ),
  ],
  [
    'forge a copy of a backup',
    (key) => ['ReplicateObject', 'ReplicateDelete', 'ReplicateTags'].map((action) => backups.on(action, key)),
  ],
  [
    'thaw or re-encrypt a backup',
    (key) => ['RestoreObject', 'UpdateObjectEncryption'].map((action) => backups.on(action, key)),
  ],
  ['read an old version of a backup', (key) => [backups.on('GetObjectVersion', key)]],
];

describe.each(hosts)('The agent on %s', (_, authority, caller) => {
  const backups = s3Calls(authority.find('AWS::S3::Bucket', 'Backups'));
  const state = s3Calls(authority.find('AWS::S3::Bucket', 'State'));
  const commandLog = authority.find('AWS::Logs::LogGroup', 'CommandLog').arn.replace(/:\*$/, '');

  it.each<[string, Call]>([
    ['proves that it may list', backups.list('database/')],
    ['lists its series', backups.list('database/hostmaster_db_')],
    [
      'lists what a host has that was chosen by its tag',
      backups.list('database/i-0123456789abcdef0/hostmaster_db_'),
    ],
    ['writes a small file', backups.put(MANIFEST)],
    ['begins a large file', backups.part(DUMP)],
    ['completes a large file', backups.put(DUMP)],
    ['begins the upload that proves the right to write', backups.part('database/.lifeboat-write-probe')],
    ['gives an upload up', backups.on('AbortMultipartUpload', 'database/.lifeboat-write-probe')],
    [
      'looks for uploads that a killed run left',
      backups.on('ListBucketMultipartUploads', '', { 's3:prefix': 'database/' }),
    ],
    ['reads a manifest', backups.get(MANIFEST)],
    ['reads a dump to restore it', backups.get(DUMP)],
    ['writes its result', state.put(`${RUN}/result.json`)],
    ['reads back its result', state.get(`${RUN}/result.json`)],
    ['looks whether a run has a result', state.list(`${RUN}/result.json`)],
    [
      'opens a stream for the command’s output',
      { action: 'logs:CreateLogStream', resource: `${commandLog}:log-stream:c/i/run/stdout` },
    ],
    [
      'writes the command’s output',
      { action: 'logs:PutLogEvents', resource: `${commandLog}:log-stream:c/i/run/stdout` },
    ],
    ['looks for the stream', { action: 'logs:DescribeLogStreams', resource: commandLog }],
    ['looks for the log group', { action: 'logs:DescribeLogGroups', resource: '*' }],
    ['reads the database’s password', { action: 'secretsmanager:GetSecretValue', resource: SECRET }],
    ['encrypts with the storage key', { action: 'kms:GenerateDataKey', resource: KEY }],
    ['decrypts with the storage key', { action: 'kms:Decrypt', resource: KEY }],
  ])('%s', (_what, call) => {
    expect(authority.ask(caller, call)).toBe('allowed');
  });

  it.each([
    `database/journal/hostmaster/7300000000000000001/00000001/000000010000000000000002/0-1.zst`,
    `database/holes/hostmaster/7300000000000000001/00000001/0-1.json`,
  ])('streams WAL: writes %s once, reads it again and lists its like', (key) => {
    const folder = key.slice(0, key.lastIndexOf('/') + 1);
    for (const call of [state.put(key), state.get(key), state.list(folder)])
      expect(authority.ask(caller, call)).toBe('allowed');
    const others = ['DeleteObject', 'PutObjectTagging', 'PutObjectRetention'].map((action) =>
      state.on(action, key),
    );
    for (const call of [state.overwrite(key), ...others]) {
      expect(authority.ask(caller, call)).not.toBe('allowed');
      expect(authority.askAsAdministrator(caller, call)).toBe('explicitlyDenied');
    }
    const elsewhere = `database/i-0123456789abcdef0/${key.slice('database/'.length)}`;
    for (const call of [elsewhere, `other/${key}`, key.slice('database/'.length)].map(state.put)) {
      expect(authority.ask(caller, call)).not.toBe('allowed');
      expect(authority.askAsAdministrator(caller, call)).toBe('explicitlyDenied');
    }
  });

  it.each([
    'wal/00000001/000000010000000000000002.zst',
    'base/hostmaster_base_20260117_020000/base-00001.tar.zst',
    'base/hostmaster_base_20260117_020000/manifest.json',
  ])('keeps pitr/…/%s for good', (name) => {
    const key = `database/pitr/hostmaster/7300000000000000001/${name}`;
    for (const call of [backups.put(key), backups.part(key), backups.get(key)])
      expect(authority.ask(caller, call)).toBe('allowed');
    for (const call of never(backups).flatMap(([, calls]) => calls(key)))
      expect(authority.ask(caller, call)).not.toBe('allowed');
  });

  it('fetches exactly the two packages of the agent that the documents name', () => {
    const packages = authority.resources
      .filter(({ type }) => type === 'AWS::SSM::Document')
      .flatMap(({ properties }) => packagesOf(properties['Content']));
    expect(new Set(packages).size).toBe(2);
    for (const resource of packages)
      expect(authority.ask(caller, { action: 's3:GetObject', resource })).toBe('allowed');
    const [first = ''] = packages;
    const others = [first.replace(/[^/]+$/, 'another.zip'), first.replace(/\/[^/]+$/, '/*')];
    for (const resource of others)
      expect(authority.ask(caller, { action: 's3:GetObject', resource })).not.toBe('allowed');
    expect(authority.ask(caller, { action: 's3:PutObject', resource: first })).not.toBe('allowed');
    expect(authority.ask(caller, { action: 's3:ListBucket', resource: first.replace(/\/.*$/, '') })).not.toBe(
      'allowed',
    );
  });

  it.each(never(backups))('can never %s, not even as an administrator', (_what, calls) => {
    for (const call of [DUMP, MANIFEST].flatMap(calls)) {
      expect(authority.ask(caller, call)).not.toBe('allowed');
      expect([call.action, authority.askAsAdministrator(caller, call)]).toEqual([
        call.action,
        'explicitlyDenied',
      ]);
    }
  });

  it.each([
    'PutLifecycleConfiguration',
    'PutBucketVersioning',
    'PutBucketPolicy',
    'DeleteBucketPolicy',
    'PutBucketObjectLockConfiguration',
    'PutBucketPublicAccessBlock',
    'PutBucketAcl',
    'PutBucketLogging',
    'PutBucketNotification',
    'PutBucketOwnershipControls',
    'PutEncryptionConfiguration',
    'PutReplicationConfiguration',
    'DeleteBucket',
  ])('can never call %s on a bucket of ours, not even as an administrator', (action) => {
    for (const bucket of [backups, state]) {
      expect(authority.ask(caller, bucket.on(action, ''))).not.toBe('allowed');
      expect(authority.askAsAdministrator(caller, bucket.on(action, ''))).toBe('explicitlyDenied');
    }
  });

  it('can never reach outside of the deployment’s prefix, not even as an administrator', () => {
    for (const key of ['other/x', 'databases/x', 'x', 'database', 'database2/x']) {
      for (const call of [backups.put(key), backups.part(key), backups.get(key)]) {
        expect(authority.ask(caller, call)).not.toBe('allowed');
        expect(authority.askAsAdministrator(caller, call)).toBe('explicitlyDenied');
      }
      expect(authority.ask(caller, backups.on('AbortMultipartUpload', key))).not.toBe('allowed');
    }
    for (const prefix of ['', 'other/', 'databases/', 'd'])
      expect(authority.ask(caller, backups.list(prefix))).not.toBe('allowed');
    expect(authority.ask(caller, backups.learnOfAbsence())).not.toBe('allowed');
  });

  it('can never forge what only Lambdas write, nor change its own result', () => {
    const keys = ['request', 'command', 'report', 'reported'].map((object) => `${RUN}/${object}.json`);
    for (const key of [...keys, 'database/plans/p.json', 'database/x', 'x']) {
      expect(authority.ask(caller, state.put(key))).not.toBe('allowed');
      expect(authority.askAsAdministrator(caller, state.put(key))).toBe('explicitlyDenied');
    }
    for (const call of [
      state.overwrite(`${RUN}/result.json`),
      state.on('DeleteObject', `${RUN}/result.json`),
    ]) {
      expect(authority.ask(caller, call)).not.toBe('allowed');
      expect(authority.askAsAdministrator(caller, call)).toBe('explicitlyDenied');
    }
  });

  it.each([
    ['a restore’s plan, whose confirmation it could forge', 'database/plans/p.json'],
    ['a run’s request, whose nonce another host’s result could be forged with', `${RUN}/request.json`],
    ['what is recorded of a run’s command', `${RUN}/command.json`],
    ['what is told of a run', `${RUN}/report.json`],
  ])('can never read %s', (_what, key) => {
    expect(authority.ask(caller, state.get(key))).not.toBe('allowed');
    expect(authority.askAsAdministrator(caller, state.get(key))).toBe('explicitlyDenied');
  });

  it('can never speak in the clear, whoever it is', () => {
    const clear = { 'aws:SecureTransport': 'false' };
    const old = { 's3:TlsVersion': '1.1' };
    for (const context of [clear, old])
      expect(authority.ask(caller, { ...backups.get(DUMP), context })).not.toBe('allowed');
  });

  it.each<[string, Call]>([
    [
      'command any host',
      { action: 'ssm:SendCommand', resource: `arn:aws:ssm:${REGION}::document/AWS-RunShellScript` },
    ],
    [
      'send itself our own document',
      {
        action: 'ssm:SendCommand',
        resource: `arn:aws:ssm:${REGION}:${ACCOUNT}:document/${authority.find('AWS::SSM::Document', 'DocumentsRestore').ref}`,
      },
    ],
    [
      'open a session',
      {
        action: 'ssm:StartSession',
        resource: `arn:aws:ec2:${REGION}:${ACCOUNT}:instance/i-0123456789abcdef0`,
      },
    ],
    [
      'change a document',
      { action: 'ssm:UpdateDocument', resource: `arn:aws:ssm:${REGION}:${ACCOUNT}:document/x` },
    ],
    [
      'read the Slack webhook',
      { action: 'ssm:GetParameter', resource: `arn:aws:ssm:${REGION}:${ACCOUNT}:parameter${SLACK}` },
    ],
    [
      'read the Slack webhook among others',
      { action: 'ssm:GetParameters', resource: `arn:aws:ssm:${REGION}:${ACCOUNT}:parameter${SLACK}` },
    ],
    [
      'read the Slack webhook’s past',
      { action: 'ssm:GetParameterHistory', resource: `arn:aws:ssm:${REGION}:${ACCOUNT}:parameter${SLACK}` },
    ],
    [
      'decrypt what the message key encrypts',
      { action: 'kms:Decrypt', resource: authority.find('AWS::KMS::Key', 'Notifications').arn },
    ],
    ['use another key', { action: 'kms:Decrypt', resource: KEY.replace('1111', '9999') }],
    ['delete the storage key', { action: 'kms:ScheduleKeyDeletion', resource: KEY }],
    [
      'read another secret',
      { action: 'secretsmanager:GetSecretValue', resource: SECRET.replace('hostmaster', 'billing') },
    ],
    [
      'tell people anything itself',
      { action: 'sns:Publish', resource: authority.find('AWS::SNS::Topic', 'Notifications').ref },
    ],
    [
      'invoke a function',
      {
        action: 'lambda:InvokeFunction',
        resource: authority.find('AWS::Lambda::Function', 'FunctionsRestore').arn,
      },
    ],
    [
      'write another log',
      {
        action: 'logs:PutLogEvents',
        resource: authority.find('AWS::Logs::LogGroup', 'FunctionsWatchLog').arn,
      },
    ],
    ['become somebody else', { action: 'sts:AssumeRole', resource: `arn:aws:iam::${ACCOUNT}:role/admin` }],
    ['give itself rights', { action: 'iam:PutRolePolicy', resource: `arn:aws:iam::${ACCOUNT}:role/x` }],
  ])('can never %s', (_what, call) => {
    expect(authority.ask(caller, call)).not.toBe('allowed');
  });
});

describe('The agent on a host that was chosen by its tag', () => {
  const tag = { key: 'Role', value: 'db' };
  const fleet = readAuthority({ series: [{ host: { tag }, database: 'hostmaster' }] });
  const caller = fleet.role('HostRole');
  const state = s3Calls(fleet.find('AWS::S3::Bucket', 'State'));

  it('keeps its journal and its holes below a folder of its own', () => {
    for (const folder of ['journal', 'holes', 'verdicts']) {
      const key = `database/i-0123456789abcdef0/${folder}/hostmaster/7300000000000000001/x`;
      for (const call of [state.put(key), state.get(key), state.list(key)])
        expect(fleet.ask(caller, call)).toBe('allowed');
      expect(fleet.askAsAdministrator(caller, state.overwrite(key))).toBe('explicitlyDenied');
      expect(fleet.ask(caller, state.put(key.replace('i-0123', 'x-0123')))).not.toBe('allowed');
    }
  });
});

describe('The role that is made for a host', () => {
  it('lets the SSM agent do its work', () => {
    for (const action of [
      'ssm:UpdateInstanceInformation',
      'ssmmessages:OpenDataChannel',
      'ec2messages:GetMessages',
    ])
      expect(made.ask(made.role('HostRole'), { action, resource: '*' })).toBe('allowed');
  });

  it('is told from others of the account by its path', () => {
    const stranger = { roleArn: `arn:aws:iam::${ACCOUNT}:role/somebody` };
    const backups = s3Calls(made.find('AWS::S3::Bucket', 'Backups'));
    expect(made.askAsAdministrator(stranger, backups.on('PutObjectTagging', DUMP))).toBe('allowed');
    expect(made.askAsAdministrator(stranger, backups.overwrite(DUMP))).toBe('explicitlyDenied');
  });
});

describe('A role that a host had', () => {
  it('is known under any path', () => {
    const backups = s3Calls(given.find('AWS::S3::Bucket', 'Backups'));
    for (const path of ['', 'databases/', 'a/b/c/']) {
      const caller = { roleArn: `arn:aws:iam::${ACCOUNT}:role/${path}db-host` };
      expect(given.askAsAdministrator(caller, backups.on('DeleteObject', DUMP))).toBe('explicitlyDenied');
    }
    const other = { roleArn: `arn:aws:iam::${ACCOUNT}:role/not-db-host` };
    expect(given.askAsAdministrator(other, backups.on('DeleteObject', DUMP))).toBe('allowed');
  });
});

/** ARNs of the objects that a document's downloads fetch. */
function packagesOf(content: unknown): string[] {
  const { mainSteps } = content as { mainSteps: { action: string; inputs: { sourceInfo?: string } }[] };
  return mainSteps
    .filter(({ action }) => action === 'aws:downloadContent')
    .map(({ inputs }) => new URL((JSON.parse(inputs.sourceInfo ?? '{}') as { path: string }).path))
    .map(({ hostname, pathname }) => {
      const virtual = /^(.+)\.s3[.-]/.exec(hostname)?.[1];
      return `arn:aws:s3:::${virtual === undefined ? pathname.slice(1) : virtual + pathname}`;
    });
}
