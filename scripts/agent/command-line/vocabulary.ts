import type { Command } from 'commander';
import type { Answer } from '../answer.ts';

/** Does what a command was asked for; `options` as commander names them, not validated yet. */
type Run = (options: Readonly<Record<string, unknown>>, args: readonly string[]) => Promise<Answer>;

/** Makes an action of it that prints the answer and keeps its exit status. */
export type Answering = (run: Run) => (...given: unknown[]) => Promise<void>;

/** Adds a command, or several that belong together. */
export type AddCommands = (program: Command, answer: Answering) => void;

export const JSON_OPTION = ['--json', 'print one JSON object instead of text'] as const;
export const DRY_RUN = ['--dry-run', 'print the plan, change nothing'] as const;

/** For the end of a command's help. */
export function examples(...lines: string[]): string {
  return `\nExamples:\n${lines.map((line) => `  $ ${line}`).join('\n')}`;
}
