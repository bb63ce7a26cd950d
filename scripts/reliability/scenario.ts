/** One thing that is to be proven, on servers of its own that are gone afterwards. */
export interface Scenario {
  /** As it is typed, and as its block in docs/reliability.md is marked. */
  readonly name: string;
  readonly about: string;
  /** @throws LifeboatError what kept it from being tried; what it found goes into the result */
  run(context: ScenarioContext): Promise<ScenarioResult>;
}

export interface ScenarioContext {
  /** The form that runs with the tests: seconds, not minutes. */
  readonly short: boolean;
  /** Between 0 and 1; the same seed gives the same numbers. What the machine does between two of them it does not decide. */
  readonly random: () => number;
  /** Ends it; servers are ended on the way out. */
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
}

export interface ScenarioResult {
  /** Markdown: what was done and measured. */
  readonly lines: readonly string[];
  /** What is not as promised; none: proven. */
  readonly failures: readonly string[];
}
