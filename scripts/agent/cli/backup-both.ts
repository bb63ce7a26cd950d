import { asLifeboatError, EXIT_STATUS, type LifeboatError } from '../../../lib/domain/errors.ts';
import type { Answer } from '../answer.ts';
import type { Context } from '../context.ts';
import { renderErrorAsJson } from '../render/error.ts';

type Options = Readonly<Record<string, unknown>>;
type Run = (context: Context, options: Options) => Promise<Answer>;

/** Exit statuses, the worst first. */
const SEVERITY: readonly number[] = [
  EXIT_STATUS.bug,
  EXIT_STATUS.terminated,
  EXIT_STATUS.interrupted,
  EXIT_STATUS.integrity,
  EXIT_STATUS.database,
  EXIT_STATUS.storage,
  EXIT_STATUS.disk,
  EXIT_STATUS.refused,
  EXIT_STATUS.usage,
  EXIT_STATUS.busy,
];

/** The dump, then the base backup: a failure of the one does not keep the other from being tried. */
export async function runBoth(
  context: Context,
  options: Options,
  runs: { readonly dump: Run; readonly base: Run },
): Promise<Answer> {
  const dump = await attempt(runs.dump, context, options);
  if (dump.failure && !context.interrupted.aborted) {
    context.log.warn(`The dump failed: ${dump.failure.message}\n→ ${dump.failure.hint}`);
  }
  const base = context.interrupted.aborted ? undefined : await attempt(runs.base, context, options);
  const failure = worstOf(dump.failure, base?.failure);
  return {
    lines: [...dump.lines, ...(base?.lines ?? [])],
    json: {
      operation: 'backup',
      kind: 'both',
      ...(failure ? (renderErrorAsJson(failure) as object) : { succeeded: true }),
      dump: dump.json,
      base: base?.json ?? null,
    },
    failure,
  };
}

async function attempt(run: Run, context: Context, options: Options): Promise<Answer> {
  try {
    return await run(context, options);
  } catch (error) {
    const failure = asLifeboatError(error);
    return { lines: [], json: renderErrorAsJson(failure), failure };
  }
}

function worstOf(
  one: LifeboatError | undefined,
  other: LifeboatError | undefined,
): LifeboatError | undefined {
  if (!one || !other) return one ?? other;
  return severityOf(other) < severityOf(one) ? other : one;
}

/** The lower the worse. */
function severityOf({ exitStatus }: LifeboatError): number {
  const place = SEVERITY.indexOf(exitStatus);
  return place === -1 ? SEVERITY.length : place;
}
