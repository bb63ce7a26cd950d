/**
 * The memory of one upload: buffers that go round from filling to sending and back, so that gigabytes pass through a few
 * of them and the garbage collector never sees one.
 */
export class PartBuffers {
  #free: Buffer[] = [];

  /** A buffer of exactly `size` bytes, its content undefined. */
  take(size: number): Buffer {
    // Parts only grow: what is too small now will never fit again.
    this.#free = this.#free.filter((buffer) => buffer.length === size);
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(size);
  }

  giveBack(buffer: Buffer): void {
    this.#free.push(buffer);
  }

  drop(): void {
    this.#free = [];
  }
}
