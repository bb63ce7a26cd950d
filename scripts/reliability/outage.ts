import { setTimeout as sleep } from 'node:timers/promises';
import { formatBytes } from '../../lib/domain/quantities.ts';
import type { Agent } from './agent.ts';
import type { ToldCommit } from './evidence.ts';
import { playOnHost, type HostGround } from './host.ts';
import { Load, prepareLoad } from './load.ts';
import { proveNothingMissing, WAL_KEPT } from './proof.ts';
import type { Scenario, ScenarioResult } from './scenario.ts';
import { untilHeld } from './stored-wal.ts';

/** How S3 is away: it refuses everything, or its connections stand still. */
type Way = 'refuses' | 'silent';

interface Form {
  readonly ways: readonly Way[];
  readonly seconds: number;
  /** Of load before it, and after it. */
  readonly around: number;
  readonly scale: number;
  readonly rate: number;
  readonly settings: Readonly<Record<string, string>>;
}

const FULL: Form = {
  ways: ['refuses', 'silent'],
  seconds: 120,
  around: 15,
  scale: 10,
  rate: 400,
  settings: {},
};
const SHORT: Form = {
  ways: ['silent'],
  seconds: 5,
  around: 2,
  scale: 1,
  rate: 50,
  settings: { WAL_JOURNAL_SECONDS: '1' },
};
const CLIENTS = 4;

interface Outage {
  readonly way: Way;
  readonly from: number;
  readonly to: number;
  /** Since when commits are at risk, in the agent's words. */
  readonly saidSince: number | undefined;
  readonly keptBytes: number;
  readonly catchUpMs: number;
}

export const OUTAGE: Scenario = {
  name: 'outage',
  about:
    'S3 away for two minutes under load: PostgreSQL goes on, the agent says what is at risk and catches up',
  run: async (context) => {
    const form = context.short ? SHORT : FULL;
    const options = { env: form.settings, settings: WAL_KEPT };
    return await playOnHost({ context, form }, options, (ground) => new Outages(ground).run());
  },
};

class Outages {
  readonly #ground: HostGround<Form>;
  readonly #failures: string[] = [];

  constructor(ground: HostGround<Form>) {
    this.#ground = ground;
  }

  async run(): Promise<ScenarioResult> {
    const { ways, scale, rate, around } = this.#ground.form;
    const { signal } = this.#ground.context;
    await prepareLoad(this.#ground.stage, scale);
    const stream = await this.#ground.host.startStream();
    await this.#ground.host.backUp();
    const load = new Load(this.#ground.stage, { scale, clients: CLIENTS, rate, round: 1 });
    const outages: Outage[] = [];
    try {
      for (const way of ways) {
        await sleep(around * 1000, undefined, { signal });
        outages.push(await this.#lose(way, stream));
      }
      await sleep(around * 1000, undefined, { signal });
    } catch (error) {
      await load.kill();
      throw error;
    }
    const told = await load.stop();
    await untilHeld(this.#ground.stage, signal);
    this.#ground.context.say('The load is over; comparing');
    const proof = await proveNothingMissing(this.#ground.stage);
    this.#failures.push(...proof.failures);
    return {
      lines: [...outages.flatMap((outage) => this.#report(outage, told)), '', `Then: ${proof.line}.`],
      failures: this.#failures,
    };
  }

  async #lose(way: Way, stream: Agent): Promise<Outage> {
    const { signal, say } = this.#ground.context;
    const { seconds } = this.#ground.form;
    const printedBefore = stream.printed().length;
    const from = Date.now();
    await this.#takeAway(way);
    try {
      await sleep(seconds * 1000, undefined, { signal });
      await untilTrue(() => AT_RISK.test(stream.printed().slice(printedBefore)), signal, PATIENCE_MS);
    } finally {
      await this.#giveBack(way);
    }
    const to = Date.now();
    const catchUpMs = await untilHeld(this.#ground.stage, signal);
    const isOver = (): boolean => /S3 holds all WAL again/.test(stream.printed().slice(printedBefore));
    if (!(await untilTrue(isOver, signal, PATIENCE_MS))) this.#failures.push('that it is over was not said');
    const printed = stream.printed().slice(printedBefore);
    say(
      `S3 ${way === 'silent' ? 'stood still' : 'refused'} for ${Math.round((to - from) / 1000)} s; the agent said:\n${indented(printed)}`,
    );
    return { way, from, to, catchUpMs, ...readSaid(printed) };
  }

  async #takeAway(way: Way): Promise<void> {
    if (way === 'silent') process.kill(this.#ground.stage.s3.pid, 'SIGSTOP');
    else
      await this.#ground.stage.addFault({
        times: 'always',
        effect: { kind: 'error', status: 503, code: 'ServiceUnavailable' },
      });
  }

  async #giveBack(way: Way): Promise<void> {
    if (way === 'silent') process.kill(this.#ground.stage.s3.pid, 'SIGCONT');
    else await this.#ground.stage.endFaults();
  }

  #report({ way, from, to, saidSince, keptBytes, catchUpMs }: Outage, told: readonly ToldCommit[]): string[] {
    const usual = perSecond(told, from - this.#ground.form.around * 1000, from);
    const meanwhile = perSecond(told, from, to);
    const gap = longestGap(told, from, to);
    const what = way === 'silent' ? 'connections that stand still' : '503 to every request';
    if (meanwhile < usual / 2)
      this.#failures.push(`${what}: ${meanwhile} instead of ${usual} commits a second`);
    const said = saidSince === undefined ? undefined : (saidSince - from) / 1000;
    if (said === undefined) this.#failures.push(`${what}: what is at risk was not said`);
    // To the second, as it is printed; what the journal was about to take is older than the outage.
    else if (said > 4 || said < -JOURNAL_AND_MARGIN)
      this.#failures.push(`${what}: at risk since ${said} s after it began, it was said`);
    return [
      `- ${what} for ${Math.round((to - from) / 1000)} s: ${meanwhile} commits a second meanwhile (${usual} before), none waited for longer than ${gap.toFixed(1)} s; the agent said that commits were at risk since ${describeMoment(said)}, and that the slot kept ${formatBytes(keptBytes)}; all was in S3 ${(catchUpMs / 1000).toFixed(1)} s after its end.`,
    ];
  }
}

const JOURNAL_AND_MARGIN = 8;
/** For a line of the agent's, which comes some seconds after what it tells. */
const PATIENCE_MS = 60_000;
const AT_RISK = /What was committed since (\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)/;

function readSaid(printed: string): Pick<Outage, 'saidSince' | 'keptBytes'> {
  const [, since] = AT_RISK.exec(printed) ?? [];
  const kept = [...printed.matchAll(/PostgreSQL keeps ([\d.]+)([KMG]?)\w* of WAL/g)].at(-1);
  const [, amount, unit] = kept ?? [];
  const factor = { '': 1, K: 1024, M: 1024 ** 2, G: 1024 ** 3 }[unit ?? ''] ?? 1;
  return {
    saidSince: since === undefined ? undefined : Date.parse(`${since.replace(' ', 'T')}Z`),
    keptBytes: amount === undefined ? 0 : Number(amount) * factor,
  };
}

function perSecond(told: readonly ToldCommit[], from: number, to: number): number {
  return Math.round((told.filter(({ at }) => at >= from && at < to).length * 1000) / (to - from));
}

function describeMoment(seconds = Number.NaN): string {
  const whole = Math.round(seconds);
  if (whole === 0) return 'its beginning';
  return `${Math.abs(whole)} s ${whole < 0 ? 'before' : 'after'} its beginning`;
}

/** Seconds without any commit. */
function longestGap(told: readonly ToldCommit[], from: number, to: number): number {
  const times = told
    .flatMap(({ at }) => (at >= from && at < to ? [at] : []))
    .toSorted((one, other) => one - other);
  let [last, longest] = [from, 0];
  for (const at of [...times, to]) {
    longest = Math.max(longest, at - last);
    last = at;
  }
  return longest / 1000;
}

/** @returns `false`: it was not for so long */
async function untilTrue(isTrue: () => boolean, signal: AbortSignal, limitMs: number): Promise<boolean> {
  for (const began = performance.now(); !isTrue();) {
    if (performance.now() - began > limitMs) return false;
    await sleep(100, undefined, { signal });
  }
  return true;
}

function indented(text: string): string {
  return text
    .trimEnd()
    .split('\n')
    .map((line) => `    ${line}`)
    .join('\n');
}
