import { ACCOUNT, REGION } from '../synthesize.ts';
import { readAuthority, readStorageAuthority, s3Calls, type Call } from './authority.ts';

const SLACK = '/lifeboat/slack-webhook-url';
const KEY = `arn:aws:kms:${REGION}:${ACCOUNT}:key/11111111-2222-3333-4444-555555555555`;
const HOST = 'i-0123456789abcdef0';
const RUN = 'database/runs/2026/01/17/20260117T020000Z-3f9a0c1b2d4e';
const PLAN = 'database/plans/20260117T100000Z-0123456789ab.json';
const DUMP = 'database/hostmaster_db_20260117_020000.sql.gz';
const MANIFEST = 'database/hostmaster_db_20260117_020000.manifest.json';
const CLUSTER = 'hostmaster/7300000000000000001';
const BASE = `database/pitr/${CLUSTER}/base/hostmaster_base_20260117_020000`;
const SEGMENT = `database/pitr/${CLUSTER}/wal/00000001/000000010000000000000003.zst`;
const PIECE = `journal/${CLUSTER}/00000001/000000010000000000000004/0000000004000000-0000000004000100.zst`;
const HOLE = `holes/${CLUSTER}/00000001/0000000004000000-0000000005000000.json`;

const authority = readAuthority({
  storage: { kmsKeyArn: KEY },
  notifications: { slackParameter: SLACK, emails: ['dba@example.com'] },
  series: [
    { host: { instanceId: HOST }, database: 'hostmaster' },
    { app: 'fleet', host: { tag: { key: 'lifeboat', value: 'yes' } }, database: 'fleet' },
  ],
});
const backups = s3Calls(authority.find('AWS::S3::Bucket', 'Backups'));
const state = s3Calls(authority.find('AWS::S3::Bucket', 'State'));
const topic = authority.find('AWS::SNS::Topic', 'Notifications').ref;
const messageKey = authority.find('AWS::KMS::Key', 'Notifications').arn;
const slackQueue = authority.find('AWS::SQS::Queue', 'SlackQueue').arn;
const eventLetters = authority.find('AWS::SQS::Queue', 'DeadLettersEvents').arn;
const parameter = `arn:aws:ssm:${REGION}:${ACCOUNT}:parameter${SLACK}`;

function send(resource: string, context: Call['context'] = {}): Call {
  return { action: 'ssm:SendCommand', resource, context };
}
function document(id: string): string {
  return `arn:aws:ssm:${REGION}:${ACCOUNT}:document/${authority.find('AWS::SSM::Document', id).ref}`;
}
function instance(id: string): string {
  return `arn:aws:ec2:${REGION}:${ACCOUNT}:instance/${id}`;
}
const anywhere = (action: string): Call => ({ action, resource: '*' });
const viaStorage = { 'kms:ViaService': `s3.${REGION}.amazonaws.com` };
const useStorageKey: Call[] = ['kms:GenerateDataKey', 'kms:Decrypt'].map((action) => ({
  action,
  resource: KEY,
  context: viaStorage,
}));

const findTagged = [anywhere('ssm:DescribeInstanceInformation'), anywhere('ec2:DescribeInstances')];

/** A run's objects are looked for before they are there: S3 must not call that a denial. */
const readRuns = ['request', 'command', 'result', 'report', 'reported']
  .map((object) => state.get(`${RUN}/${object}.json`))
  .concat(state.learnOfAbsence(), state.list('database/runs/2026/01/17/'));

const startRuns = (own: string): Call[] => [
  state.put(`${RUN}/request.json`),
  state.put(`${RUN}/command.json`),
  ...readRuns,
  send(own),
  send(instance(HOST)),
  send(instance('i-0fedcba9876543210'), { 'ssm:resourceTag/lifeboat': 'yes' }),
  anywhere('ssm:ListCommands'),
  ...useStorageKey,
];

const publish: Call[] = [
  { action: 'sns:Publish', resource: topic },
  { action: 'kms:GenerateDataKey', resource: messageKey },
  { action: 'kms:Decrypt', resource: messageKey },
];

const tell: Call[] = [
  state.put(`${RUN}/report.json`),
  state.put(`${RUN}/reported.json`),
  ...readRuns,
  ...publish,
  ...useStorageKey,
];

const readCatalog = [backups.list('database/hostmaster_db_'), backups.get(MANIFEST)];

/** What tells how far WAL reaches. */
const measureWal = [
  backups.list(`database/pitr/${CLUSTER}/wal/`),
  backups.get(`${BASE}/manifest.json`),
  backups.get(SEGMENT),
  backups.get(`database/${HOST}/pitr/${CLUSTER}/wal/00000002.history`),
  ...[PIECE, HOLE].flatMap((key) =>
    ['database', `database/${HOST}`].flatMap((folder) => [
      state.list(`${folder}/journal/${CLUSTER}/`),
      state.get(`${folder}/${key}`),
    ]),
  ),
];

interface Expectation {
  /** The beginning of the logical ids of what the function has. */
  readonly id: string;
  readonly does: readonly Call[];
  readonly never: readonly Call[];
}

const functions: Record<string, Expectation> = {
  'start-run': {
    id: 'FunctionsStartRun',
    does: [...startRuns(document('DocumentsBackup')), ...findTagged, ...publish],
    never: [
      send(document('DocumentsRestore')),
      state.put(PLAN),
      state.put(`${RUN}/report.json`),
      state.put(`${RUN}/reported.json`),
      backups.get(MANIFEST),
    ],
  },
  restore: {
    id: 'FunctionsRestore',
    does: [
      ...startRuns(document('DocumentsRestore')),
      state.put(PLAN),
      state.get(PLAN),
      ...readCatalog,
      ...measureWal,
    ],
    never: [
      backups.get(`${BASE}/base-00001.tar.zst`),
      backups.get(`${BASE}/backup_manifest`),
      backups.get(DUMP),
      backups.on('PutObjectTagging', SEGMENT),
      state.on('DeleteObject', `database/${PIECE}`),
      state.put(`database/${PIECE}`),
      ...findTagged,
      send(document('DocumentsBackup')),
      state.overwrite(PLAN),
      state.put(`${RUN}/report.json`),
      { action: 'sns:Publish', resource: topic },
    ],
  },
  'report-run': {
    id: 'FunctionsReportRun',
    does: [
      ...tell,
      anywhere('ssm:ListCommandInvocations'),
      anywhere('ssm:GetCommandInvocation'),
      ...readCatalog,
    ],
    never: [
      send(document('DocumentsBackup')),
      state.put(`${RUN}/request.json`),
      state.put(`${RUN}/command.json`),
      backups.on('PutObjectTagging', DUMP),
    ],
  },
  watch: {
    id: 'FunctionsWatch',
    does: [
      ...tell,
      ...findTagged,
      ...readCatalog,
      backups.list('database/i-'),
      backups.list(`database/${HOST}/fleet_db_`),
      backups.get(`database/${HOST}/fleet_db_20260117_020000.manifest.json`),
      backups.on('GetObjectTagging', DUMP),
      backups.on('PutObjectTagging', DUMP),
      backups.on('PutObjectTagging', MANIFEST),
      backups.list(`database/pitr/${CLUSTER}/wal/`),
      backups.get(`${BASE}/manifest.json`),
      backups.get(SEGMENT),
      backups.get(`database/${HOST}/pitr/${CLUSTER}/wal/00000002.history`),
      ...[`${BASE}/base-00001.tar.zst`, SEGMENT].flatMap((key) => [
        backups.on('GetObjectTagging', key),
        backups.on('PutObjectTagging', key),
      ]),
      ...[PIECE, HOLE].flatMap((key) =>
        ['database', `database/${HOST}`].flatMap((folder) => [
          state.list(`${folder}/journal/${CLUSTER}/`),
          state.get(`${folder}/${key}`),
          state.on('DeleteObject', `${folder}/${key}`),
        ]),
      ),
    ],
    never: [
      send(document('DocumentsBackup')),
      state.put(`${RUN}/request.json`),
      backups.get(`${BASE}/base-00001.tar.zst`),
      backups.get(`${BASE}/backup_manifest`),
      backups.on('DeleteObject', SEGMENT),
      backups.on('DeleteObject', `${BASE}/manifest.json`),
      state.put(`database/${PIECE}`),
      state.put(`database/${HOLE}`),
      state.on('DeleteObjectVersion', `database/${PIECE}`),
      state.on('DeleteObject', `other/${PIECE}`),
      state.on('DeleteObject', `${RUN}/result.json`),
      state.on('DeleteObject', PLAN),
      backups.on('PutObjectTagging', 'other/x'),
      backups.on('PutObjectVersionTagging', DUMP),
      backups.on('DeleteObjectTagging', DUMP),
    ],
  },
  slack: {
    id: 'FunctionsSlack',
    does: [
      ...['ReceiveMessage', 'DeleteMessage', 'GetQueueAttributes'].map((action) => ({
        action: `sqs:${action}`,
        resource: slackQueue,
      })),
      { action: 'ssm:GetParameter', resource: parameter },
      {
        action: 'kms:Decrypt',
        resource: messageKey,
        context: {
          'kms:EncryptionContext:PARAMETER_ARN': parameter,
          'kms:ViaService': `ssm.${REGION}.amazonaws.com`,
        },
      },
    ],
    never: [
      { action: 'ssm:GetParameter', resource: `${parameter}-2` },
      { action: 'ssm:PutParameter', resource: parameter },
      {
        action: 'kms:Decrypt',
        resource: messageKey,
        context: { 'kms:EncryptionContext:aws:sns:topicArn': topic },
      },
      { action: 'kms:Decrypt', resource: KEY },
      { action: 'sns:Publish', resource: topic },
      state.get(`${RUN}/result.json`),
      state.list('database/runs/'),
      backups.list('database/'),
      anywhere('ssm:GetCommandInvocation'),
      anywhere('ssm:ListCommandInvocations'),
    ],
  },
};

/** No function of ours does these, whatever it is for. */
const nobody: Call[] = [
  send(`arn:aws:ssm:${REGION}::document/AWS-RunShellScript`),
  send(`arn:aws:ssm:${REGION}::document/AWS-RunDocument`),
  send(`arn:aws:ssm:${REGION}:${ACCOUNT}:document/somebody-elses`),
  send(instance('i-0fedcba9876543210')),
  send(instance('i-0fedcba9876543210'), { 'ssm:resourceTag/lifeboat': 'no' }),
  { action: 'ssm:UpdateDocument', resource: document('DocumentsBackup') },
  { action: 'ssm:StartSession', resource: instance(HOST) },
  backups.get(DUMP),
  backups.put(DUMP),
  backups.put('database/x.json'),
  backups.overwrite(MANIFEST),
  ...['DeleteObject', 'DeleteObjectVersion', 'PutObjectRetention', 'PutObjectLegalHold'].map((action) =>
    backups.on(action, DUMP),
  ),
  backups.on('BypassGovernanceRetention', DUMP),
  ...['PutLifecycleConfiguration', 'PutBucketPolicy', 'PutBucketVersioning', 'DeleteBucket'].flatMap(
    (action) => [backups.on(action, ''), state.on(action, '')],
  ),
  state.put(`${RUN}/result.json`),
  state.overwrite(`${RUN}/request.json`),
  state.overwrite(`${RUN}/report.json`),
  state.on('DeleteObject', `${RUN}/request.json`),
  state.on('DeleteObject', `${RUN}/report.json`),
  state.on('DeleteObject', 'database/drills/2026/01/17/x.json'),
  {
    action: 'secretsmanager:GetSecretValue',
    resource: `arn:aws:secretsmanager:${REGION}:${ACCOUNT}:secret:x`,
  },
  { action: 'sts:AssumeRole', resource: `arn:aws:iam::${ACCOUNT}:role/x` },
  { action: 'iam:PassRole', resource: `arn:aws:iam::${ACCOUNT}:role/x` },
  {
    action: 'lambda:UpdateFunctionCode',
    resource: authority.find('AWS::Lambda::Function', 'FunctionsWatch').arn,
  },
  anywhere('s3:ListAllMyBuckets'),
  ...['StartInstances', 'StopInstances', 'CreateTags', 'DescribeVolumes'].map((action) =>
    anywhere(`ec2:${action}`),
  ),
];

describe.each(Object.entries(functions))('The function %s', (_name, { id, does, never }) => {
  const caller = authority.role(`${id}Role`);

  it('may do everything that it does', () => {
    const denied = does
      .map((call) => [call, authority.ask(caller, call)])
      .filter(([, answer]) => answer !== 'allowed');
    expect(denied).toEqual([]);
  });

  it('may do nothing that is another’s, or nobody’s', () => {
    const allowed = [...never, ...nobody].filter((call) => authority.ask(caller, call) === 'allowed');
    expect(allowed).toEqual([]);
  });

  it('writes its own log and no other, and leaves behind what it could not do', () => {
    const own = authority.find('AWS::Logs::LogGroup', `${id}Log`).arn.replace(/:\*$/, '');
    const other = authority.find('AWS::Logs::LogGroup', 'CommandLog').arn.replace(/:\*$/, '');
    for (const action of ['logs:CreateLogStream', 'logs:PutLogEvents']) {
      expect(authority.ask(caller, { action, resource: `${own}:log-stream:x` })).toBe('allowed');
      expect(authority.ask(caller, { action, resource: `${other}:log-stream:x` })).not.toBe('allowed');
    }
    if (id === 'FunctionsWatch') return;
    const queue =
      id === 'FunctionsSlack' ? authority.find('AWS::SQS::Queue', 'DeadLettersMessages').arn : eventLetters;
    expect(authority.ask(caller, { action: 'sqs:SendMessage', resource: queue })).toBe('allowed');
    expect(authority.ask(caller, { action: 'sqs:ReceiveMessage', resource: queue })).not.toBe('allowed');
  });
});

describe('The state bucket', () => {
  it('lets nobody else write, not even an administrator', () => {
    const stranger = { roleArn: `arn:aws:iam::${ACCOUNT}:role/admin` };
    const keys = ['request', 'command', 'result', 'report', 'reported'].map(
      (object) => `${RUN}/${object}.json`,
    );
    for (const key of [...keys, PLAN, 'database/x', 'x'])
      expect([key, authority.askAsAdministrator(stranger, state.put(key))]).toEqual([
        key,
        'explicitlyDenied',
      ]);
    expect(authority.askAsAdministrator(stranger, state.get(`${RUN}/request.json`))).toBe('allowed');
  });

  it('takes from each only what is its own to write, not even more from an administrator', () => {
    const writers: Record<string, string[]> = {
      request: ['FunctionsStartRun', 'FunctionsRestore'],
      command: ['FunctionsStartRun', 'FunctionsRestore'],
      report: ['FunctionsReportRun', 'FunctionsWatch'],
      reported: ['FunctionsReportRun', 'FunctionsWatch'],
      result: ['Host'],
    };
    const everybody = [...Object.values(functions).map(({ id }) => id), 'Host'];
    for (const [object, allowed] of Object.entries(writers)) {
      const found = everybody.filter((id) => {
        const caller = authority.role(`${id}Role`);
        return authority.askAsAdministrator(caller, state.put(`${RUN}/${object}.json`)) === 'allowed';
      });
      expect([object, found.sort()]).toEqual([object, allowed.sort()]);
    }
  });
});

describe('A service of AWS', () => {
  const invoke = (id: string, sourceArn: string): Call => ({
    action: 'lambda:InvokeFunction',
    resource: authority.find('AWS::Lambda::Function', id).arn,
    context: { 'aws:SourceArn': sourceArn, 'aws:SourceAccount': ACCOUNT },
  });
  const events = { service: 'events.amazonaws.com' };

  it.each([
    ['ScheduleNightly', 'FunctionsStartRun'],
    ['ScheduleRunEnded', 'FunctionsReportRun'],
    ['ScheduleWatch', 'FunctionsWatch'],
  ])('starts by the rule %s the function %s, and by no other rule', (rule, id) => {
    const { arn } = authority.find('AWS::Events::Rule', rule);
    expect(authority.ask(events, invoke(id, arn))).toBe('allowed');
    expect(authority.ask(events, invoke(id, `${arn}-other`))).not.toBe('allowed');
    expect(authority.ask(events, invoke('FunctionsRestore', arn))).not.toBe('allowed');
    const letter: Call = {
      action: 'sqs:SendMessage',
      resource: eventLetters,
      context: { 'aws:SourceArn': arn },
    };
    // What the watch did not get it sees for itself, five minutes later.
    if (rule === 'ScheduleWatch') expect(authority.ask(events, letter)).not.toBe('allowed');
    else expect(authority.ask(events, letter)).toBe('allowed');
  });

  it('publishes an alarm through the encrypted topic', () => {
    const alarms = { service: 'cloudwatch.amazonaws.com' };
    const { arn } = authority.find('AWS::CloudWatch::Alarm', 'AlarmsSerieshostmasterbackupTooOld');
    const context = { 'aws:SourceArn': arn, 'aws:SourceAccount': ACCOUNT };
    for (const call of [
      { action: 'sns:Publish', resource: topic },
      { action: 'kms:GenerateDataKey', resource: messageKey },
      { action: 'kms:Decrypt', resource: messageKey },
    ]) {
      expect(authority.ask(alarms, { ...call, context })).toBe('allowed');
      const foreign = { 'aws:SourceAccount': '999999999999' };
      expect(authority.ask(alarms, { ...call, context: foreign })).not.toBe('allowed');
    }
  });

  it('puts the topic’s messages into the slack function’s queue, and nobody else’s', () => {
    const sns = { service: 'sns.amazonaws.com' };
    const put = (sourceArn: string): Call => ({
      action: 'sqs:SendMessage',
      resource: slackQueue,
      context: { 'aws:SourceArn': sourceArn },
    });
    expect(authority.ask(sns, put(topic))).toBe('allowed');
    expect(authority.ask(sns, put(`${topic}-other`))).not.toBe('allowed');
    expect(authority.ask(events, put(topic))).not.toBe('allowed');
    expect(authority.ask(sns, invoke('FunctionsSlack', topic))).not.toBe('allowed');
    const letters = authority.find('AWS::SQS::Queue', 'DeadLettersMessages').arn;
    const letter: Call = {
      action: 'sqs:SendMessage',
      resource: letters,
      context: { 'aws:SourceArn': topic },
    };
    expect(authority.ask(sns, letter)).toBe('allowed');
  });

  it('delivers the access logs of our two buckets, and of no other', () => {
    const logs = s3Calls(authority.find('AWS::S3::Bucket', 'AccessLogs'));
    const logging = { service: 'logging.s3.amazonaws.com' };
    const { arn } = authority.find('AWS::S3::Bucket', 'Backups');
    const from = (sourceArn: string): Call =>
      logs.on('PutObject', 'backups/x', { 'aws:SourceArn': sourceArn, 'aws:SourceAccount': ACCOUNT });
    expect(authority.ask(logging, from(arn))).toBe('allowed');
    expect(authority.ask(logging, from(`${arn}-other`))).not.toBe('allowed');
  });
});

describe('S3’s replication', () => {
  const settings = { storage: { drRegion: 'eu-central-1' } };
  const here = readStorageAuthority(settings);
  const there = readStorageAuthority(settings, 'eu-central-1');
  const caller = here.role('ReplicationRole');
  const source = s3Calls(here.find('AWS::S3::Bucket', 'Backups'));
  const copy = s3Calls(there.find('AWS::S3::Bucket', 'Replica'));

  it('reads what it copies, and writes it to the second region', () => {
    const reads = [
      'GetObjectVersionForReplication',
      'GetObjectVersionAcl',
      'GetObjectVersionTagging',
      'GetObjectRetention',
      'GetObjectLegalHold',
    ];
    for (const call of [
      source.on('GetReplicationConfiguration', ''),
      source.on('ListBucket', ''),
      ...reads.map((action) => source.on(action, DUMP)),
    ])
      expect(here.ask(caller, call)).toBe('allowed');
    for (const action of ['ReplicateObject', 'ReplicateTags']) {
      expect(here.ask(caller, copy.on(action, DUMP))).toBe('allowed');
      expect(there.askAsAdministrator(caller, copy.on(action, DUMP))).toBe('allowed');
    }
  });

  it('copies no deletion and changes nothing at its source', () => {
    for (const call of [
      copy.on('ReplicateDelete', DUMP),
      copy.on('DeleteObject', DUMP),
      source.put(DUMP),
      source.on('DeleteObject', DUMP),
      copy.on('ReplicateObject', 'other/x'),
    ])
      expect(here.ask(caller, call)).not.toBe('allowed');
  });

  it('has a copy that the host cannot even see, not as an administrator either', () => {
    const host = { roleArn: `arn:aws:iam::${ACCOUNT}:role/lifeboat/Lifeboat/host/Host` };
    for (const call of [
      copy.get(DUMP),
      copy.put(DUMP),
      copy.list('database/'),
      copy.on('DeleteObject', DUMP),
    ])
      expect(there.askAsAdministrator(host, call)).toBe('explicitlyDenied');
  });
});
