import { asLifeboatError, LifeboatError, type ErrorCode } from '../lib/domain/errors.ts';
import { METRIC } from '../lib/domain/names.ts';
import type { Log } from './log.ts';

/** What Lambda hands over beside the event, as far as it is used. */
export interface LambdaContext {
  readonly awsRequestId: string;
  getRemainingTimeInMillis(): number;
}

export type Handler<Answer> = (event: unknown, context: LambdaContext) => Promise<Answer>;

/** Errors that answer what was asked; a host that cannot be reached has an alarm and a message of its own. */
const ANSWERS: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'USAGE',
  'RESTORE_REFUSED',
  'BACKUP_NOT_FOUND',
  'CORRUPT',
  'MANIFEST_NEWER',
  'RUN_REPEATED',
  'HOST_UNREACHABLE',
]);

/**
 * Runs a handler so that whoever reads the error, in the answer to a manual invoke or in the log, also reads what to do:
 * Lambda passes on an error's message and nothing else of it.
 *
 * @param countAs of a function that people invoke: its name, under which it counts what went wrong by no fault of theirs.
 * Lambda's own count would call somebody out of bed for another's typing error.
 */
export function tellingErrors<Answer>(log: Log, handle: Handler<Answer>, countAs?: string): Handler<Answer> {
  return async (event, context) => {
    try {
      return await handle(event, context);
    } catch (thrown) {
      const error = asLifeboatError(thrown);
      const stack = error.code === 'BUG' && thrown instanceof Error ? { stack: thrown.stack } : {};
      const { code, message, hint } = error;
      log.error(message, { code, hint, requestId: context.awsRequestId, ...stack });
      if (countAs !== undefined && !ANSWERS.has(code))
        log.functionMetrics(countAs, { [METRIC.functionFailed]: 1 });
      throw new LifeboatError(code, `${message}\n${hint}`, { hint });
    }
  };
}

/** Opens the edges with the first event, so that a missing variable is that event's error and can be read. */
export function lazily<Answer>(open: () => Handler<Answer>): Handler<Answer> {
  let handle: Handler<Answer> | undefined;
  return async (event, context) => await (handle ??= open())(event, context);
}
