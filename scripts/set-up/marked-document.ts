import { LifeboatError } from '../../lib/domain/errors.ts';

/**
 * Puts `lines` between the two markers of `mark`, such as `bench:times`; everything around them is written by people.
 * @throws LifeboatError BUG when the document lacks them
 */
export function replaceMarked(document: string, mark: string, lines: readonly string[]): string {
  const begin = `<!-- ${mark} -->`;
  const end = `<!-- /${mark} -->`;
  const from = document.indexOf(begin);
  const to = document.indexOf(end, from);
  if (from < 0 || to < 0)
    throw new LifeboatError('BUG', `The document has no ${begin} … ${end} to write between`, {
      hint: 'Put both lines back where the figures belong.',
    });
  return `${document.slice(0, from + begin.length)}\n\n${lines.join('\n')}\n\n${document.slice(to)}`;
}
