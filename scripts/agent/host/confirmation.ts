import { createInterface } from 'node:readline/promises';
import { LifeboatError } from '../../../lib/domain/errors.ts';

/**
 * On a terminal alone: what a pipe or a scheduler sends is no consent.
 * @throws LifeboatError USAGE where nobody sits
 */
export async function askForConsent(question: string, interrupted: AbortSignal): Promise<boolean> {
  if (!process.stdin.isTTY) {
    throw new LifeboatError('USAGE', `Nobody can be asked here: ${question}`, {
      hint: 'Confirm it with --yes; the plan of a recovery is seen with --dry-run. Nothing was touched.',
    });
  }
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await terminal.question(`${question} [yes/no] `, { signal: interrupted });
    return answer.trim().toLowerCase() === 'yes';
  } catch (error) {
    interrupted.throwIfAborted();
    throw error;
  } finally {
    terminal.close();
  }
}
