import { asLifeboatError, combineProblems, type LifeboatError } from '../../../lib/domain/errors.ts';

/** Several questions, whose failures are told together instead of one a run. */
export class GatheredProblems {
  readonly #problems: LifeboatError[] = [];

  get some(): boolean {
    return this.#problems.length > 0;
  }

  add(...problems: readonly LifeboatError[]): void {
    this.#problems.push(...problems);
  }

  /** @returns `undefined` for work that failed; why is a problem then */
  async attempt<Result>(work: Promise<Result>): Promise<Result | undefined> {
    return await work.catch((error: unknown) => {
      this.add(asLifeboatError(error));
      return undefined;
    });
  }

  /** @throws LifeboatError with all of them, when there is one */
  throwAny(): void {
    const combined = combineProblems(this.#problems);
    if (combined) throw combined;
  }
}
