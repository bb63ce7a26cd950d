/** What the demo prints: numbered steps for a person, without colour where the output is no terminal. */

const BOLD = '1';
const DIM = '2';
const GREEN = '32';
const RED = '31';

let steps = 0;

function paint(code: string, text: string): string {
  const coloured = process.stdout.isTTY && !process.env['NO_COLOR'];
  return coloured ? `\u001B[${code}m${text}\u001B[0m` : text;
}

export function printStep(title: string): void {
  steps += 1;
  console.log(`\n${paint(BOLD, `${steps}. ${title}`)}`);
}

export function printLine(text: string): void {
  console.log(`   ${text}`.trimEnd());
}

const WHO_WIDTH = 12;

/** Something that happens by itself, at the time that it does. */
export function printTimeline(who: string, what: string): void {
  const [first = '', ...rest] = what.split('\n');
  const time = new Date().toISOString().slice(11, 23);
  console.log(`   ${paint(DIM, time)}  ${who.padEnd(WHO_WIDTH)} ${first}${rest.length > 0 ? ' …' : ''}`);
}

/** What a person would type at this point. */
export function printCommand(command: string): void {
  console.log(`   ${paint(BOLD, `$ ${command}`)}`);
}

/** A line of another program's output. */
export function printOutput(line: string): void {
  console.log(`   ${paint(DIM, '│')} ${line}`);
}

export function printVerdict(good: boolean, text: string): void {
  console.log(`   ${good ? paint(GREEN, '✔') : paint(RED, '✘')} ${text}`);
}

/** Rows of cells in columns: the first to the left, the others to the right. */
export function printTable(rows: readonly (readonly string[])[]): void {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? '').length)),
  );
  for (const row of rows) {
    const cells = row.map((cell, column) => {
      const gap = ' '.repeat((widths[column] ?? 0) - cell.length);
      return column === 0 ? cell + gap : gap + cell;
    });
    printLine(cells.join('   ').trimEnd());
  }
}

export function formatCount(value: number): string {
  return value.toLocaleString('en');
}

/** `4.2 s`: finer than the agent's own, as the demo's runs take seconds. */
export function formatSeconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(1)} s`;
}

/** Decimal megabytes, as disks and networks are sold by. */
export function formatMegabytes(bytes: number): string {
  return `${formatCount(Math.round(bytes / 1e6))} MB`;
}
