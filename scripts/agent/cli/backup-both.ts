import { asLifeboatError } from '../../../lib/domain/errors.ts';
import { failureOfBoth, type BackupPart } from '../../../lib/domain/run/both-failure.ts';
import type { Answer } from '../answer.ts';
import type { Context } from '../context.ts';
import { renderErrorAsJson } from '../render/error.ts';

type Options = Readonly<Record<string, unknown>>;

/** The answer of one half, with what it made. */
export type PartAnswer = Answer & BackupPart;
type Run = (context: Context, options: Options) => Promise<PartAnswer>;

/** The dump, then the base backup. */
export async function runBoth(
  context: Context,
  options: Options,
  runs: { readonly dump: Run; readonly base: Run },
): Promise<Answer> {
  const { dump, base, failure } = await attemptBoth(context, {
    dump: () => runs.dump(context, options),
    base: () => runs.base(context, options),
  });
  return {
    lines: [...linesOf(dump), ...linesOf(base)],
    json: {
      operation: 'backup',
      kind: 'both',
      ...(failure ? (renderErrorAsJson(failure) as object) : { succeeded: true }),
      dump: jsonOf(dump),
      base: base ? jsonOf(base) : null,
    },
    failure,
  };
}

function linesOf(part: PartAnswer | BackupPart | undefined): readonly string[] {
  return part && 'lines' in part ? part.lines : [];
}

function jsonOf(part: PartAnswer | BackupPart): unknown {
  return 'json' in part ? part.json : renderErrorAsJson(part.failure!);
}

/** What came of the two; `base` is left out where somebody ended the run before it. */
interface Attempts<Dump, Base> {
  readonly dump: Dump | BackupPart;
  readonly base: Base | BackupPart | undefined;
  readonly failure: ReturnType<typeof failureOfBoth>;
}

/** One after the other: a failure of the one does not keep the other from being tried. */
export async function attemptBoth<Dump extends BackupPart, Base extends BackupPart>(
  { log, interrupted }: Pick<Context, 'log' | 'interrupted'>,
  parts: { readonly dump: () => Promise<Dump>; readonly base: () => Promise<Base> },
): Promise<Attempts<Dump, Base>> {
  const dump = await attempt(parts.dump);
  if (dump.failure && !interrupted.aborted) {
    log.warn(`The dump failed: ${dump.failure.message}\n→ ${dump.failure.hint}`);
  }
  const base = interrupted.aborted ? undefined : await attempt(parts.base);
  return { dump, base, failure: failureOfBoth(dump, base) };
}

async function attempt<Part extends BackupPart>(run: () => Promise<Part>): Promise<Part | BackupPart> {
  try {
    return await run();
  } catch (error) {
    return { failure: asLifeboatError(error) };
  }
}
