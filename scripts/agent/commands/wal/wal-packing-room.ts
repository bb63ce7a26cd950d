/** What a segment takes up from its packing until S3 has it. */
export interface PackingPlace {
  /** Known once it is packed. */
  readonly fit: (size: number) => void;
  readonly leave: () => void;
}

/**
 * Bounds the memory of segments that are packed, or being packed, and that S3 does not have yet. WAL that cannot be compressed takes
 * as much packed as it took before. Whoever asks first is let in first, and one always is: the oldest never waits for a younger one.
 */
export class PackingRoom {
  readonly #bytes: number;
  /** Of the next: as large as the last one turned out. */
  #expected: number;
  #taken = 0;
  #waiting: ((size: number) => void)[] = [];
  #closed = false;

  /** @param largest that one may turn out */
  constructor(bytes: number, largest: number) {
    this.#bytes = bytes;
    this.#expected = largest;
  }

  async enter(): Promise<PackingPlace> {
    let size = await new Promise<number>((enter) => {
      this.#waiting.push(enter);
      this.#letIn();
    });
    const become = (now: number): void => {
      this.#taken += now - size;
      size = now;
      this.#letIn();
    };
    return {
      fit: (packed) => {
        this.#expected = packed;
        become(packed);
      },
      leave: () => become(0),
    };
  }

  /** Nobody waits any more. */
  close(): void {
    this.#closed = true;
    this.#letIn();
  }

  #letIn(): void {
    while (this.#waiting.length > 0 && this.#isRoom()) {
      this.#taken += this.#expected;
      this.#waiting.shift()!(this.#expected);
    }
  }

  #isRoom(): boolean {
    return this.#closed || this.#taken === 0 || this.#taken + this.#expected <= this.#bytes;
  }
}
