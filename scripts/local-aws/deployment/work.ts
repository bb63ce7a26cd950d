/** What goes on after a call was answered: deliveries, commands, invocations. */
export class Work {
  readonly #running = new Set<Promise<void>>();
  /** What went wrong in the local AWS itself. */
  readonly defects: string[] = [];

  readonly follow = (work: Promise<void>): void => {
    const followed = work
      .catch((error: unknown) => {
        this.defects.push(error instanceof Error ? (error.stack ?? error.message) : String(error));
      })
      .finally(() => this.#running.delete(followed));
    this.#running.add(followed);
  };

  /** Until nothing is going on any more, whatever follows from what included. */
  async untilIdle(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }
}
