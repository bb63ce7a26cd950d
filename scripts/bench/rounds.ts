import type { Measured } from './table.ts';

export interface Contender {
  readonly id: string;
  /** Markdown, for the table. */
  readonly label: string;
  /** Everything that is not to be measured it does before or after. */
  run(): Promise<Measured>;
}

interface Result {
  readonly label: string;
  /** One a round. */
  readonly runs: readonly Measured[];
}

export type Results = ReadonlyMap<string, Result>;

/**
 * A B C, B C A, C A B …: one round after the other, each with every contender once and each begun by another, so that
 * what the machine does meanwhile, and what each leaves to the next, falls on all of them.
 * @param before makes ready for a round, unmeasured
 */
export async function runRounds(
  contenders: readonly Contender[],
  rounds: number,
  onRun: (round: number, contender: Contender, measured: Measured) => void,
  before: (round: number) => Promise<void> = () => Promise.resolve(),
): Promise<Results> {
  const results = new Map(contenders.map(({ id, label }) => [id, { label, runs: [] as Measured[] }]));
  for (let round = 1; round <= rounds; round += 1) {
    await before(round);
    const first = (round - 1) % contenders.length;
    for (const contender of [...contenders.slice(first), ...contenders.slice(0, first)]) {
      const measured = await contender.run();
      results.get(contender.id)?.runs.push(measured);
      onRun(round, contender, measured);
    }
  }
  return results;
}
