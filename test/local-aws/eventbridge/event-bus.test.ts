import { AccessControl } from '../../../scripts/local-aws/access/access-control.ts';
import { makePrincipal } from '../../../scripts/local-aws/access/principal.ts';
import { MetricStore } from '../../../scripts/local-aws/cloudwatch/metric-store.ts';
import { Work } from '../../../scripts/local-aws/deployment/work.ts';
import { EventBus, type Rule } from '../../../scripts/local-aws/eventbridge/event-bus.ts';
import type { LambdaFunction } from '../../../scripts/local-aws/lambda/lambda-function.ts';
import { Queue } from '../../../scripts/local-aws/sqs/queue.ts';

const ACCOUNT = { accountId: '111122223333', region: 'eu-west-1' };

/** A bus with a nightly rule and one for ended commands, whose target notes what it is given. */
function makeBus(allowed = true) {
  const given: unknown[] = [];
  const target = {
    label: 'Target',
    specification: { arn: 'arn:aws:lambda:eu-west-1:111122223333:function:target' },
    invokeAsynchronously: async (event: unknown) => given.push(event),
  } as unknown as LambdaFunction;
  const operator = makePrincipal('operator', 'arn:aws:iam::111122223333:user/operator');
  const decide = ({ action }: { action: string }) => ({
    allowed: allowed || action === 'sqs:SendMessage',
    reason: 'the test says so',
  });
  const access = new AccessControl([], operator, decide);
  const [metrics, work] = [new MetricStore(), new Work()];
  const bus = new EventBus({ ...ACCOUNT, access, metrics, follow: work.follow, tell: () => undefined });
  const deadLetters = new Queue('letters', 'arn:aws:sqs:eu-west-1:111122223333:letters');
  const rule = (logicalId: string, parts: Pick<Rule, 'pattern' | 'schedule'>, input = {}): Rule => ({
    logicalId,
    name: logicalId,
    arn: `arn:aws:events:eu-west-1:111122223333:rule/${logicalId}`,
    targets: [{ function: target, input, deadLetters }],
    ...parts,
  });
  const InputTransformer = { InputPathsMap: { time: '$.time' }, InputTemplate: '{"at":<time>}' };
  const nightly = rule(
    'Nightly',
    { pattern: undefined, schedule: 'cron(0 2 * * ? *)' },
    { InputTransformer },
  );
  bus.rules.push(
    nightly,
    rule('Ended', { pattern: { detail: { status: ['Success'] } }, schedule: undefined }),
  );
  const emit = (status: string): void => {
    bus.emit({ source: 'aws.ssm', 'detail-type': 'Status', detail: { status }, resources: [] });
  };
  return { bus, given, work, metrics, deadLetters, nightly, emit, access };
}

const statuses = (given: readonly unknown[]): string[] =>
  given.map((event) => (event as { detail: { status: string } }).detail.status);

describe('the event bus', () => {
  it('hands a rule’s target what its pattern lets through', async () => {
    const { given, work, emit } = makeBus();
    for (const status of ['Pending', 'Success', 'Failed']) emit(status);
    await work.untilIdle();
    expect(statuses(given)).toEqual(['Success']);
  });

  it('fires a schedule with the time that it was meant for, and at no other', async () => {
    const { bus, given, work, nightly } = makeBus();
    bus.fire(nightly, new Date('2026-01-17T02:00:00Z'));
    await work.untilIdle();
    expect(given).toEqual([{ at: '2026-01-17T02:00:00Z' }]);
    expect(() => bus.fire(nightly, new Date('2026-01-17T03:00:00Z'))).toThrow(/does not fire/);
  });

  it('loses, repeats, holds and reorders events on demand', async () => {
    const { bus, given, work, emit } = makeBus();
    bus.transform = () => [];
    emit('Success');
    bus.transform = (event) => [event, event];
    bus.hold();
    emit('Success');
    await work.untilIdle();
    expect(given).toEqual([]);
    bus.release((events) => events.toReversed());
    await work.untilIdle();
    expect(statuses(given)).toEqual(['Success', 'Success']);
  });

  it('keeps what the function’s policy does not let it deliver, and counts it', async () => {
    const { given, work, deadLetters, metrics, emit, access } = makeBus(false);
    emit('Success');
    await work.untilIdle();
    expect(given).toEqual([]);
    expect(deadLetters.messages).toHaveLength(1);
    expect(metrics.points).toMatchObject([{ namespace: 'AWS/Events', name: 'FailedInvocations', value: 1 }]);
    expect(access.calls.map(({ principal, action, allowed }) => [principal, action, allowed])).toEqual([
      ['events.amazonaws.com', 'lambda:InvokeFunction', false],
      ['events.amazonaws.com', 'sqs:SendMessage', true],
    ]);
  });
});
