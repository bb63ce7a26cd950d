import type { Bucket } from '../../../lambda/bucket.ts';
import type { Instances } from '../../../lambda/instances.ts';
import { openLog } from '../../../lambda/log.ts';
import type { RunCommand } from '../../../lambda/run-command.ts';
import { makeHandler, type StartAnswer } from '../../../lambda/start-run/handler.ts';
import { parseDeploymentConfig } from '../../../lib/domain/deployment/config.ts';
import { VirtualTime } from './virtual-time.ts';

/**
 * How long a night's start takes for a thousand hosts, by the real handler against a model of AWS.
 *
 * AWS publishes no request rate for Run Command: neither its page of quotas
 * (https://docs.aws.amazon.com/general/latest/gr/ssm.html) nor that of SendCommand
 * (https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_SendCommand.html) has one, and what is refused is
 * told as ThrottlingException, "Rate exceeded" (https://github.com/boto/botocore/issues/993). So these are assumptions, on
 * the low side, and the simulation says what follows from each.
 */
const SEND_RATES = [1, 2, 5, 10] as const;
const BURST = 5;
/** DescribeInstanceInformation: reads are let through more freely; fifty hosts a page. */
const DESCRIBE_PER_SECOND = 5;
/** https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html: for each prefix. */
const S3_PUTS_PER_SECOND = 3_500;
const SEND_MS = 150;
const PUT_MS = 30;
/** https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html */
const LAMBDA_MINUTES = 15;
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

async function simulate(sendPerSecond: number): Promise<Night> {
  const time = new VirtualTime(START, 42);
  const quotas = {
    send: new TokenBucket(time, sendPerSecond, BURST),
    describe: new TokenBucket(time, DESCRIBE_PER_SECOND, BURST),
    s3: new TokenBucket(time, S3_PUTS_PER_SECOND, S3_PUTS_PER_SECOND),
  };
  const sent: string[] = [];
  const handle = makeHandler({
    config: parseDeploymentConfig(
      { series: [{ database: 'hostmaster', host: { tag: { key: 'Backup', value: 'yes' } } }] },
      'lifeboat.config.json',
    ),
    state: modelState(time, quotas.s3),
    commands: modelSsm(time, quotas, sent),
    instances: modelEc2(time),
    clock: time,
    log: openLog({ deployment: 'Lifeboat', now: time.now, write: () => undefined }),
    bucket: 'backups',
    region: 'eu-west-1',
    backupDocument: 'Backup',
    logGroup: undefined,
  });
  const event = { operation: 'backup', scheduledFor: '2026-01-17T02:00:00Z' };
  let answer: StartAnswer | undefined;
  let invocations = 0;
  while (!answer && invocations <= RETRY_PAUSES_MS.length) {
    const ends = time.now().getTime() + LAMBDA_MINUTES * 60_000;
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

function modelState(time: VirtualTime, puts: TokenBucket): Bucket {
  const objects = new Map<string, string>();
  const untouched = (): never => {
    throw new Error('the start of a night does not ask for this');
  };
  return {
    name: 'state',
    putOnce: async (key, value) => {
      await time.sleep(PUT_MS);
      while (!puts.take()) await time.sleep(100);
      if (objects.has(key)) return false;
      objects.set(key, JSON.stringify(value));
      return true;
    },
    read: async (key) => {
      await time.sleep(PUT_MS);
      return objects.get(key);
    },
    list: untouched,
    folders: untouched,
    tags: untouched,
    setTags: untouched,
  };
}

function modelSsm(
  time: VirtualTime,
  quotas: { send: TokenBucket; describe: TokenBucket },
  sent: string[],
): RunCommand {
  const byRun = new Map<string, string>();
  return {
    send: async ({ runId }) => {
      await time.sleep(SEND_MS);
      if (!quotas.send.take())
        throw Object.assign(new Error('Rate exceeded'), { name: 'ThrottlingException' });
      sent.push(runId);
      byRun.set(runId, `command-of-${runId}`);
      return byRun.get(runId)!;
    },
    find: async ({ runId }) => {
      await time.sleep(SEND_MS);
      return byRun.get(runId);
    },
    hostsWithTag: async () => {
      for (let page = 0; page < HOSTS / HOSTS_PER_PAGE; page += 1) {
        await time.sleep(SEND_MS);
        while (!quotas.describe.take()) await time.sleep(500); // the SDK's own retries
      }
      return ALL_HOSTS;
    },
    invocation: async () => undefined,
    output: async () => '',
  };
}

/** A thousand instances are one page. */
function modelEc2(time: VirtualTime): Instances {
  return {
    withTag: async () => {
      await time.sleep(SEND_MS);
      return new Map(ALL_HOSTS.map((id) => [id, 'running']));
    },
  };
}

describe('a night’s start on a thousand hosts', () => {
  it.each(SEND_RATES)('at %d commands a second starts each host once, in minutes', async (rate) => {
    const night = await simulate(rate);
    expect(night.started).toBe(HOSTS);
    expect(night.sent).toHaveLength(HOSTS);
    expect(new Set(night.sent).size).toBe(HOSTS);
    const ideal = HOSTS / rate / 60;
    expect(night.minutes).toBeGreaterThan(ideal * 0.9);
    expect(night.minutes).toBeLessThan(Math.max(ideal * 2 + 2, 3));
    expect(night.minutes).toBeLessThan(45);
    console.info(
      `${rate} commands/s: ${night.minutes.toFixed(1)} min in ${night.invocations} invocation(s); refused: ` +
        `SendCommand ${night.refused.send}, DescribeInstanceInformation ${night.refused.describe}, S3 ${night.refused.s3}`,
    );
  });

  it('is bound by SendCommand’s rate, not by looking up hosts, S3 or the Lambda’s time', async () => {
    const night = await simulate(2);
    const describing = HOSTS / HOSTS_PER_PAGE / DESCRIBE_PER_SECOND / 60;
    expect(night.refused.send).toBeGreaterThan(night.refused.describe);
    expect(night.refused.s3).toBe(0);
    expect(describing).toBeLessThan(night.minutes / 20);
    expect(night.invocations).toBe(1);
  });

  it('outlasts a Lambda at the lowest rate, and its retry goes on where it stopped', async () => {
    const night = await simulate(1);
    expect(night.invocations).toBe(2);
    expect(night.sent).toHaveLength(HOSTS);
  });
});
