import { decodeRequest } from '../../../lib/domain/run/request.ts';
import { isRunId } from '../../../lib/domain/run/run-id.ts';
import { CONFIG, HOST, SCHEDULED, START, startStage, type Stage } from '../stage.ts';

const NIGHT = { operation: 'backup', scheduledFor: SCHEDULED };

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
      deadline: '2026-01-17T09:10:05.000Z',
      series: { app: 'hostmaster', database: 'hostmaster_prod', osUser: 'postgres' },
      storage: { bucket: 'backups', stateBucket: 'state', prefix: 'database', statePrefix: 'database' },
    });
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
    stage.ssm.faults.set('SendCommand', [{ status: 400, name: 'AccessDeniedException' }]);
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

  it('tells at once, and only once, of a host that SSM takes no command for', async () => {
    stage.ssm.unmanaged.add(HOST);
    await expect(stage.startRun(NIGHT)).rejects.toMatchObject({
      code: 'HOST_UNREACHABLE',
      message: expect.stringMatching(/InvalidInstanceId[^]*aws ssm describe-instance-information/),
    });
    expect(stage.metrics()).toEqual([{ HostUnreachable: 1 }]);
    const again = await stage.startRun(NIGHT);
    expect(again.runs).toEqual([]);
    expect(again.failures).toMatchObject([{ app: 'hostmaster', instanceId: HOST, code: 'HOST_UNREACHABLE' }]);
  });

  it('sends nothing for a run that was already reported as lost', async () => {
    stage.ssm.faults.set('SendCommand', [{ status: 400, name: 'AccessDeniedException' }]);
    await expect(stage.startRun(NIGHT)).rejects.toThrow();
    stage.passMinutes(8 * 60);
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
    expect(sentRequest(0)).toMatchObject({ operation: 'verify', backupId: 'hostmaster_db_20260116_020000' });
    expect(sentRequest(1)).toMatchObject({ operation: 'status' });
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

  it('starts all others when some cannot be started, and then names those', async () => {
    stage.ssm.unmanaged.add(HOSTS[2]!);
    const error = await stage.startRun(NIGHT).catch((thrown: Error) => thrown);
    expect(error).toMatchObject({ code: 'HOST_UNREACHABLE' });
    expect((error as Error).message).toMatch(/^2 of 15 runs could not be started/);
    expect((error as Error).message).toContain(`shop on ${HOSTS[2]}`);
    expect((error as Error).message).toContain(`stock on ${HOSTS[2]}`);
    expect(stage.ssm.commands).toHaveLength(13);
  });

  it('says so when nobody carries the tag, after having started the rest', async () => {
    stage.ssm.tagged.clear();
    await expect(stage.startRun(NIGHT)).rejects.toThrow(/No host carries the tag Role=db/);
    expect(stage.ssm.commands).toHaveLength(1);
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
    expect(encoded).toMatch(/^[A-Za-z0-9_-]{1,8192}$/);
    expect(decodeRequest(encoded).series).toMatchObject({ database: word, user: word, dbHost: word });
    expect(JSON.stringify({ ...command, parameters: {} })).not.toContain(
      word.length > 20 ? word : JSON.stringify(word),
    );
  });

  it('that are longer than SSM takes are refused before anything is written', async () => {
    stage = await startStage({
      series: [{ database: 'x', dbHost: 'y'.repeat(10_240), host: { instanceId: HOST } }],
    });
    await expect(stage.startRun(NIGHT)).rejects.toThrow(
      /request for hostmaster has \d+ characters[^]*SSM takes 8192|1024/,
    );
    expect(stage.ssm.calls).toEqual([]);
  });
});
