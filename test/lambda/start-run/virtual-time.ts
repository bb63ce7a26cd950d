import type { Clock } from '../../../lambda/clock.ts';

/** Time that passes only when everybody waits for it. */
export class VirtualTime implements Clock {
  #time: number;
  readonly #sleepers: { at: number; wake: () => void }[] = [];
  readonly #chance: () => number;

  /** @param seed of chance, so that a run can be repeated */
  constructor(start: Date, seed: number) {
    this.#time = start.getTime();
    this.#chance = mulberry32(seed);
  }

  readonly now = (): Date => new Date(this.#time);
  readonly random = (): number => this.#chance();
  readonly sleep = (milliseconds: number): Promise<void> =>
    new Promise((wake) => {
      this.#sleepers.push({ at: this.#time + milliseconds, wake });
    });

  /** Lets time pass until `work` is done. */
  async run<Answer>(work: Promise<Answer>): Promise<Answer> {
    const end = { reached: false };
    const finished = (): void => {
      end.reached = true;
    };
    void work.then(finished, finished);
    while (!end.reached) {
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
      if (end.reached) break;
      this.#sleepers.sort((one, other) => one.at - other.at);
      const next = this.#sleepers.shift();
      if (!next) continue;
      this.#time = Math.max(this.#time, next.at);
      next.wake();
    }
    return await work;
  }
}

/** A small generator of numbers from 0 to 1 that a seed repeats. */
export function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
