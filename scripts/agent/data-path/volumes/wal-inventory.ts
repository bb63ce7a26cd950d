import { timelineOfSegment } from '../../../../lib/domain/wal/segment.ts';
import { TarReader } from '../tar/tar-reader.ts';

const FOLDER = 'pg_wal/';

/** Which WAL segments went by, each of them whole. */
export class WalInventory {
  readonly #reader = new TarReader('The WAL of the base backup');
  readonly #segmentSize: number;
  readonly #segments: string[] = [];
  #current: string | undefined;

  constructor(segmentSize: number) {
    this.#segmentSize = segmentSize;
  }

  get segments(): readonly string[] {
    return this.#segments;
  }

  /** @param bytes of the series `wal`, from its first volume to its last. @throws LifeboatError CORRUPT */
  push(bytes: Buffer): void {
    for (const event of this.#reader.push(bytes)) {
      if (event.kind === 'member') {
        const { name, size } = event.member;
        this.#current = size === this.#segmentSize ? name.slice(FOLDER.length) : undefined;
      }
      if (event.kind === 'member-end' && this.#current !== undefined) {
        if (timelineOfSegment(this.#current) !== undefined) this.#segments.push(this.#current);
        this.#current = undefined;
      }
    }
  }
}
