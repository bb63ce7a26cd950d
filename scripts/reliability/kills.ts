import { setTimeout as sleep } from 'node:timers/promises';
import { formatCount } from '../../lib/domain/quantities.ts';
import { EmptyHost } from './empty-host.ts';
import { distribution, judgeLoss, type Loss, type RecoveredClient, type ToldCommit } from './evidence.ts';
import { playOnHost, type HostGround } from './host.ts';
import { Load, prepareLoad } from './load.ts';
import { between } from './random.ts';
import type { Scenario, ScenarioResult } from './scenario.ts';

/** What was promised: so many seconds' worth of committed transactions at most. */
const PROMISED_SECONDS = 10;

interface Form {
  readonly kills: number;
  readonly scale: number;
  readonly clients: number;
  /** Seconds of load before a kill. */
  readonly load: readonly [number, number];
  /** Transactions a second, in turn; `undefined`: as many as go. */
  readonly rates: readonly (number | undefined)[];
  /** How often a base backup is begun under the load. */
  readonly bases: number;
  /** The agent's settings besides its own defaults. */
  readonly settings: Readonly<Record<string, string>>;
}

const FULL: Form = {
  kills: 12,
  scale: 10,
  clients: 4,
  load: [8, 20],
  rates: [undefined, 40],
  bases: 0.4,
  settings: {},
};
const SHORT: Form = {
  kills: 2,
  scale: 1,
  clients: 2,
  load: [3, 4],
  rates: [undefined, 40],
  bases: 0,
  settings: { WAL_JOURNAL_SECONDS: '1' },
};

interface Kill extends Loss {
  readonly rate: number | undefined;
  readonly loadSeconds: number;
  readonly segments: number;
  readonly recoveryMs: number;
}

/** The host comes back after each kill, with what was on its disk, so that the next one finds a longer story. */
export const KILLS: Scenario = {
  name: 'kills',
  about:
    'kill -9 of PostgreSQL and of everything else on the host, under load; recovery from the buckets alone',
  run: async (context) => {
    const form = context.short ? SHORT : FULL;
    const options = { env: form.settings };
    return await playOnHost({ context, form }, options, (ground) => new Kills(ground).run());
  },
};

class Kills {
  readonly #ground: HostGround<Form>;
  readonly #told: ToldCommit[][] = [];
  readonly #failures: string[] = [];

  constructor(ground: HostGround<Form>) {
    this.#ground = ground;
  }

  async run(): Promise<ScenarioResult> {
    const { kills, scale } = this.#ground.form;
    await prepareLoad(this.#ground.stage, scale);
    const done: Kill[] = [];
    for (let round = 1; round <= kills; round += 1) {
      this.#ground.context.signal.throwIfAborted();
      const kill = await this.#kill(round);
      done.push(kill);
      this.#ground.context.say(
        `kill ${round} of ${kills}: ${formatCount(kill.told, 'commit')} told, ${kill.lost} lost, ${kill.seconds.toFixed(1)} s`,
      );
      if (round < kills) await this.#ground.stage.postgres.start();
    }
    return { lines: report(done), failures: this.#failures };
  }

  async #kill(round: number): Promise<Kill> {
    const { random, signal } = this.#ground.context;
    const { rates, load: seconds, bases, scale, clients } = this.#ground.form;
    const stream = await this.#ground.host.startStream();
    if (round === 1) await this.#ground.host.backUp();
    const rate = rates[(round - 1) % rates.length];
    const loadSeconds = between(random, ...seconds);
    const load = new Load(this.#ground.stage, { scale, clients, rate, round });
    try {
      if (random() < bases) this.#ground.host.start('backup', '--kind', 'base');
      await sleep(loadSeconds * 1000, undefined, { signal });
      const at = await this.#ground.host.kill();
      this.#told[round] = await load.told();
      return { rate, loadSeconds, ...(await this.#recover(round, at)) };
    } catch (error) {
      await load.kill();
      this.#ground.context.say(stream.printed());
      throw error;
    }
  }

  async #recover(round: number, at: number): Promise<Loss & Pick<Kill, 'segments' | 'recoveryMs'>> {
    const other = await EmptyHost.recover(this.#ground.stage, '--latest');
    try {
      const loss = await this.#compare(other, round, at);
      const { segments, durationsMs } = other.recovered;
      return { ...loss, segments, recoveryMs: durationsMs.total };
    } finally {
      await other.remove();
    }
  }

  async #compare(other: EmptyHost, round: number, at: number): Promise<Loss> {
    const recovered = await readRecovered(other);
    const loss = judgeLoss(this.#told[round] ?? [], recovered.get(round) ?? [], at);
    const problems = [...loss.problems];
    if (loss.seconds > PROMISED_SECONDS)
      problems.push(`${loss.seconds.toFixed(1)} s of commits are lost; ${PROMISED_SECONDS} s are promised`);
    for (let earlier = 1; earlier < round; earlier += 1) {
      const before = judgeLoss(this.#told[earlier]!, recovered.get(earlier) ?? [], at);
      problems.push(...before.problems);
      if (before.lost > 0)
        problems.push(`${before.lost} commits of the load before kill ${earlier} are lost`);
    }
    const sums = await other.psql(SUMS);
    if (sums !== 't') problems.push('a transaction is there in part: the sums of the balances differ');
    this.#failures.push(...problems.map((problem) => `kill ${round}: ${problem}`));
    return loss;
  }
}

/** Each transaction adds one amount in four tables, and a row to two. */
const SUMS = `
  WITH history AS (SELECT coalesce(sum(delta), 0) AS sum, count(*) AS rows FROM pgbench_history)
  SELECT (SELECT sum(abalance) FROM pgbench_accounts) = history.sum
    AND (SELECT sum(tbalance) FROM pgbench_tellers) = history.sum
    AND (SELECT sum(bbalance) FROM pgbench_branches) = history.sum
    AND (SELECT count(*) FROM told) = history.rows
  FROM history`;

async function readRecovered(other: EmptyHost): Promise<Map<number, RecoveredClient[]>> {
  const rows = await other.psql(
    'SELECT round, client, count(DISTINCT n), max(n) FROM told GROUP BY round, client',
  );
  const rounds = new Map<number, RecoveredClient[]>();
  for (const line of rows.split('\n').filter(Boolean)) {
    const [round, client, count, last] = line.split('|').map(Number);
    const clients = rounds.get(round!) ?? [];
    clients.push({ client: client!, rows: count!, last: last! });
    rounds.set(round!, clients);
  }
  return rounds;
}

function report(kills: readonly Kill[]): string[] {
  const seconds = distribution(kills.map((kill) => kill.seconds));
  const lost = distribution(kills.map((kill) => kill.lost));
  const recovery = distribution(kills.map((kill) => kill.recoveryMs / 1000));
  return [
    `Lost in ${kills.length} kills: least ${seconds.least.toFixed(1)} s, median **${seconds.median.toFixed(1)} s**, most **${seconds.most.toFixed(1)} s** (promised: at most ${PROMISED_SECONDS} s); in transactions ${lost.least}, ${lost.median}, ${lost.most}. Recovered in ${recovery.least.toFixed(1)} to ${recovery.most.toFixed(1)} s.`,
    '',
    '| kill | load before it | commits told | commits lost | seconds lost | WAL segments replayed | recovered in |',
    '| ---: | -------------: | -----------: | -----------: | -----------: | --------------------: | -----------: |',
    ...kills.map((kill, index) => reportKill(kill, index + 1)),
  ];
}

function reportKill(
  { rate, loadSeconds, told, lost, seconds, segments, recoveryMs }: Kill,
  number: number,
): string {
  const tps = Math.round(told / loadSeconds);
  const load =
    rate === undefined
      ? `${loadSeconds.toFixed(0)} s, all it could (${tps} tps)`
      : `${loadSeconds.toFixed(0)} s, ${rate} tps`;
  return `| ${number} | ${load} | ${told} | ${lost} | ${seconds.toFixed(1)} | ${segments} | ${(recoveryMs / 1000).toFixed(1)} s |`;
}
