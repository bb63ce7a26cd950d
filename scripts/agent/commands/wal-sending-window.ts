/** Lets through what fits into so many bytes at once, in the order in which it comes; one thing always, however large. */
export class SendingWindow {
  readonly #bytes: number;
  readonly #waiting: { readonly size: number; readonly enter: () => void }[] = [];
  #inside = 0;

  constructor(bytes: number) {
    this.#bytes = bytes;
  }

  async enter(size: number): Promise<void> {
    await new Promise<void>((enter) => {
      this.#waiting.push({ size, enter });
      this.#letIn();
    });
  }

  leave(size: number): void {
    this.#inside -= size;
    this.#letIn();
  }

  #letIn(): void {
    for (let next = this.#waiting[0]; next; next = this.#waiting[0]) {
      if (this.#inside > 0 && this.#inside + next.size > this.#bytes) return;
      this.#waiting.shift();
      this.#inside += next.size;
      next.enter();
    }
  }
}
