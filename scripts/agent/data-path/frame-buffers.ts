export const RAW_FRAME_SIZE = 8 * 1024 * 1024;

/** Enough to keep every core busy while the main thread fills the next; each costs a frame's memory twice. */
const IN_FLIGHT = 4;

/**
 * The memory of frames on their way: filled, compressed, and back. However many files share it, no more frames are under
 * way than fit; each file holds at most one that it has not filled yet.
 */
export class FrameBuffers {
  readonly #idle: Buffer[] = Array.from({ length: IN_FLIGHT + 1 }, () =>
    Buffer.allocUnsafeSlow(RAW_FRAME_SIZE),
  );
  #waiting: (() => void)[] = [];

  /** `undefined` while all are in use. */
  take(): Buffer | undefined {
    return this.#idle.pop();
  }

  giveBack(buffer: Buffer): void {
    this.#idle.push(buffer);
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }

  async untilIdle(): Promise<void> {
    if (this.#idle.length > 0) return;
    await new Promise<void>((resolve) => {
      this.#waiting.push(resolve);
    });
  }
}
