import type { LifeboatError } from '../../lib/domain/errors.ts';

/** How a command answers: what it prints, and whether that is a failure all the same. */
export interface Answer {
  readonly lines: readonly string[];
  readonly json: unknown;
  /** Printed after the answer; its exit status is the process'. */
  readonly failure?: LifeboatError | undefined;
  /** Of a failure that has been told of already. */
  readonly exitStatus?: number;
}
