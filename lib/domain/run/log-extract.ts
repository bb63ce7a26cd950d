/**
 * What a run's standard output shows of its log: the first and the last lines. SSM keeps the first 24,000 characters of
 * an output, cut wherever they end; the verdict must fit in front and behind.
 */

const HEAD_BYTES = 7 * 1024;
const TAIL_BYTES = 12 * 1024;
const LONGEST_LINE = 1000;

/** A log's beginning and end, for an output that holds only so much. */
export class LogExtract {
  readonly #head: string[] = [];
  #headBytes = 0;
  readonly #tail: string[] = [];
  #tailBytes = 0;
  #left = 0;
  #unfinished = '';

  /** Text as it comes: any piece of any line. */
  add(text: string): void {
    const lines = (this.#unfinished + text).split('\n');
    // A line without an end does not grow for ever; its beginning says what it is.
    this.#unfinished = lines.pop()!.slice(0, LONGEST_LINE + 1);
    for (const line of lines) this.#addLine(line);
  }

  /** At most 19 KB in all; nothing is added afterwards. */
  end(): string[] {
    if (this.#unfinished !== '') this.#addLine(this.#unfinished);
    const left = this.#left > 0 ? [`… ${this.#left} lines left out …`] : [];
    return [...this.#head, ...left, ...this.#tail];
  }

  #addLine(whole: string): void {
    const line = shorten(whole);
    const bytes = new TextEncoder().encode(line).length + 1;
    // Once a line went to the tail, none goes to the head any more: the order is the log's.
    if (this.#tail.length === 0 && this.#headBytes + bytes <= HEAD_BYTES) {
      this.#head.push(line);
      this.#headBytes += bytes;
      return;
    }
    this.#tail.push(line);
    this.#tailBytes += bytes;
    while (this.#tailBytes > TAIL_BYTES) {
      this.#tailBytes -= new TextEncoder().encode(this.#tail.shift()!).length + 1;
      this.#left += 1;
    }
  }
}

function shorten(line: string): string {
  return line.length <= LONGEST_LINE ? line : `${line.slice(0, LONGEST_LINE)}…`;
}
