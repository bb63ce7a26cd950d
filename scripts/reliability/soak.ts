import { setTimeout as sleep } from 'node:timers/promises';
import { playOnHost, type HostGround } from './host.ts';
import { Load, prepareLoad } from './load.ts';
import { proveNothingMissing, WAL_KEPT } from './proof.ts';
import { between } from './random.ts';
import type { Scenario, ScenarioResult } from './scenario.ts';
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
    const form = context.short ? SHORT : FULL;
    const options = {
      env: { WAL_JOURNAL_SECONDS: '1' },
      settings: WAL_KEPT,
      initdbArgs: ['--wal-segsize=1'],
    };
    return await playOnHost({ context, form }, options, (ground) => new Soak(ground).run());
  },
};

class Soak {
  readonly #ground: HostGround<Form>;
  readonly #failures: string[] = [];
  readonly #killed: Killed = { starting: 0, streaming: 0, bases: 0, late: 0 };

  constructor(ground: HostGround<Form>) {
    this.#ground = ground;
  }

  async run(): Promise<ScenarioResult> {
    const { scale, rate } = this.#ground.form;
    const { signal, say } = this.#ground.context;
    await prepareLoad(this.#ground.stage, scale);
    const stream = await this.#ground.host.startStream();
    const first = await this.#ground.host.backUp();
    stream.kill('SIGTERM');
    await stream.ended;
    const load = new Load(this.#ground.stage, { scale, clients: CLIENTS, rate, round: 1 });
    const began = performance.now();
    try {
      await this.#killAgainAndAgain();
    } catch (error) {
      await load.kill();
      throw error;
    }
    await this.#ground.host.startStream();
    const last = await this.#ground.host.backUp();
    const told = await load.stop();
    const seconds = Math.round((performance.now() - began) / 1000);
    await untilHeld(this.#ground.stage, signal);
    say('The load is over; comparing');
    const { line, failures } = await proveNothingMissing(this.#ground.stage, [first, last]);
    const { starting, streaming, bases, late } = this.#killed;
    return {
      lines: [
        `${this.#ground.form.kills} kills within ${seconds} s and ${told.length} commits: ${streaming} of the stream at work, ${starting} of the stream at its start, ${bases} of a base backup at work, ${late} of one that was just done.`,
        '',
        `Then: ${line}.`,
      ],
      failures: [...this.#failures, ...failures],
    };
  }

  async #killAgainAndAgain(): Promise<void> {
    const { random, say } = this.#ground.context;
    const { kills } = this.#ground.form;
    let stream = this.#ground.host.start('wal', 'stream');
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
        stream = this.#ground.host.start('wal', 'stream');
      }
    }
    stream.kill('SIGKILL');
    await stream.ended;
  }

  async #killBase(kill: number): Promise<void> {
    const { say } = this.#ground.context;
    const base = this.#ground.host.start('backup', '--kind', 'base');
    await this.#live();
    base.kill('SIGKILL');
    const { status, printed } = await base.ended;
    if (status !== null && status !== 0)
      this.#failures.push(`a base backup ended with ${status}:\n${printed}`);
    this.#killed[status === null ? 'bases' : 'late'] += 1;
    say(
      `kill ${kill} of ${this.#ground.form.kills}: a base backup, ${status === null ? 'at work' : 'just done'}`,
    );
  }

  async #live(): Promise<void> {
    const { random, signal } = this.#ground.context;
    await sleep(between(random, ...this.#ground.form.lives) * 1000, undefined, { signal });
  }
}
