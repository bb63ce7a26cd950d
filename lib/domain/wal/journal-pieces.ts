import type { ListedFile } from '../backup/catalog.ts';
import type { Lsn } from './lsn.ts';

/** A stretch of an open segment, as it lies in the journal. */
export interface JournalPiece {
  readonly from: Lsn;
  readonly to: Lsn;
  readonly file: ListedFile;
}

/** What is known is not added twice. */
export function addPiece(pieces: Map<string, JournalPiece[]>, segment: string, piece: JournalPiece): void {
  const known = pieces.get(segment);
  if (!known) pieces.set(segment, [piece]);
  // In the order of a listing each lies behind the last; only one that is listed again needs to be looked for.
  else if (known.at(-1)!.from < piece.from) known.push(piece);
  else if (!known.some(({ from, to }) => from === piece.from && to === piece.to)) known.push(piece);
}

/** For sorting. */
export function byStart(one: JournalPiece, other: JournalPiece): number {
  if (one.from === other.from) return 0;
  return one.from < other.from ? -1 : 1;
}

/** As far as the pieces go without a gap, from the segment's first byte. */
export function joinPieces(pieces: readonly JournalPiece[], start: Lsn): { end: Lsn; files: ListedFile[] } {
  const files: ListedFile[] = [];
  let end = start;
  let index = 0;
  while (index < pieces.length) {
    let longest: JournalPiece | undefined;
    for (; index < pieces.length && pieces[index]!.from <= end; index += 1) {
      const piece = pieces[index]!;
      if (piece.to > (longest?.to ?? end)) longest = piece;
    }
    if (!longest) break;
    files.push(longest.file);
    end = longest.to;
  }
  return { end, files };
}
