import { LifeboatError } from '../../lib/domain/errors.ts';

/** `npm run demo`, `bench` or `reliability`. */
export interface DeveloperCommand<Options> {
  readonly usage: string;
  /** Reads the arguments; whatever it throws is an option that there is not. @returns `undefined` for what makes no sense */
  parse(): Options | undefined;
  /** @param signal aborted by Ctrl-C, SIGTERM and SIGHUP, with the signal's name. @returns the exit status */
  run(options: Options, signal: AbortSignal): Promise<number>;
}

/** Runs it, or prints how it is used; sets the exit status, which is 2 for wrong arguments. */
export async function runDeveloperCommand<Options>(command: DeveloperCommand<Options>): Promise<void> {
  const options = parseQuietly(command);
  if (options) {
    process.exitCode = await command.run(options, watchSignals());
    return;
  }
  console.log(command.usage);
  process.exitCode = process.argv.includes('--help') || process.argv.includes('-h') ? 0 : 2;
}

function parseQuietly<Options>(command: DeveloperCommand<Options>): Options | undefined {
  try {
    return command.parse();
  } catch {
    return undefined; // an option that there is not
  }
}

function watchSignals(): AbortSignal {
  const interruption = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(signal, () => interruption.abort(signal));
  return interruption.signal;
}

/** The exit status of a command that was interrupted. */
export function interruptedStatus(signal: AbortSignal): number {
  return signal.reason === 'SIGINT' ? 130 : 143;
}

/** Prints what went wrong. @returns the exit status. @throws what is a defect */
export function reportFailure(error: unknown): number {
  if (!(error instanceof LifeboatError)) throw error;
  console.error(`\n${error.message}\n${error.hint}`);
  return 1;
}

/** What was begun ends by itself once its server is gone; it is not waited for. */
export async function orInterrupted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  work.catch(() => undefined);
  return Promise.race([
    work,
    new Promise<never>((_, reject) => {
      signal.addEventListener('abort', () => reject(new Error('interrupted')), { once: true });
    }),
  ]);
}
