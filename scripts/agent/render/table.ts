/** Columns as wide as their widest cell, two spaces apart; the last one is not padded. */
export function renderTable(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => displayWidth(row[column] ?? ''))));
  return all.map((row) =>
    row
      .map((cell, column) => pad(cell, widths[column]!))
      .join('  ')
      .trimEnd(),
  );
}

function pad(cell: string, width: number): string {
  return cell + ' '.repeat(width - displayWidth(cell));
}

const graphemes = new Intl.Segmenter();

/** Terminal columns: an emoji takes two. */
function displayWidth(text: string): number {
  let width = 0;
  for (const { segment } of graphemes.segment(text))
    width += /\p{Emoji_Presentation}|\uFE0F/u.test(segment) ? 2 : 1;
  return width;
}
