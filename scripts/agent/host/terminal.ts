import { formatBytes, formatDuration, formatTime } from '../../../lib/domain/quantities.ts';
import type { Clock, Log, Progress } from '../ports/host.ts';

interface Output {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

export interface Terminal {
  readonly log: Log;
  readonly progress: Progress;
}

const REDRAW_MS = 100;
const BAR_WIDTH = 16;
/** Before that, a rate says more about the start than about the rest. */
const ESTIMATE_AFTER_MS = 2000;
const CLEAR_LINE = '\r\u001B[2K';

/** Log lines, and below them on a terminal the progress bar, drawn anew after each line. */
export function openTerminal(output: Output, clock: Clock): Terminal {
  const interactive = output.isTTY === true;
  let bar: Bar | undefined;
  const line = (text: string): void => {
    if (bar) output.write(CLEAR_LINE);
    const stamp = `[${formatTime(clock.now())}] `;
    output.write(
      `${visible(text)
        .split('\n')
        .map((each) => stamp + each)
        .join('\n')}\n`,
    );
    if (bar) output.write(bar.draw(output.columns ?? 80));
  };
  return {
    log: { info: line, warn: (text) => line(`⚠️  ${text}`) },
    progress: {
      start: (label, total) => {
        if (interactive) bar = new Bar(label, total, clock);
      },
      update: (done, detail) => {
        if (bar?.advance(done, detail)) output.write(CLEAR_LINE + bar.draw(output.columns ?? 80));
      },
      stop: () => {
        if (bar) output.write(CLEAR_LINE);
        bar = undefined;
      },
    },
  };
}

class Bar {
  readonly #label: string;
  readonly #total: number;
  readonly #clock: Clock;
  readonly #startedAt: number;
  #drawnAt = 0;
  #done = 0;
  #detail = '';

  constructor(label: string, total: number, clock: Clock) {
    this.#label = label;
    this.#total = total;
    this.#clock = clock;
    this.#startedAt = clock.monotonic();
  }

  /** True when it is time to draw again. */
  advance(done: number, detail = ''): boolean {
    this.#done = done;
    // A table's name may hold anything, a terminal's commands included.
    this.#detail = visible(detail).replaceAll('\n', ' ');
    if (this.#clock.monotonic() - this.#drawnAt < REDRAW_MS) return false;
    this.#drawnAt = this.#clock.monotonic();
    return true;
  }

  draw(columns: number): string {
    const elapsed = Math.max(1, this.#clock.monotonic() - this.#startedAt);
    const rate = (this.#done / elapsed) * 1000;
    // The total is an estimate: a bar that stands at the end while bytes still flow says so better than 130 %.
    const share = this.#total > 0 ? Math.min(0.99, this.#done / this.#total) : undefined;
    const known = share !== undefined && rate > 0 && elapsed > ESTIMATE_AFTER_MS;
    const left = known ? (this.#total - this.#done) / rate : undefined;
    const parts = [
      this.#label,
      share === undefined ? '' : `${drawBar(share)} ${Math.floor(share * 100)}%`,
      formatBytes(this.#done),
      `${formatBytes(rate)}/s`,
      left === undefined ? '' : `${formatDuration(Math.max(0, left) * 1000)} left`,
      this.#detail,
    ];
    return parts
      .filter(Boolean)
      .join('  ')
      .slice(0, columns - 1);
  }
}

/** Control characters other than line ends are shown, not obeyed: they may come from the database or from a file's name. */
function visible(text: string): string {
  return text.replace(/(?!\n)\p{Cc}/gu, '\uFFFD');
}

function drawBar(share: number): string {
  const full = Math.round(share * BAR_WIDTH);
  return '█'.repeat(full) + '░'.repeat(BAR_WIDTH - full);
}
