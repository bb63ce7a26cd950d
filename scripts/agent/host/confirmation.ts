import { createInterface } from 'node:readline/promises';
import { LifeboatError } from '../../../lib/domain/errors.ts';

/**
 * On a terminal alone: what a pipe or a scheduler sends is no consent.
 * @throws LifeboatError USAGE where nobody sits
 */
export async function askForConsent(question: string, interrupted: AbortSignal): Promise<boolean> {
  if (!process.stdin.isTTY) {
    throw new LifeboatError('USAGE', 'This replaces the live cluster, and nobody can be asked here', {
      hint: 'Look at the plan with --dry-run; then confirm it with --yes. Nothing was touched.',
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
