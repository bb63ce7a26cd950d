import type { LifeboatError } from '../../../lib/domain/errors.ts';
import { formatTime } from '../../../lib/domain/quantities.ts';

/** What failed, then what to run next; a stack only for a defect of ours. */
export function renderError(error: LifeboatError, now: Date): string {
  const stamp = `[${formatTime(now)}] `;
  const lines = [`❌ ${error.message}`, `→ ${error.hint}`, ...(error.code === 'BUG' ? [stackOf(error)] : [])];
  return lines
    .join('\n')
    .split('\n')
    .map((line) => stamp + line)
    .join('\n');
}

export function renderErrorAsJson(error: LifeboatError): unknown {
  return {
    succeeded: false,
    error: {
      code: error.code,
      exitStatus: error.exitStatus,
      message: error.message,
      hint: error.hint,
      ...(error.problems.length > 0
        ? { problems: error.problems.map(({ code, message, hint }) => ({ code, message, hint })) }
        : {}),
    },
  };
}

function stackOf(error: LifeboatError): string {
  const { cause } = error;
  return (cause instanceof Error ? cause.stack : error.stack) ?? '';
}
