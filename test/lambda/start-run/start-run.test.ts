import { ListObjectsV2Command } from '@aws-sdk/client-s3';
import { decodeRequest } from '../../../lib/domain/run/request.ts';
import { isRunId } from '../../../lib/domain/run/run-id.ts';
import { CONFIG, HOST, SCHEDULED, START, startStage, type Stage } from '../stage.ts';

const NIGHT = { operation: 'backup', scheduledFor: SCHEDULED };

/** Answers that do not say whether the command was taken. */
const downFor = (calls: number) =>
  Array.from({ length: calls }, () => ({ status: 500, name: 'InternalServerError' }));

let stage: Stage;
afterEach(async () => stage.close());

function sentRequest(index = 0) {
  return decodeRequest(stage.ssm.commands[index]!.parameters['Request']![0]!);
}

describe('start-run on one host', () => {
  beforeEach(async () => {
    stage = await startStage();
  });

  it('writes the request, sends the command and answers with both ids', async () => {
    const answer = await stage.startRun(NIGHT);
    const [command] = stage.ssm.commands;
    const { runId, commandId } = answer.runs[0]!;
    expect(answer).toEqual({
      runs: [{ app: 'hostmaster', instanceId: HOST, runId, commandId: command!.id }],
      failures: [],
    });
    expect(commandId).toBe(command!.id);
    expect(runId).toMatch(/^20260117T020000Z-[0-9a-f]{12}$/);
    expect(command).toMatchObject({
      document: 'Backup',
      // What was deployed last, promoted to the default or not.
      documentVersion: '$LATEST',
      instanceId: HOST,
      comment: runId,
      timeoutSeconds: 3600,
      logGroup: '/lifeboat/commands',
    });
    expect(await stage.readRun(runId, 'request')).toEqual(sentRequest());
    expect(await stage.readRun(runId, 'command')).toEqual({ commandId, sentAt: START.toISOString() });
    expect(sentRequest()).toMatchObject({
      operation: 'backup',
      trigger: 'schedule',
      instanceId: HOST,
      deadline: '2026-01-17T11:11:05.000Z',
      series: { app: 'hostmaster', database: 'hostmaster_prod', osUser: 'postgres' },
      storage: { bucket: 'backups', stateBucket: 'state', prefix: 'database', statePrefix: 'database' },
    });
  });

  it('asks for the kind of backup that it was invoked with, else for what the configuration says', async () => {
    for (const kind of ['base', 'both', 'dump']) await stage.startRun({ operation: 'backup', kind });
    await stage.startRun({ operation: 'backup' });
    await stage.startRun({ operation: 'status' });
    expect([0, 1, 2, 3, 4].map((index) => sentRequest(index).kind)).toEqual([
      'base',
      'both',
      'dump',
      'dump',
      undefined,
    ]);
  });

  it.each([
    [{ operation: 'backup', kind: 'full' }, /kind: /],
    [{ operation: 'backup', kind: '' }, /kind: /],
    [{ operation: 'verify', kind: 'dump' }, /kind: belongs to backup, not to verify/],
    [{ operation: 'backup', kinds: 'dump' }, /kinds/],
  ])('refuses %j, and says which kinds there are', async (payload, words) => {
    const refused = stage.startRun(payload);
    await expect(refused).rejects.toThrow(words);
    expect(stage.ssm.commands).toEqual([]);
  });

  it('starts one run for the same scheduled event, however often and at once it comes', async () => {
    const first = await stage.startRun(NIGHT);
    stage.passMinutes(1);
    const [again, atOnce] = await Promise.all([stage.startRun(NIGHT), stage.startRun(NIGHT)]);
    expect(stage.ssm.commands).toHaveLength(1);
    expect(again).toEqual(first);
    expect(atOnce).toEqual(first);
    await stage.startRun({ ...NIGHT, scheduledFor: '2026-01-18T02:00:00Z' });
    expect(stage.ssm.commands).toHaveLength(2);
  });

  it('starts one run for a minute, whichever of its seconds an event names', async () => {
    const first = await stage.startRun({ ...NIGHT, scheduledFor: '2026-01-17T02:00:37Z' });
    expect(first.runs[0]!.runId).toMatch(/^20260117T020000Z-/);
    expect(await stage.startRun(NIGHT)).toEqual(first);
    expect(await stage.startRun({ ...NIGHT, scheduledFor: '2026-01-17T03:00:59.999+01:00' })).toEqual(first);
    expect(stage.ssm.commands).toHaveLength(1);
    await stage.startRun({ ...NIGHT, scheduledFor: '2026-01-17T02:01:00Z' });
    expect(stage.ssm.commands).toHaveLength(2);
  });

  it('knows a manual start by its invocation, also when Lambda repeats it minutes later', async () => {
    const context = stage.context();
    const first = await stage.startRun({ operation: 'backup' }, context);
    stage.passMinutes(3);
    expect(await stage.startRun({ operation: 'backup' }, context)).toEqual(first);
    expect(stage.ssm.commands).toHaveLength(1);
    await stage.startRun({ operation: 'backup' });
    expect(stage.ssm.commands).toHaveLength(2);
    expect(sentRequest(1)).toMatchObject({ trigger: 'manual' });
  });

  it('sends the command that an invocation died before, with the words that were written first', async () => {
    stage.ssm.faults.set('SendCommand', downFor(4));
    await expect(stage.startRun(NIGHT)).rejects.toThrow(/1 of 1 runs could not be started/);
    stage.passMinutes(2);
    const { runs } = await stage.startRun(NIGHT);
    expect(stage.ssm.commands).toHaveLength(1);
    expect(sentRequest().requestedAt).toBe(START.toISOString());
    expect(await stage.readRun(runs[0]!.runId, 'command')).toMatchObject({ commandId: runs[0]!.commandId });
  });

  it('finds the command that was sent before an invocation died, and sends no second one', async () => {
    const { runs } = await stage.startRun(NIGHT);
    const { runId, commandId } = runs[0]!;
    stage.passMinutes(1);
    // As it was before the command's id was written down; others' commands of the host lie around it.
    stage.ssm.addCommand({ instanceId: HOST, comment: 'somebody else’s' });
    stage.ssm.addCommand({ instanceId: HOST, comment: runId, id: '00000000-0000-4000-8000-000000000002' });
    const other = await startStage();
    try {
      await other.state.putOnce(
        `database/runs/2026/01/17/${runId}/request.json`,
        await stage.readRun(runId, 'request'),
      );
      other.ssm.commands.push(...stage.ssm.commands);
      expect((await other.startRun(NIGHT)).runs).toEqual([
        { app: 'hostmaster', instanceId: HOST, runId, commandId },
      ]);
      expect(other.ssm.calls).toEqual(['ListCommands', 'ListCommands']);
    } finally {
      await other.close();
    }
  });

  it('asks before it sends again when the answer was lost on the way', async () => {
    stage.ssm.faults.set('SendCommand', ['lost']);
    const { runs } = await stage.startRun(NIGHT);
    expect(stage.ssm.commands.map(({ id }) => id)).toEqual([runs[0]!.commandId]);
    expect(stage.ssm.calls).toEqual(['SendCommand', 'ListCommands']);
  });

  it('waits and tries again when SSM throttles', async () => {
    const throttled = { status: 400, name: 'ThrottlingException' };
    stage.ssm.faults.set('SendCommand', [throttled, { status: 400, name: 'RateExceeded' }, throttled]);
    await stage.startRun(NIGHT);
    expect(stage.ssm.commands).toHaveLength(1);
    expect(stage.ssm.calls).toEqual(Array.from({ length: 4 }, () => 'SendCommand'));
    expect(stage.clock.now().getTime()).toBeGreaterThan(START.getTime() + 500);
  });

  it('ends before its time is over, names what was not started, and goes on the next time', async () => {
    const context = stage.context({ getRemainingTimeInMillis: () => 4_000 });
    await expect(stage.startRun(NIGHT, context)).rejects.toThrow(
      /hostmaster on i-0123456789abcdef0: No time was left/,
    );
    expect(stage.ssm.commands).toHaveLength(0);
    await stage.startRun(NIGHT, stage.context());
    expect(stage.ssm.commands).toHaveLength(1);
  });

  it('writes down that SSM takes no command for a host, from where it is told once, and measured once', async () => {
    stage.ssm.unmanaged.add(HOST);
    const answer = await stage.startRun(NIGHT);
    expect(answer.runs).toEqual([]);
    expect(answer.failures).toEqual([
      {
        app: 'hostmaster',
        instanceId: HOST,
        code: 'HOST_UNREACHABLE',
        message: expect.stringMatching(/it is stopped, gone or not managed \(InvalidInstanceId: Instances/),
      },
    ]);
    expect(await stage.startRun(NIGHT)).toEqual(answer);
    expect(stage.ssm.calls).toEqual(['SendCommand']);
    await stage.watch();
    await stage.coldWatch();
    expect(stage.published).toHaveLength(1);
    expect(stage.published[0]!.text).toMatch(/InvalidInstanceId[^]*aws ssm describe-instance-information/);
    const measured = stage.metrics().filter((values) => 'HostUnreachable' in values);
    expect(measured).toEqual([{ RunFailed: 1, RunSucceeded: 0, HostUnreachable: 1 }]);
  });

  it.each([
    ['AccessDeniedException', /look for a policy that denies ssm:SendCommand/],
    ['InvalidDocument', /deploy the stack again/],
    ['InvalidParameters', /deploy the stack again/],
    ['SomethingNew', /See SSM’s words above/],
  ])(
    'writes down what SSM refuses for good (%s), after it has asked again, and it is told within minutes',
    async (name, hint) => {
      stage.ssm.faults.set(
        'SendCommand',
        Array.from({ length: 4 }, () => ({ status: 400, name })),
      );
      const { failures } = await stage.startRun(NIGHT);
      expect(failures).toMatchObject([
        { code: 'SSM_FAILED', message: expect.stringContaining(`${name} on demand`) },
      ]);
      expect(stage.ssm.calls).toEqual(Array.from({ length: 4 }, () => 'SendCommand'));
      expect(stage.clock.now().getTime()).toBeGreaterThan(START.getTime() + 2_000);
      stage.passMinutes(5);
      await stage.watch();
      expect(stage.published).toHaveLength(1);
      const { text } = stage.published[0]!;
      expect(text).toContain(`${name} on demand (${name})`);
      expect(text).toMatch(hint);
      expect(text).toContain('Error: SSM_FAILED');
      // The host itself may be well.
      expect(stage.metrics()).toContainEqual({ RunFailed: 1, RunSucceeded: 0, HostUnreachable: 0 });
    },
  );

  it('sends after all what SSM refused too early, as before a new right holds everywhere', async () => {
    const denied = { status: 400, name: 'AccessDeniedException' };
    stage.ssm.faults.set('SendCommand', [denied, denied, denied]);
    expect((await stage.startRun(NIGHT)).runs).toHaveLength(1);
    expect(stage.ssm.commands).toHaveLength(1);
  });

  it('leaves a command that another invocation has sent meanwhile as it is, though its own was refused', async () => {
    const { runs } = await stage.startRun(NIGHT);
    const other = await startStage();
    try {
      const folder = `database/runs/2026/01/17/${runs[0]!.runId}`;
      other.ssm.unmanaged.add(HOST);
      const putOnce = other.state.putOnce.bind(other.state);
      Object.assign(other.state, {
        putOnce: async (key: string, value: unknown) => {
          if (key.endsWith('command.json'))
            await putOnce(key, { commandId: 'theirs', sentAt: START.toISOString() });
          return await putOnce(key, value);
        },
      });
      expect((await other.startRun(NIGHT)).runs).toMatchObject([{ commandId: 'theirs' }]);
      expect(await other.state.read(`${folder}/command.json`)).toContain('theirs');
    } finally {
      await other.close();
    }
  });

  it('sends nothing for a run that was already reported as lost', async () => {
    stage.ssm.faults.set('SendCommand', downFor(4));
    await expect(stage.startRun(NIGHT)).rejects.toThrow();
    stage.passMinutes(10 * 60);
    await stage.watch();
    expect(stage.published).toHaveLength(1);
    await expect(stage.startRun(NIGHT)).rejects.toThrow(/was reported as over before its command was sent/);
    expect(stage.ssm.commands).toHaveLength(0);
  });

  it.each([
    [undefined, /operation|expected object/],
    [null, /expected object/],
    ['backup', /expected object/],
    [[], /expected object/],
    [{}, /operation/],
    [{ operation: 'restore' }, /operation: .*"backup"\|"verify"/],
    [{ operation: 'backup; rm -rf /' }, /operation/],
    [{ operation: 'backup', aap: 'x' }, /aap/],
    [
      { operation: 'backup', app: 'other' },
      /app: there is no series "other"; this deployment has hostmaster/,
    ],
    [{ operation: 'backup', app: 7 }, /app: .*string/],
    [{ operation: 'backup', instanceId: 'db1' }, /instanceId: is no instance id such as/],
    [{ operation: 'backup', instanceId: 'i-00000000000000000' }, /no series lives on i-00000000000000000/],
    [
      { operation: 'backup', backupId: 'hostmaster_db_20260117_020000' },
      /backupId: belongs to verify, not to backup/,
    ],
    [{ operation: 'verify', backupId: '../../etc/passwd' }, /backupId: is no backup id/],
    [{ operation: 'verify', backupId: 'billing_db_20260117_020000' }, /is of no series of this deployment/],
    [{ operation: 'verify', backupId: 'billing_base_20260117_020000' }, /is of no series of this deployment/],
    [{ operation: 'backup', scheduledFor: 'tonight' }, /scheduledFor/],
    [
      { operation: 'backup', scheduledFor: '2020-01-01T00:00:00Z' },
      /scheduledFor: 2020-01-01T00:00:00.000Z is not about now/,
    ],
  ])('refuses %j and says what it expects', async (event, problem) => {
    const error = await stage.startRun(event, stage.context()).then(
      () => undefined,
      (thrown: Error) => thrown,
    );
    expect(error).toMatchObject({ code: 'USAGE' });
    expect(error!.message).toMatch(problem);
    expect(error!.message).toContain(
      'Expected is {"operation": "backup" | "verify" | "status" | "list" | "retention"',
    );
    expect(stage.ssm.calls).toEqual([]);
  });

  it('asks for each other operation the same way', async () => {
    await stage.startRun({ operation: 'verify', backupId: 'hostmaster_db_20260116_020000' });
    await stage.startRun({ operation: 'status', app: 'hostmaster', instanceId: HOST });
    await stage.startRun({ operation: 'verify', backupId: 'hostmaster_base_20260116_020000' });
    expect(sentRequest(0)).toMatchObject({ operation: 'verify', backupId: 'hostmaster_db_20260116_020000' });
    expect(sentRequest(1)).toMatchObject({ operation: 'status' });
    expect(sentRequest(2)).toMatchObject({
      operation: 'verify',
      backupId: 'hostmaster_base_20260116_020000',
    });
  });
});

describe('start-run on many hosts', () => {
  const HOSTS = Array.from({ length: 7 }, (_, index) => `i-0000000000000000${index}`);
  const TAGGED = {
    series: [
      ...CONFIG.series,
      { app: 'shop', database: 'shop', host: { tag: { key: 'Role', value: 'db' } } },
      { app: 'stock', database: 'stock', host: { tag: { key: 'Role', value: 'db' } } },
    ],
  };

  beforeEach(async () => {
    stage = await startStage(TAGGED);
    stage.ssm.tagged.set('Role=db', HOSTS);
  });

  it('reads every page of the tag’s hosts, once, and gives each host and series its run and folder', async () => {
    const { runs } = await stage.startRun(NIGHT);
    expect(runs).toHaveLength(1 + 2 * HOSTS.length);
    expect(new Set(runs.map(({ runId }) => runId)).size).toBe(runs.length);
    expect(runs.every(({ runId }) => isRunId(runId))).toBe(true);
    expect(stage.ssm.calls.filter((call) => call === 'DescribeInstanceInformation')).toHaveLength(4);
    const shop = stage.ssm.commands.map((each) => decodeRequest(each.parameters['Request']![0]!));
    expect(
      shop.find(({ series, instanceId }) => series.app === 'shop' && instanceId === HOSTS[3])?.storage,
    ).toMatchObject({
      prefix: `database/${HOSTS[3]}`,
      statePrefix: 'database',
    });
  });

  it('starts all others when some cannot be started, and names those', async () => {
    stage.ssm.unmanaged.add(HOSTS[2]!);
    const { runs, failures } = await stage.startRun(NIGHT);
    expect(runs).toHaveLength(13);
    expect(failures).toMatchObject([
      { app: 'shop', instanceId: HOSTS[2], code: 'HOST_UNREACHABLE' },
      { app: 'stock', instanceId: HOSTS[2], code: 'HOST_UNREACHABLE' },
    ]);
    expect(stage.ssm.commands).toHaveLength(13);
  });

  it('throws what another try may change, after all others were started, and names it', async () => {
    // Of all hosts, those of the first to be asked for never get an answer.
    stage.ssm.faults.set('DescribeInstanceInformation', downFor(3));
    const error = await stage.startRun(NIGHT).catch((thrown: Error) => thrown);
    expect(error).toMatchObject({ code: 'SSM_FAILED' });
    expect((error as Error).message).toMatch(/^2 of 3 runs could not be started:\n- shop: ssm:Describe/);
    expect(stage.ssm.commands).toHaveLength(1);
    expect((await stage.startRun(NIGHT)).runs).toHaveLength(15);
    expect(stage.ssm.commands).toHaveLength(15);
  });

  it('tells each series, once, that nobody carries its tag, after having started the rest', async () => {
    stage.ssm.tagged.clear();
    const { runs, failures } = await stage.startRun(NIGHT);
    expect(runs).toHaveLength(1);
    expect(failures).toMatchObject([
      { app: 'shop', instanceId: null, code: 'HOST_UNREACHABLE' },
      { app: 'stock', instanceId: null, code: 'HOST_UNREACHABLE' },
    ]);
    await stage.startRun(NIGHT);
    expect(stage.published.map(({ subject }) => subject)).toEqual([
      'shop DB Backup FAILED',
      'stock DB Backup FAILED',
    ]);
    const { text } = stage.published[0]!;
    expect(text).toContain('No host carries the tag Role=db');
    expect(text).toContain('Database: shop on the hosts with the tag Role=db');
    expect(text).toContain('What to do: Tag the instances');
    expect(text).toContain('Dashboard: https://dashboard.example');
    expect(stage.metrics('shop')).toEqual([{ RunFailed: 1, RunSucceeded: 0, HostUnreachable: 1 }]);
    await stage.watch();
    expect(stage.published).toHaveLength(2);
    // The next night is told of again.
    await stage.startRun({ ...NIGHT, scheduledFor: '2026-01-18T02:00:00Z' });
    expect(stage.published).toHaveLength(4);
  });

  it('throws when not even that can be published, so that it is tried again', async () => {
    stage.ssm.tagged.clear();
    stage.snsFaults.push(500);
    await expect(stage.startRun(NIGHT)).rejects.toMatchObject({ code: 'UNDELIVERED' });
    expect(stage.published.map(({ subject }) => subject)).toEqual(['stock DB Backup FAILED']);
    await stage.startRun(NIGHT);
    expect(stage.published.map(({ subject }) => subject)).toEqual([
      'stock DB Backup FAILED',
      'shop DB Backup FAILED',
    ]);
  });

  it('starts one series on one of its hosts', async () => {
    const { runs } = await stage.startRun({ operation: 'backup', app: 'shop', instanceId: HOSTS[4] });
    expect(runs).toMatchObject([{ app: 'shop', instanceId: HOSTS[4] }]);
    await expect(
      stage.startRun({ operation: 'backup', app: 'shop', instanceId: 'i-0000000000000000f' }),
    ).rejects.toThrow(/No host of the series asked for is i-0000000000000000f/);
  });
});

describe('hostile words', () => {
  const WORDS = [
    '$(id)',
    '`id`',
    `it's "q"`,
    '{{ ssm:/x }}',
    '$$',
    '../../x',
    '; rm -rf /',
    'ü€😀',
    'x'.repeat(63),
  ];

  it.each(WORDS)('in a name (%s) travel in base64url alone', async (word) => {
    stage = await startStage({
      series: [{ database: word, user: word, dbHost: word, host: { instanceId: HOST } }],
    });
    await stage.startRun(NIGHT);
    const [command] = stage.ssm.commands;
    const encoded = command!.parameters['Request']![0]!;
    expect(encoded).toMatch(/^[A-Za-z0-9_-]+$/);
    expect(decodeRequest(encoded).series).toMatchObject({ database: word, user: word, dbHost: word });
    expect(JSON.stringify({ ...command, parameters: {} })).not.toContain(
      word.length > 20 ? word : JSON.stringify(word),
    );
  });

  it.each([
    ['that lead out of a folder', { backupDir: '/srv/../etc' }, /series.backupDir: must not hold ".." parts/],
    ['of ten thousand characters', { dbHost: 'y'.repeat(10_240) }, /series.dbHost: Too big/],
  ])(
    '%s, past a configuration that was never checked, are refused before anything is written',
    async (_, change, words) => {
      stage = await startStage();
      Object.assign(stage.config.series[0]!, change);
      const { failures } = await stage.startRun(NIGHT);
      expect(failures).toMatchObject([{ code: 'SETTINGS_INVALID', message: expect.stringMatching(words) }]);
      expect(stage.ssm.calls).toEqual([]);
      const { Contents = [] } = await stage.s3Client.send(new ListObjectsV2Command({ Bucket: 'state' }));
      expect(Contents.filter(({ Key }) => Key?.endsWith('request.json'))).toEqual([]);
      expect(stage.published).toHaveLength(1);
      expect(stage.published[0]!.text).toMatch(words);
    },
  );
});
