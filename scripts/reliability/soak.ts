import { setTimeout as sleep } from 'node:timers/promises';
import { DatabaseHost } from './host.ts';
import { Load, prepareLoad } from './load.ts';
import { proveNothingMissing, WAL_KEPT } from './proof.ts';
import { between } from './random.ts';
import type { Scenario, ScenarioContext, ScenarioResult } from './scenario.ts';
import { setStage, type Stage } from './stage.ts';
import { untilHeld } from './stored-wal.ts';

interface Form {
  readonly kills: number;
  readonly scale: number;
  readonly rate: number;
  /** Seconds that a victim lives. */
  readonly lives: readonly [number, number];
}

const FULL: Form = { kills: 30, scale: 10, rate: 400, lives: [0.1, 6] };
const SHORT: Form = { kills: 3, scale: 1, rate: 200, lives: [0.1, 1] };
const CLIENTS = 4;
/** Of the kills, so many hit a base backup; the others the stream. */
const BASES = 1 / 3;
/** Of the streams, so many are let come to work before they are given their time. */
const AT_WORK = 2 / 3;
const STREAMS = /Streaming WAL of cluster/;

interface Killed {
  /** Before it streamed, while it did, and base backups. */
  starting: number;
  streaming: number;
  bases: number;
  /** Base backups that were done before the blow fell. */
  late: number;
}

/** Segments of 1 MiB and a piece each second: as many borders to be killed at as can be. */
export const SOAK: Scenario = {
  name: 'soak',
  about: 'the WAL stream and base backups killed again and again at random, under load',
  run: async (context) => {
    const stage = await setStage({ settings: WAL_KEPT, initdbArgs: ['--wal-segsize=1'] });
    const host = new DatabaseHost(stage, { WAL_JOURNAL_SECONDS: '1' });
    try {
      return await new Soak(stage, host, context).run();
    } finally {
      await host.close();
      await stage.close();
    }
  },
};

class Soak {
  readonly #stage: Stage;
  readonly #host: DatabaseHost;
  readonly #context: ScenarioContext;
  readonly #form: Form;
  readonly #failures: string[] = [];
  readonly #killed: Killed = { starting: 0, streaming: 0, bases: 0, late: 0 };

  constructor(stage: Stage, host: DatabaseHost, context: ScenarioContext) {
    this.#stage = stage;
    this.#host = host;
    this.#context = context;
    this.#form = context.short ? SHORT : FULL;
  }

  async run(): Promise<ScenarioResult> {
    const { scale, rate } = this.#form;
    const { signal, say } = this.#context;
    await prepareLoad(this.#stage, scale);
    const stream = await this.#host.startStream();
    const first = await this.#backUp();
    stream.kill('SIGTERM');
    await stream.ended;
    const load = new Load(this.#stage, { scale, clients: CLIENTS, rate, round: 1 });
    const began = performance.now();
    try {
      await this.#killAgainAndAgain();
    } catch (error) {
      await load.kill();
      throw error;
    }
    await this.#host.startStream();
    const last = await this.#backUp();
    const told = await load.stop();
    const seconds = Math.round((performance.now() - began) / 1000);
    await untilHeld(this.#stage, signal);
    say('The load is over; comparing');
    const { line, failures } = await proveNothingMissing(this.#stage, [first, last]);
    const { starting, streaming, bases, late } = this.#killed;
    return {
      lines: [
        `${this.#form.kills} kills within ${seconds} s and ${told.length} commits: ${streaming} of the stream at work, ${starting} of the stream at its start, ${bases} of a base backup at work, ${late} of one that was just done.`,
        '',
        `Then: ${line}.`,
      ],
      failures: [...this.#failures, ...failures],
    };
  }

  async #killAgainAndAgain(): Promise<void> {
    const { random, say } = this.#context;
    const { kills } = this.#form;
    let stream = this.#host.start('wal', 'stream');
    for (let kill = 1; kill <= kills; kill += 1) {
      if (random() < BASES) await this.#killBase(kill);
      else {
        if (random() < AT_WORK) await stream.untilPrinted(STREAMS);
        await this.#live();
        const streamed = STREAMS.test(stream.printed());
        stream.kill('SIGKILL');
        const { status, printed } = await stream.ended;
        if (status !== null) this.#failures.push(`the stream ended by itself, with ${status}:\n${printed}`);
        this.#killed[streamed ? 'streaming' : 'starting'] += 1;
        say(`kill ${kill} of ${kills}: the stream, ${streamed ? 'at work' : 'at its start'}`);
        stream = this.#host.start('wal', 'stream');
      }
    }
    stream.kill('SIGKILL');
    await stream.ended;
  }

  async #killBase(kill: number): Promise<void> {
    const { say } = this.#context;
    const base = this.#host.start('backup', '--kind', 'base');
    await this.#live();
    base.kill('SIGKILL');
    const { status, printed } = await base.ended;
    if (status !== null && status !== 0)
      this.#failures.push(`a base backup ended with ${status}:\n${printed}`);
    this.#killed[status === null ? 'bases' : 'late'] += 1;
    say(`kill ${kill} of ${this.#form.kills}: a base backup, ${status === null ? 'at work' : 'just done'}`);
  }

  async #live(): Promise<void> {
    const { random, signal } = this.#context;
    await sleep(between(random, ...this.#form.lives) * 1000, undefined, { signal });
  }

  /** @returns its label */
  async #backUp(): Promise<string> {
    const { status, stdout, printed } = await this.#host.start('backup', '--kind', 'base', '--json').ended;
    if (status === 0) return (JSON.parse(stdout) as { label: string }).label;
    throw new Error(`The base backup ended with ${status}:\n${printed}`);
  }
}
