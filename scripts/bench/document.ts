import { LifeboatError } from '../../lib/domain/errors.ts';

/** The parts of docs/performance.md that a run writes; everything around them is written by people. */
export type Block = 'times' | 'memory' | 'pitr';

/** Puts `lines` between the block's two markers. @throws LifeboatError BUG when the document lacks them */
export function replaceBlock(document: string, block: Block, lines: readonly string[]): string {
  const begin = `<!-- bench:${block} -->`;
  const end = `<!-- /bench:${block} -->`;
  const from = document.indexOf(begin);
  const to = document.indexOf(end, from);
  if (from < 0 || to < 0)
    throw new LifeboatError('BUG', `The document has no ${begin} … ${end} to write between`, {
      hint: 'Put both lines back where the table belongs.',
    });
  return `${document.slice(0, from + begin.length)}\n\n${lines.join('\n')}\n\n${document.slice(to)}`;
}
