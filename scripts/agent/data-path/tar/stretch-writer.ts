import type { UnpackedFile } from './unpacked-file.ts';

/** What `O_DIRECT` wants places, lengths and memory to be multiples of; a file system with larger blocks may refuse them. */
const BLOCK = 4096;
/** Written at once. */
const STAGE = 1024 * 1024;
const STAGES_AT_ONCE = 8;
/** Of WebAssembly's memory. */
const MEMORY_PAGE = 65_536;

/**
 * Writes bytes that follow one another into a file: gathered into whole blocks where it is written past the kernel's cache, as they
 * come where it is not. One call at a time.
 */
export class StretchWriter {
  readonly #file: UnpackedFile;
  /** Where the stage's bytes are to go. */
  #position: number;
  #stage: Buffer | undefined;
  #filled = 0;

  constructor(file: UnpackedFile, position: number) {
    this.#file = file;
    this.#position = position;
  }

  /** `bytes` may be used again once the promise has resolved; some of them may not be written before `flush`. */
  async write(bytes: Buffer): Promise<void> {
    let rest = bytes;
    if (this.#filled === 0) {
      const left = this.#file.isDirect ? (BLOCK - (this.#position % BLOCK)) % BLOCK : rest.length;
      const unaligned = rest.subarray(0, left);
      rest = rest.subarray(left);
      if (unaligned.length > 0) await this.#file.write(unaligned, this.#position);
      this.#position += unaligned.length;
    }
    while (rest.length > 0) {
      const stage = (this.#stage ??= takeStage());
      if (!stage) {
        await this.#file.write(rest, this.#position);
        this.#position += rest.length;
        return;
      }
      const copied = rest.copy(stage, this.#filled);
      rest = rest.subarray(copied);
      this.#filled += copied;
      if (this.#filled === stage.length) await this.#writeStage(stage);
    }
  }

  async #writeStage(stage: Buffer): Promise<void> {
    await this.#file.writeBlocks(stage, this.#position);
    this.#position += stage.length;
    this.#filled = 0;
  }

  /** Writes what is left. More may follow, though not at the full speed. */
  async flush(): Promise<void> {
    const stage = this.#stage;
    if (!stage) return;
    const whole = this.#filled - (this.#filled % BLOCK);
    if (whole > 0) await this.#file.writeBlocks(stage.subarray(0, whole), this.#position);
    if (whole < this.#filled) {
      await this.#file.write(stage.subarray(whole, this.#filled), this.#position + whole);
    }
    this.#position += this.#filled;
    this.#filled = 0;
    this.#stage = undefined;
    // One whose writing failed is not taken again; the whole unpacking fails with it.
    freeStages.push(stage);
  }
}

/** What is used of it: neither the ECMAScript library's types nor Node's have it. */
declare const WebAssembly: {
  readonly Memory: new (pages: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer };
};

/** Taken again, since first touches of fresh memory are what all this spares. */
const freeStages: Buffer[] = [];

/** Whether there is memory that begins at a page: not without WebAssembly, or where a process may have but little address space. */
export function canAlign(): boolean {
  return freeStages.length > 0 || addStages();
}

function takeStage(): Buffer | undefined {
  return canAlign() ? freeStages.pop() : undefined;
}

/** WebAssembly's memory begins at a page of the processor's; of any other, JavaScript neither says nor learns where it begins. */
function addStages(): boolean {
  const pages = (STAGES_AT_ONCE * STAGE) / MEMORY_PAGE;
  try {
    const { buffer } = new WebAssembly.Memory({ initial: pages, maximum: pages });
    for (let index = 0; index < STAGES_AT_ONCE; index += 1)
      freeStages.push(Buffer.from(buffer, index * STAGE, STAGE));
    return true;
  } catch {
    return false;
  }
}
