import { CommanderError } from 'commander';
import { asLifeboatError, EXIT_STATUS, LifeboatError } from '../../../lib/domain/errors.ts';
import type { Answer } from '../answer.ts';
import { renderError, renderErrorAsJson } from '../render/error.ts';

/** `operation`: the command, as far as there is one of that name. */
type AsJson = { readonly operation: string | undefined } | false;

/** @returns the exit status */
export function printAnswer({ lines, json, failure, exitStatus }: Answer, asJson: boolean): number {
  if (asJson) process.stdout.write(`${JSON.stringify(json, null, 2)}\n`);
  else if (lines.length > 0) process.stdout.write(`${lines.join('\n')}\n`);
  if (!failure) return exitStatus ?? EXIT_STATUS.success;
  process.stderr.write(`${renderError(failure, new Date())}\n`);
  return failure.exitStatus;
}

/** Of a command that came to no answer, or of commander, which printed its own message. @returns the exit status */
export function printThrown(thrown: unknown, asJson: AsJson): number {
  return thrown instanceof CommanderError
    ? usageStatus(thrown, asJson)
    : printError(asLifeboatError(thrown), asJson);
}

/** @returns the exit status */
export function printError(error: LifeboatError, asJson: AsJson): number {
  if (asJson) printErrorAsJson(error, asJson.operation);
  process.stderr.write(`${renderError(error, new Date())}\n`);
  return error.exitStatus;
}

/** Help and version end well. */
function usageStatus(error: CommanderError, asJson: AsJson): number {
  if (error.exitCode === 0) return EXIT_STATUS.success;
  const usage = new LifeboatError('USAGE', error.message);
  if (asJson) printErrorAsJson(usage, asJson.operation);
  return usage.exitStatus;
}

function printErrorAsJson(error: LifeboatError, operation: string | undefined): void {
  const answer = { ...(operation && { operation }), ...(renderErrorAsJson(error) as object) };
  process.stdout.write(`${JSON.stringify(answer, null, 2)}\n`);
}

/**
 * Whoever reads us may go away, as in `lifeboat backup | head -1`, and a log's disk may be full: the work goes on, and only
 * a reader that had enough is no failure.
 */
export function watchOutput(): { readonly lost: Error | undefined } {
  const output: { lost: Error | undefined } = { lost: undefined };
  const note = (error: NodeJS.ErrnoException): void => {
    if (error.code !== 'EPIPE') output.lost ??= error;
  };
  process.stdout.on('error', note);
  process.stderr.on('error', note);
  return output;
}

/** What to say when `watchOutput` saw that lines were lost. */
export function lostOutput(error: Error): LifeboatError {
  return new LifeboatError('DISK_FAILED', `The output could not be written: ${error.message}`, {
    hint: 'What was to be done is done: lifeboat list. Free space where the output goes.',
  });
}
