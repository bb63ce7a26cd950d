import { findFile, type WalArchive, type WalFile } from './archive.ts';
import type { Lsn } from './lsn.ts';
import { segmentStart } from './segment.ts';
import type { TimelineStretch } from './timeline.ts';

/**
 * Where the WAL ends that `followWal` yields; `from` where there is none. Complete segments in a row are only counted: half a
 * million of them take milliseconds, where their names take seconds.
 */
export function endOfWal(archive: WalArchive, path: readonly TimelineStretch[], from: Lsn): Lsn {
  const size = BigInt(archive.segmentSize);
  let position = from;
  for (let start = segmentStart(from, archive.segmentSize); ;) {
    const end = endOfWhole(archive, path, start);
    if (end > start) {
      position = end;
      start = end;
      continue;
    }
    const file = findFile(archive, path, start);
    if (!file || file.end <= position) return position;
    position = file.end;
    start += size;
    if (position < start) return position;
  }
}

/** Of the complete segments that lie whole in one stretch of the path: no other timeline has a say in them. */
function endOfWhole(archive: WalArchive, path: readonly TimelineStretch[], start: Lsn): Lsn {
  const stretch = path.find(({ from, to }) => from <= start && (to === undefined || start < to));
  return stretch ? archive.segments.endOfRun(stretch.timeline, start, stretch.to) : start;
}

/** What `followWal` yields from `from` up to `end`, where it ends: the last first, and none is made before it is asked for. */
export class WalTail implements Iterable<WalFile> {
  readonly #archive: WalArchive;
  readonly #path: readonly TimelineStretch[];
  readonly #from: Lsn;
  readonly #end: Lsn;

  constructor(archive: WalArchive, path: readonly TimelineStretch[], from: Lsn, end: Lsn) {
    this.#archive = archive;
    this.#path = path;
    this.#from = from;
    this.#end = end;
  }

  get last(): WalFile | undefined {
    for (const file of this) return file;
    return undefined;
  }

  *[Symbol.iterator](): Generator<WalFile> {
    if (this.#end <= this.#from) return;
    const { segmentSize } = this.#archive;
    const first = segmentStart(this.#from, segmentSize);
    for (
      let start = segmentStart(this.#end - 1n, segmentSize);
      start >= first;
      start -= BigInt(segmentSize)
    ) {
      const file = findFile(this.#archive, this.#path, start);
      if (!file) return;
      yield file;
    }
  }
}
