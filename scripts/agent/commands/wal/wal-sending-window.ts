interface WindowLimits {
  readonly bytes: number;
  /** So many may be inside from the first that has not arrived on, there already or not. */
  readonly ahead: number;
}

interface Waiting {
  readonly turn: number;
  readonly size: number;
  readonly enter: () => void;
}

/** So many are let in however large they are: with one at a time, each would wait for the answer to the one before. */
const FEWEST = 2;

/**
 * Lets through what may be on its way at once, the first announced first. What arrived while an earlier thing did not is never
 * further ahead of it than the limit says: whoever looks for gaps later need not look back any further.
 */
export class SendingWindow {
  readonly #limits: WindowLimits;
  /** Announced, and not arrived; in order. */
  readonly #missing = new Set<number>();
  /** In order. */
  #waiting: Waiting[] = [];
  #announced = 0;
  #inside = { count: 0, bytes: 0 };
  #closed = false;

  constructor(limits: WindowLimits) {
    this.#limits = limits;
  }

  /** @returns its turn */
  announce(): number {
    const turn = this.#announced;
    this.#announced += 1;
    this.#missing.add(turn);
    return turn;
  }

  async enter(turn: number, size: number): Promise<void> {
    if (this.#closed) return;
    await new Promise<void>((enter) => {
      this.#waiting.push({ turn, size, enter });
      this.#waiting.sort((one, other) => one.turn - other.turn);
      this.#letIn();
    });
  }

  /** It arrived. */
  leave(turn: number, size: number): void {
    this.#missing.delete(turn);
    this.#inside.count -= 1;
    this.#inside.bytes -= size;
    this.#letIn();
  }

  /** Something will never arrive: nobody waits any more, and whoever comes out must send nothing. */
  close(): void {
    this.#closed = true;
    for (const { enter } of this.#waiting.splice(0)) enter();
  }

  #letIn(): void {
    for (let next = this.#waiting[0]; next && this.#mayEnter(next); next = this.#waiting[0]) {
      this.#waiting.shift();
      this.#inside.count += 1;
      this.#inside.bytes += next.size;
      next.enter();
    }
  }

  #mayEnter({ turn, size }: Waiting): boolean {
    const [first = turn] = this.#missing;
    if (turn - first >= this.#limits.ahead) return false;
    return this.#inside.count < FEWEST || this.#inside.bytes + size <= this.#limits.bytes;
  }
}
