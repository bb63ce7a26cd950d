import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Template } from 'aws-cdk-lib/assertions';
import { parseDeploymentConfig, type DeploymentConfig } from '../../../lib/domain/deployment/config.ts';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import { DEPLOYMENT_FILE, LAMBDA_ENV } from '../../../lib/domain/names.ts';
import { stepTimeout } from '../../../lib/infra/operations/run-documents.ts';
import { actionsOf, list, resource, resources, statementsOf, text, type Statement } from './resources.ts';
import { addOperations, configuration, fullConfiguration, newApp, synthesize } from './stage.ts';

const IDS = ['StartRun', 'Restore', 'ReportRun', 'Watch', 'Slack'] as const;
type Id = (typeof IDS)[number];

const config = fullConfiguration();
const app = newApp({ bundle: true });
const template = Template.fromStack(addOperations(app, config));
const assembly = app.synth().directory;

const functionOf = (id: Id, of = template) =>
  resource(of, 'AWS::Lambda::Function', `Functions${id}`).properties as {
    Timeout: number;
    Code: { S3Key: string };
    Environment: { Variables: Record<string, unknown> };
  } & Record<string, unknown>;
const rightsOf = (id: Id, of = template): Statement[] => statementsOf(of, `Functions${id}Role`);
const by = (statements: Statement[], action: string): Statement[] =>
  statements.filter(({ Action }) => list(Action).includes(action));
const resourcesOf = (id: Id, action: string): string[] =>
  by(rightsOf(id), action).flatMap(({ Resource }) => list(Resource).map(text));

describe.each(IDS)('the function %s', (id) => {
  const made = functionOf(id);

  test('runs on Node 24 and arm64', () => {
    expect(made).toMatchObject({ Runtime: 'nodejs24.x', Architectures: ['arm64'], Handler: 'index.handler' });
  });

  test('has a log of its own that is kept for 90 days, and may create no other', () => {
    const log = resource(template, 'AWS::Logs::LogGroup', `Functions${id}Log`);
    expect(log.properties).toEqual({ RetentionInDays: 90 });
    expect(made['LoggingConfig']).toEqual({ LogGroup: { Ref: log.id } });
    expect(resourcesOf(id, 'logs:PutLogEvents')).toEqual([`<${log.id}.Arn>`]);
    expect(actionsOf(rightsOf(id))).not.toContain('logs:CreateLogGroup');
  });

  test('has a role of its own, under the path that the buckets’ policies know, without a managed policy', () => {
    const role = resource(template, 'AWS::IAM::Role', `Functions${id}Role`);
    const folder = id.replaceAll(/(?<=[a-z])(?=[A-Z])/g, '-').toLowerCase();
    expect(role.properties).toMatchObject({ Path: `/lifeboat/Lifeboat/${folder}/` });
    expect(role.properties).not.toHaveProperty('ManagedPolicyArns');
  });

  test('keeps what it fails at in the queue for dead letters, unless its next run is the remedy', () => {
    const retries = resource(template, 'AWS::Lambda::EventInvokeConfig', `Functions${id}`).properties as {
      DestinationConfig: { OnFailure: { Destination: unknown } };
    };
    if (id === 'Watch') {
      expect(retries).toMatchObject({ MaximumRetryAttempts: 0 });
      expect(retries).not.toHaveProperty('DestinationConfig');
      expect(resourcesOf(id, 'sqs:SendMessage')).toEqual([]);
      return;
    }
    const queue = text(retries.DestinationConfig.OnFailure.Destination);
    expect(queue).toMatch(
      id === 'Slack' ? /^<DeadLettersMessages\w+\.Arn>$/ : /^<DeadLettersEvents\w+\.Arn>$/,
    );
    expect(resourcesOf(id, 'sqs:SendMessage')).toEqual([queue]);
    expect(retries).toMatchObject({ MaximumEventAgeInSeconds: 3600, MaximumRetryAttempts: 2 });
  });

  test('has no action with a wildcard, and no right to delete anything but the watch’s of superseded WAL', () => {
    const known = id === 'Watch' || id === 'Restore' ? ['s3:DeleteObject'] : [];
    const actions = actionsOf(rightsOf(id)).filter((action) => !known.includes(action));
    expect(actions.filter((action) => /\*|Delete|Retention|LegalHold|Lifecycle|Policy/.test(action))).toEqual(
      [],
    );
  });

  test('carries the handler and the whole configuration, which has no secret', () => {
    const [, hash = ''] = /^([0-9a-f]{64})\.zip$/.exec(made.Code.S3Key) ?? [];
    const folder = join(assembly, `asset.${hash}`);
    expect(readdirSync(folder).toSorted()).toEqual([DEPLOYMENT_FILE, 'index.mjs']);
    const text = readFileSync(join(folder, DEPLOYMENT_FILE), 'utf8');
    expect(parseDeploymentConfig(JSON.parse(text), DEPLOYMENT_FILE)).toEqual(config);
  });
});

describe('what each function may ask of AWS', () => {
  const storage = ['kms:Decrypt', 'kms:GenerateDataKey'];
  const logging = ['logs:CreateLogStream', 'logs:PutLogEvents'];
  const own = [...logging, 'sqs:SendMessage'];
  const sending = ['ssm:ListCommands', 'ssm:SendCommand'];
  const finding = ['ec2:DescribeInstances', 'ssm:DescribeInstanceInformation'];
  const state = ['s3:GetObject', 's3:ListBucket', 's3:PutObject'];

  test.each<[Id, string[]]>([
    ['StartRun', [...storage, ...own, ...sending, ...finding, ...state, 'sns:Publish']],
    ['Restore', [...storage, ...own, ...sending, ...state]],
    [
      'ReportRun',
      [...storage, ...own, ...state, 'sns:Publish', 'ssm:GetCommandInvocation', 'ssm:ListCommandInvocations'],
    ],
    [
      'Watch',
      [
        ...storage,
        ...logging,
        ...finding,
        ...state,
        'sns:Publish',
        's3:DeleteObject',
        's3:GetObjectTagging',
        's3:PutObjectTagging',
      ],
    ],
    ['Slack', ['kms:Decrypt', ...own, 'ssm:GetParameter']],
  ])('%s: this list and no other', (id, actions) => {
    expect(actionsOf(rightsOf(id))).toEqual(actions.toSorted());
  });

  test.each<[Id, string[]]>([
    ['StartRun', ['runs/*/command.json', 'runs/*/request.json']],
    ['Restore', ['plans/*', 'runs/*/command.json', 'runs/*/request.json']],
    ['ReportRun', ['runs/*/report.json', 'runs/*/reported.json']],
    ['Watch', ['runs/*/report.json', 'runs/*/reported.json']],
  ])('%s writes only %j, and only to the state bucket', (id, keys) => {
    expect(resourcesOf(id, 's3:PutObject').toSorted()).toEqual(
      keys.map((key) => `arn:aws:s3:::state-of-ours/database/${key}`),
    );
  });

  test('on all resources only what knows no narrower one', () => {
    const everywhere = IDS.map((id) => [
      id,
      actionsOf(rightsOf(id).filter(({ Resource }) => list(Resource).includes('*'))),
    ]);
    expect(Object.fromEntries(everywhere)).toEqual({
      StartRun: [...finding, 'ssm:ListCommands'],
      Restore: ['ssm:ListCommands'],
      ReportRun: ['ssm:GetCommandInvocation', 'ssm:ListCommandInvocations'],
      Watch: finding,
      Slack: [],
    });
  });

  test('who carries a tag is asked only where hosts are chosen by one', () => {
    const named = synthesize(configuration());
    for (const id of ['StartRun', 'Watch'] as const) {
      expect(actionsOf(rightsOf(id, named)).filter((action) => finding.includes(action))).toEqual([]);
      expect(resourcesOf(id, 'ec2:DescribeInstances')).toEqual(['*']);
    }
  });

  test('backups’ contents are read by none: their manifests are, and by the watch and the restore what WAL says of itself', () => {
    const manifests = ['database/*.manifest.json', 'database/*/manifest.json'];
    for (const id of IDS) {
      const read = resourcesOf(id, 's3:GetObject').filter((arn) => arn.includes('backups-of-ours'));
      const known = id === 'Watch' || id === 'Restore' ? [...manifests, 'database/*/wal/*'] : manifests;
      expect(read.filter((arn) => !known.includes(arn.replace('arn:aws:s3:::backups-of-ours/', '')))).toEqual(
        [],
      );
    }
  });

  test('nothing is deleted but what the journal of WAL has left behind', () => {
    expect(IDS.filter((id) => resourcesOf(id, 's3:DeleteObject').length > 0)).toEqual(['Watch']);
    expect(resourcesOf('Watch', 's3:DeleteObject')).toEqual(
      ['holes/*', 'i-*/holes/*', 'i-*/journal/*', 'i-*/verdicts/*', 'journal/*', 'verdicts/*'].map(
        (key) => `arn:aws:s3:::state-of-ours/database/${key}`,
      ),
    );
  });

  test('without a key of the storage’s, only the messages’ key is used', () => {
    const plain = synthesize(configuration());
    for (const id of ['StartRun', 'ReportRun', 'Watch'] as const) {
      const [statement] = by(rightsOf(id, plain), 'kms:GenerateDataKey');
      expect(text(statement?.Resource)).toMatch(/^<NotificationsKey\w+\.Arn>$/);
    }
    expect(actionsOf(rightsOf('Restore', plain)).filter((action) => action.startsWith('kms:'))).toEqual([]);
  });
});

describe('the right to send commands', () => {
  test.each<[Id, RegExp]>([
    ['StartRun', /document\/<DocumentsBackup\w+>$/],
    ['Restore', /document\/<DocumentsRestore\w+>$/],
  ])(
    '%s: its own document by one statement, hosts by others, and conditions only on tagged hosts',
    (id, document) => {
      const [documents, named, tagged, ...rest] = by(rightsOf(id), 'ssm:SendCommand');
      expect(rest).toEqual([]);
      expect(text(documents?.Resource)).toMatch(document);
      expect(documents?.Condition).toBeUndefined();
      expect(list(named?.Resource).map(text)).toEqual([
        'arn:aws:ec2:eu-central-1:123456789012:instance/i-0123456789abcdef0',
        'arn:aws:ec2:eu-central-1:123456789012:instance/i-0fedcba9876543210',
      ]);
      expect(named?.Condition).toBeUndefined();
      expect(list(tagged?.Resource).map(text)).toEqual([
        'arn:aws:ec2:eu-central-1:123456789012:instance/*',
        'arn:aws:ssm:eu-central-1:123456789012:managed-instance/*',
      ]);
      expect(tagged?.Condition).toEqual({ StringEquals: { 'ssm:resourceTag/Backup': ['nightly'] } });
    },
  );

  test('no other function has it, and none names a document of AWS’', () => {
    for (const id of ['ReportRun', 'Watch', 'Slack'] as const)
      expect(by(rightsOf(id), 'ssm:SendCommand')).toEqual([]);
    expect(JSON.stringify(IDS.map((id) => rightsOf(id)))).not.toMatch(/AWS-Run|document\/\*/);
  });

  const many = (count: number, host: (index: number) => object) =>
    Array.from({ length: count }, (_, index) => ({
      app: `app-${index}`,
      host: host(index),
      database: 'app',
    }));
  const named = (index: number) => ({ instanceId: `i-${index.toString(16).padStart(17, '0')}` });
  const tagged = (index: number) => ({ tag: { key: 'Backup', value: `group-${index}-`.padEnd(256, 'x') } });

  test('a hundred named hosts fit into a role’s 10,240 characters, as they are rendered', () => {
    const big = synthesize(fullConfiguration({ series: many(100, named) }));
    expect(JSON.stringify(rightsOf('Restore', big)).length).toBeLessThan(9900);
  });

  test.each([
    ['instance ids', many(140, named), /140 instance ids/],
    ['values of a tag', many(40, tagged), /40 values of 1 tags/],
    [
      'keys of tags',
      many(60, (index) => ({ tag: { key: `Backup-${index}-`.padEnd(128, 'x'), value: 'x' } })),
      /60 values of 60 tags/,
    ],
  ])('more %s than IAM takes are refused at synth, with what to shorten', (_, series, hint) => {
    const refusal = refusalOf(() => synthesize(configuration({ series })));
    expect(refusal.code).toBe('SETTINGS_INVALID');
    expect(refusal.message).toMatch(
      /^The rights of start-run make a policy of \d\d,\d{3} characters; IAM takes 10,240$/,
    );
    expect(refusal.hint).toMatch(hint);
  });
});

function refusalOf(act: () => unknown): LifeboatError {
  try {
    act();
  } catch (error) {
    if (error instanceof LifeboatError) return error;
    throw error;
  }
  throw new Error('It was not refused');
}

describe('times', () => {
  test('the watch ends before its next run begins', () => {
    expect(functionOf('Watch').Timeout).toBeLessThan(5 * 60);
  });

  test('none asks for more than Lambda’s 15 minutes, and none waits for a run', () => {
    for (const id of IDS) {
      expect(functionOf(id).Timeout).toBeLessThanOrEqual(900);
      if (id !== 'StartRun')
        expect(functionOf(id).Timeout).toBeLessThan(stepTimeout(config.limits.runMinutes));
    }
  });

  test('Slack’s own patience, and one Retry-After, fit into the slack function’s', () => {
    expect(functionOf('Slack').Timeout).toBeGreaterThanOrEqual(30);
  });
});

describe('settings', () => {
  const telling: (keyof typeof LAMBDA_ENV)[] = [
    'bucket',
    'stateBucket',
    'topicArn',
    'dashboardUrl',
    'startRunFunction',
    'restoreFunction',
  ];

  test.each<[Id, (keyof typeof LAMBDA_ENV)[]]>([
    ['StartRun', ['bucket', 'stateBucket', 'topicArn', 'dashboardUrl', 'backupDocument', 'commandLogGroup']],
    ['Restore', ['bucket', 'stateBucket', 'restoreDocument', 'commandLogGroup']],
    ['ReportRun', [...telling, 'backupDocument', 'restoreDocument']],
    ['Watch', telling],
    ['Slack', ['slackParameter', 'dashboardUrl']],
  ])('%s is told %j', (id, names) => {
    expect(Object.keys(functionOf(id).Environment.Variables).toSorted()).toEqual(
      names.map((name) => LAMBDA_ENV[name]).toSorted(),
    );
  });

  test('restore does not even know the backup document, nor start-run the restore document', () => {
    expect(text(functionOf('Restore').Environment.Variables)).not.toContain('DocumentsBackup');
    expect(text(functionOf('StartRun').Environment.Variables)).not.toContain('DocumentsRestore');
  });

  test('no concurrency is reserved, unless the account is said to have enough', () => {
    const reserved = synthesize(configuration({ limits: { reserveConcurrency: true } }));
    expect(functionOf('Watch', reserved)['ReservedConcurrentExecutions']).toBe(1);
    for (const { properties } of resources(template, 'AWS::Lambda::Function'))
      expect(properties).not.toHaveProperty('ReservedConcurrentExecutions');
  });

  test('two configurations in one process get a bundle each', () => {
    const bundled = (configured: DeploymentConfig): Template =>
      Template.fromStack(addOperations(newApp({ bundle: true }), configured));
    const one = bundled(configuration());
    const other = bundled(configuration({ limits: { runMinutes: 10 } }));
    expect(functionOf('Watch', one).Code.S3Key).not.toBe(functionOf('Watch', other).Code.S3Key);
  });

  test('without a Slack parameter there is no slack function', () => {
    expect(resources(synthesize(configuration()), 'AWS::Lambda::Function', 'FunctionsSlack')).toEqual([]);
  });
});
