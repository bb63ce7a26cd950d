import type { Bucket } from '../../../lambda/bucket.ts';
import type { Instances } from '../../../lambda/instances.ts';
import { openLog } from '../../../lambda/log.ts';
import type { RunCommand } from '../../../lambda/run-command.ts';
import { makeHandler, type StartAnswer } from '../../../lambda/start-run/handler.ts';
import { parseDeploymentConfig } from '../../../lib/domain/deployment/config.ts';
import { VirtualTime } from './virtual-time.ts';

/**
 * How long a night's start takes for a thousand hosts, by the real handler against a model of AWS; and which of the model's
 * quotas makes it take so long. What the model says is as good as what it assumes, so all of that stands here.
 */
interface Assumptions {
  /**
   * AWS publishes no request rate for Run Command: neither its page of quotas
   * (https://docs.aws.amazon.com/general/latest/gr/ssm.html) nor that of SendCommand
   * (https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_SendCommand.html) has one, and what is refused is
   * told as ThrottlingException, "Rate exceeded" (https://github.com/boto/botocore/issues/993). Several, on the low side.
   */
  readonly sendPerSecond: number;
  /** Not published either; reads are let through more freely. Fifty hosts a page. */
  readonly describePerSecond: number;
  /** https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html: for each prefix. */
  readonly putsPerSecond: number;
  /** Within a region, as measured by many; so long each of the dozen workers waits for an answer. */
  readonly sendMs: number;
  readonly putMs: number;
  /** https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html */
  readonly lambdaMinutes: number;
}

const SEND_RATES = [1, 2, 5, 10] as const;
const ASSUMED = {
  describePerSecond: 5,
  putsPerSecond: 3_500,
  sendMs: 150,
  putMs: 30,
  lambdaMinutes: 15,
} as const satisfies Partial<Assumptions>;

/** Each quota as if it was none. */
const MANY = 1e9;
const WITHOUT: Readonly<Record<string, Partial<Assumptions>>> = {
  'the rate of SendCommand': { sendPerSecond: MANY },
  'the rate of DescribeInstanceInformation': { describePerSecond: MANY },
  'the rate of S3’s puts': { putsPerSecond: MANY },
  'waiting for answers': { sendMs: 0, putMs: 0 },
  'the Lambda’s time': { lambdaMinutes: MANY },
};

const BURST = 5;
/** The first of Lambda's two retries of an asynchronous invocation comes after a minute, the second after two more. */
const RETRY_PAUSES_MS = [60_000, 120_000];

const HOSTS = 1000;
const ALL_HOSTS = Array.from({ length: HOSTS }, (_, index) => `i-${String(index).padStart(17, '0')}`);
const HOSTS_PER_PAGE = 50;
const START = new Date('2026-01-17T02:00:05Z');

/** As AWS throttles: so many at once, refilled evenly. */
class TokenBucket {
  refused = 0;
  taken = 0;
  #tokens: number;
  #at: number;
  readonly #time: VirtualTime;
  readonly #perSecond: number;
  readonly #burst: number;

  constructor(time: VirtualTime, perSecond: number, burst: number) {
    this.#time = time;
    this.#perSecond = perSecond;
    this.#burst = burst;
    this.#tokens = burst;
    this.#at = time.now().getTime();
  }

  take(): boolean {
    const now = this.#time.now().getTime();
    this.#tokens = Math.min(this.#burst, this.#tokens + ((now - this.#at) / 1000) * this.#perSecond);
    this.#at = now;
    if (this.#tokens < 1) {
      this.refused += 1;
      return false;
    }
    this.#tokens -= 1;
    this.taken += 1;
    return true;
  }
}

interface Night {
  readonly minutes: number;
  readonly invocations: number;
  readonly sent: readonly string[];
  readonly started: number;
  /** Refusals, by quota. */
  readonly refused: { readonly send: number; readonly describe: number; readonly s3: number };
}

async function simulate(assumed: Assumptions, hosts = HOSTS): Promise<Night> {
  const time = new VirtualTime(START, 42);
  const quotas = {
    send: new TokenBucket(time, assumed.sendPerSecond, BURST),
    describe: new TokenBucket(time, assumed.describePerSecond, BURST),
    s3: new TokenBucket(time, assumed.putsPerSecond, Math.max(1, assumed.putsPerSecond)),
  };
  const sent: string[] = [];
  const handle = makeHandler({
    config: parseDeploymentConfig(
      { series: [{ database: 'hostmaster', host: { tag: { key: 'Backup', value: 'yes' } } }] },
      'lifeboat.config.json',
    ),
    state: modelState(time, quotas.s3, assumed),
    commands: modelSsm(time, quotas, sent, { ...assumed, hosts }),
    instances: modelEc2(time, { ...assumed, hosts }),
    clock: time,
    log: openLog({ deployment: 'Lifeboat', now: time.now, write: () => undefined }),
    topic: { publish: () => Promise.reject(new Error('there is nothing to tell')) },
    dashboardUrl: undefined,
    bucket: 'backups',
    region: 'eu-west-1',
    backupDocument: 'Backup',
    logGroup: undefined,
  });
  const event = { operation: 'backup', scheduledFor: '2026-01-17T02:00:00Z' };
  let answer: StartAnswer | undefined;
  let invocations = 0;
  while (!answer && invocations <= RETRY_PAUSES_MS.length) {
    const ends = time.now().getTime() + assumed.lambdaMinutes * 60_000;
    const context = {
      awsRequestId: 'night',
      getRemainingTimeInMillis: () => ends - time.now().getTime(),
    };
    answer = await time.run(handle(event, context)).catch(() => undefined);
    if (!answer) await time.run(time.sleep(RETRY_PAUSES_MS[invocations] ?? 0));
    invocations += 1;
  }
  const { send, describe, s3 } = quotas;
  return {
    minutes: (time.now().getTime() - START.getTime()) / 60_000,
    invocations,
    sent,
    started: answer?.runs.length ?? 0,
    refused: { send: send.refused, describe: describe.refused, s3: s3.refused },
  };
}

function modelState(time: VirtualTime, puts: TokenBucket, { putMs }: Assumptions): Bucket {
  const objects = new Map<string, string>();
  const untouched = (): never => {
    throw new Error('the start of a night does not ask for this');
  };
  return {
    name: 'state',
    putOnce: async (key, value) => {
      await time.sleep(putMs);
      while (!puts.take()) await time.sleep(100);
      if (objects.has(key)) return false;
      objects.set(key, JSON.stringify(value));
      return true;
    },
    read: async (key) => {
      await time.sleep(putMs);
      return objects.get(key);
    },
    list: untouched,
    folders: untouched,
    tags: untouched,
    setTags: untouched,
    metadata: untouched,
    remove: untouched,
  };
}

function modelSsm(
  time: VirtualTime,
  quotas: { send: TokenBucket; describe: TokenBucket },
  sent: string[],
  { sendMs, hosts }: Assumptions & { readonly hosts: number },
): RunCommand {
  const byRun = new Map<string, string>();
  return {
    send: async ({ runId }) => {
      await time.sleep(sendMs);
      if (!quotas.send.take())
        throw Object.assign(new Error('Rate exceeded'), { name: 'ThrottlingException' });
      sent.push(runId);
      byRun.set(runId, `command-of-${runId}`);
      return byRun.get(runId)!;
    },
    find: async ({ runId }) => {
      await time.sleep(sendMs);
      return byRun.get(runId);
    },
    hostsWithTag: async () => {
      for (let page = 0; page < hosts / HOSTS_PER_PAGE; page += 1) {
        await time.sleep(sendMs);
        while (!quotas.describe.take()) await time.sleep(500); // the SDK's own retries
      }
      return ALL_HOSTS.slice(0, hosts);
    },
    invocation: async () => undefined,
    output: async () => '',
  };
}

/** A thousand instances are one page. */
function modelEc2(time: VirtualTime, { sendMs, hosts }: Assumptions & { readonly hosts: number }): Instances {
  return {
    withTag: async () => {
      await time.sleep(sendMs);
      return new Map(ALL_HOSTS.slice(0, hosts).map((id) => [id, 'running']));
    },
  };
}

/** What makes the night long: that without which it is over soonest, and how much of the night that takes away. */
async function findBinding(
  assumed: Assumptions,
  hosts = HOSTS,
): Promise<{ binding: string; gains: Record<string, number> }> {
  const { minutes } = await simulate(assumed, hosts);
  const gains: Record<string, number> = {};
  for (const [quota, change] of Object.entries(WITHOUT))
    gains[quota] = 1 - (await simulate({ ...assumed, ...change }, hosts)).minutes / minutes;
  const [binding = ''] = Object.keys(gains).toSorted((one, other) => gains[other]! - gains[one]!);
  return { binding, gains };
}

describe('a night’s start on a thousand hosts', () => {
  it.each(SEND_RATES)('at %d commands a second starts each host once, in minutes', async (sendPerSecond) => {
    const night = await simulate({ ...ASSUMED, sendPerSecond });
    expect(night.started).toBe(HOSTS);
    expect(night.sent).toHaveLength(HOSTS);
    expect(new Set(night.sent).size).toBe(HOSTS);
    const ideal = HOSTS / sendPerSecond / 60;
    expect(night.minutes).toBeLessThan(Math.max(ideal * 2 + 2, 3));
    expect(night.minutes).toBeLessThan(45);
    console.info(
      `${sendPerSecond} commands/s: ${night.minutes.toFixed(1)} min in ${night.invocations} invocation(s); refused: ` +
        `SendCommand ${night.refused.send}, DescribeInstanceInformation ${night.refused.describe}, S3 ${night.refused.s3}`,
    );
  });

  it.each([SEND_RATES[0], SEND_RATES.at(-1)!])(
    'is bound by the rate of SendCommand if that is %d a second, and all else makes little difference',
    async (sendPerSecond) => {
      const { binding, gains } = await findBinding({ ...ASSUMED, sendPerSecond });
      expect(binding).toBe('the rate of SendCommand');
      expect(gains[binding]).toBeGreaterThan(0.7);
      for (const [quota, gain] of Object.entries(gains))
        if (quota !== binding) expect([quota, gain < 0.15]).toEqual([quota, true]);
    },
  );

  it.each<[string, Partial<Assumptions>]>([
    ['the rate of S3’s puts', { putsPerSecond: 5 }],
    ['the rate of DescribeInstanceInformation', { describePerSecond: 0.02 }],
    ['waiting for answers', { sendPerSecond: 500 }],
  ])('would be bound by %s if that were the slowest: the test tells them apart', async (quota, change) => {
    const { binding } = await findBinding({ ...ASSUMED, sendPerSecond: 10, ...change }, HOSTS / 2);
    expect(binding).toBe(quota);
  });

  it('outlasts a Lambda at the lowest rate, and its retry goes on where it stopped', async () => {
    const night = await simulate({ ...ASSUMED, sendPerSecond: 1 });
    expect(night.invocations).toBe(2);
    expect(night.sent).toHaveLength(HOSTS);
  });
});
