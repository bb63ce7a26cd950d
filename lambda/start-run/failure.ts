import { LifeboatError, type ErrorCode } from '../../lib/domain/errors.ts';

/** A run, or a series, that could not be started. */
export interface Failure {
  readonly app: string;
  /** `null`: its hosts could not be found out. */
  readonly instanceId: string | null;
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint: string;
  /**
   * - `recorded`: in the state bucket, from where the watch tells of it
   * - `lasting`: a retry meets the same, and nobody else will ever tell of it
   * - `passing`: worth another try
   */
  readonly kind: 'recorded' | 'lasting' | 'passing';
}

export function failureOf(
  where: Pick<Failure, 'app' | 'instanceId'>,
  { code, message, hint }: LifeboatError,
  kind: Failure['kind'],
): Failure {
  return { ...where, code, message, hint, kind };
}

const FAILURES_NAMED = 20;
const HINTS_GIVEN = 3;

/** All of them in one error, so that the schedule's retry goes on where this try stopped. */
export function failedToStart(started: number, failures: readonly Failure[]): LifeboatError {
  const lines = failures
    .slice(0, FAILURES_NAMED)
    .map(
      ({ app, instanceId, message }) =>
        `- ${app}${instanceId === null ? '' : ` on ${instanceId}`}: ${message}`,
    );
  const more = failures.length - lines.length;
  const rest = more > 0 ? [`- and ${more} more, see the function’s log`] : [];
  const summary = `${failures.length} of ${failures.length + started} runs could not be started`;
  const codes = [...new Set(failures.map(({ code }) => code))];
  const hints = [...new Set(failures.map(({ hint }) => hint))].slice(0, HINTS_GIVEN);
  return new LifeboatError(
    codes.length === 1 ? codes[0]! : 'SSM_FAILED',
    [`${summary}:`, ...lines, ...rest].join('\n'),
    { hint: hints.join('\n') },
  );
}
