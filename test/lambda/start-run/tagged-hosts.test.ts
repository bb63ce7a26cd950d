import type { Ec2Instance } from '../../../scripts/local-aws/ec2/service.ts';
import { SCHEDULED, startStage, type Stage } from '../stage.ts';

const NIGHT = { operation: 'backup', scheduledFor: SCHEDULED };
const HOSTS = Array.from({ length: 10 }, (_, index) => `i-0000000000000000${index}`);
const [ODD = ''] = HOSTS.slice(-1);
const OTHERS = HOSTS.slice(0, -1);

let stage: Stage;
beforeEach(async () => {
  stage = await startStage({
    series: [{ app: 'shop', database: 'shop', host: { tag: { key: 'Role', value: 'db' } } }],
  });
  stage.ssm.tagged.set('Role=db', OTHERS);
});
afterEach(async () => stage.close());

/** Of the run on that host, from what lies in the state bucket. */
async function runOn(instanceId: string): Promise<Record<string, unknown> | undefined> {
  for await (const { key } of stage.state.list('database/runs/')) {
    if (!key.endsWith('/request.json')) continue;
    const request = JSON.parse((await stage.state.read(key)) ?? '') as { instanceId: string; runId: string };
    if (request.instanceId === instanceId) return await stage.readRun(request.runId, 'command');
  }
  return undefined;
}

const shopMetrics = (name: string) =>
  stage.metrics('shop').flatMap((values) => (name in values ? [values[name]] : []));

describe('A host that carries the tag', () => {
  it.each<[string, Ec2Instance['state'], boolean, string]>([
    ['and that SSM does not manage', 'running', false, 'InstanceNotManaged'],
    ['and is only just starting', 'pending', false, 'InstanceNotManaged'],
    ['and is stopped', 'stopped', false, 'InstanceStopped'],
    ['and is stopped, though SSM still lists it', 'stopped', true, 'InstanceStopped'],
    ['and is being stopped', 'stopping', true, 'InstanceStopped'],
  ])('%s is told of once a night, and all others are backed up', async (_, state, managed, name) => {
    stage.ec2.instances.set(ODD, { tags: { Role: 'db' }, state });
    if (managed) stage.ssm.tagged.set('Role=db', HOSTS);
    const first = await stage.startRun(NIGHT);
    expect(first.runs).toHaveLength(OTHERS.length);
    expect(first.failures).toMatchObject([{ app: 'shop', instanceId: ODD, code: 'HOST_UNREACHABLE' }]);
    expect(stage.ssm.commands.map(({ instanceId }) => instanceId).toSorted()).toEqual(OTHERS);
    expect(await runOn(ODD)).toMatchObject({ commandId: null, refused: { name } });
    expect(await stage.startRun(NIGHT)).toEqual(first);

    stage.passMinutes(5);
    await stage.watch();
    await stage.coldWatch();
    expect(stage.published).toHaveLength(1);
    expect(stage.published[0]!.text).toMatch(/FAILED[^]*Error: HOST_UNREACHABLE/);
    expect(stage.published[0]!.text).toContain(name);
    expect(shopMetrics('HostUnreachable')).toEqual([1]);

    await stage.startRun({ operation: 'backup', scheduledFor: '2026-01-18T02:00:00Z' });
    await stage.watch();
    expect(stage.published).toHaveLength(2);
  });

  it('and has never been backed up grows older with every look', async () => {
    stage.ec2.instances.set(ODD, { tags: { Role: 'db' }, state: 'stopped' });
    await stage.startRun(NIGHT);
    const oldest = async (): Promise<number> => {
      await stage.watch();
      return Math.max(...[shopMetrics('BackupAgeSeconds').at(-1) ?? []].flat());
    };
    stage.passMinutes(60);
    expect(await oldest()).toBe(3600);
    stage.passMinutes(27 * 60);
    expect(await oldest()).toBe(28 * 3600);
  });

  it('and has been terminated is nobody’s business any more', async () => {
    stage.ec2.instances.set(ODD, { tags: { Role: 'db' }, state: 'terminated' });
    expect(await stage.startRun(NIGHT)).toMatchObject({ failures: [] });
  });

  it('and was reached before the first try died is not called absent', async () => {
    stage.ssm.tagged.set('Role=db', [ODD]);
    const { runs } = await stage.startRun(NIGHT);
    const { runId, commandId } = runs[0]!;
    const other = await startStage({
      series: [{ app: 'shop', database: 'shop', host: { tag: { key: 'Role', value: 'db' } } }],
    });
    try {
      const key = `database/runs/2026/01/17/${runId}/request.json`;
      await other.state.putOnce(key, await stage.readRun(runId, 'request'));
      other.ssm.commands.push(...stage.ssm.commands);
      other.ec2.instances.set(ODD, { tags: { Role: 'db' }, state: 'stopped' });
      expect(await other.startRun(NIGHT)).toMatchObject({ runs: [{ runId, commandId }], failures: [] });
    } finally {
      await other.close();
    }
  });
});

describe('EC2', () => {
  it('that does not tell keeps nobody from being backed up, but the night ends in an error', async () => {
    stage.ec2.instances.set(ODD, { tags: { Role: 'db' }, state: 'stopped' });
    stage.ec2.faults.push({ status: 403, code: 'UnauthorizedOperation' });
    await expect(stage.startRun(NIGHT)).rejects.toThrow(
      /ec2:DescribeInstances for the tag Role=db failed: on demand \(UnauthorizedOperation\)[^]*Let the function’s role do ec2:DescribeInstances/,
    );
    expect(stage.ssm.commands).toHaveLength(OTHERS.length);
    expect((await stage.startRun(NIGHT)).failures).toMatchObject([{ instanceId: ODD }]);
    expect(stage.ssm.commands).toHaveLength(OTHERS.length);
  });

  it('is asked again when it has too much to do', async () => {
    stage.ec2.faults.push(
      { status: 503, code: 'RequestLimitExceeded' },
      { status: 500, code: 'InternalError' },
    );
    expect((await stage.startRun(NIGHT)).runs).toHaveLength(OTHERS.length);
  });

  it('is asked once for all series of one tag, page after page', async () => {
    await stage.startRun(NIGHT);
    expect(stage.ec2.calls.map((form) => form.get('NextToken'))).toEqual([null, '2', '4', '6', '8']);
  });

  it.each(['*', 'd?', String.raw`\*`, 'a&b <c>'])(
    'takes the tag’s value %s for what it is',
    async (value) => {
      stage.ec2.instances.set(ODD, { tags: { Role: value }, state: 'running' });
      stage.ec2.instances.set('i-000000000000000aa', { tags: { Role: 'db' }, state: 'running' });
      expect([...(await stage.instances.withTag('Role', value))]).toEqual([[ODD, 'running']]);
    },
  );
});
