import { createHash } from 'node:crypto';
import type { Stretch, VolumeExtractor } from '../data-path/tar/volume-extractor.ts';
import { readFrames, type VolumeFrame, type VolumeSource } from '../data-path/volumes/volume-reader.ts';

/** So many are at work at once, first come, first served. */
export class Turns {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(count: number) {
    this.#free = count;
  }

  async take(): Promise<void> {
    if (this.#free === 0) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#free -= 1;
  }

  give(): void {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#free += 1;
  }
}

interface Unpacking extends Omit<VolumeSource, 'onStored'> {
  readonly extractor: VolumeExtractor;
  /** Of the frames of all volumes. */
  readonly turns: Turns;
  /** Before each piece is written, with how many bytes it has; what it throws ends the volume. */
  readonly onPiece: (bytes: number) => void;
}

/**
 * Decompresses a volume's frames into its files: one after the other, but those that lie within one large file at the same time,
 * each to its own place. Else one file of a gigabyte would keep one thread busy while the others have nothing left to do.
 * @returns the SHA-256 of the volume as it was read
 * @throws LifeboatError as the extractor and the store do; nothing is at work any more then
 */
export async function unpackFrames(unpacking: Unpacking): Promise<string> {
  const { extractor, turns, onPiece } = unpacking;
  const sha256 = createHash('sha256');
  const aside = new SetAside();
  try {
    for await (const frame of readFrames({
      ...unpacking,
      onStored: (stored) => void sha256.update(stored),
    })) {
      const stretch = await extractor.setAside(frame.rawSize);
      if (!stretch) await aside.join();
      await turns.take();
      const write = (piece: Buffer): Promise<void> =>
        stretch ? stretch.write(piece) : extractor.push(piece);
      const done = unpackFrame(frame, write, onPiece)
        .then(() => stretch?.flush())
        .finally(() => turns.give());
      if (stretch) aside.add(stretch, done);
      else await done;
      if (aside.failed) break;
    }
    await aside.join();
  } finally {
    await aside.settled();
  }
  return sha256.digest('hex');
}

async function unpackFrame(
  frame: VolumeFrame,
  write: (piece: Buffer) => Promise<void>,
  onPiece: (bytes: number) => void,
): Promise<void> {
  for await (const piece of frame.pieces()) {
    onPiece(piece.length);
    await write(piece);
  }
}

/** Frames that are at work out of turn. */
class SetAside {
  readonly #running: { readonly stretch: Stretch; readonly done: Promise<void> }[] = [];
  failed = false;

  add(stretch: Stretch, done: Promise<void>): void {
    this.#running.push({ stretch, done });
    done.catch(() => {
      this.failed = true;
    });
  }

  /** Once all are done, in their order. @throws what one of them did */
  async join(): Promise<void> {
    for (const { stretch, done } of this.#running) {
      await done;
      stretch.join();
    }
    this.#running.length = 0;
  }

  async settled(): Promise<void> {
    await Promise.allSettled(this.#running.map(({ done }) => done));
  }
}
