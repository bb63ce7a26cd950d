import { LifeboatError } from '../../../../lib/domain/errors.ts';
import type { PlainPiece } from '../../ports/dump-files.ts';
import { PlainDumpLexer } from './lexer.ts';

/**
 * In these a byte of a character may look like a backslash, which only psql reads rightly. No database is encoded so, but
 * pg_dump writes what the role's client_encoding says.
 */
const CLIENT_ONLY = new Set(['SJIS', 'SHIFT_JIS_2004', 'BIG5', 'GBK', 'UHC', 'GB18030', 'JOHAB']);

type Cut =
  | { readonly kind: 'encoding'; readonly name: string }
  | { readonly kind: 'copy'; readonly at: number; readonly statement: Buffer }
  | { readonly kind: 'first row'; readonly at: number }
  | { readonly kind: 'end of rows'; readonly at: number; readonly next: number };

/**
 * Takes a plain dump apart where psql would: COPY statements and their rows on one side, all other text on the other.
 *
 * @param content chunks, each valid until the next but one is asked for
 * @param where the dump's name, for errors
 * @throws LifeboatError CORRUPT when it ends within a statement or a table
 */
export async function* takePlainApart(
  content: AsyncIterable<Buffer>,
  where: string,
): AsyncGenerator<PlainPiece> {
  const splitter = new Splitter();
  for await (const chunk of content) yield* splitter.push(chunk);
  yield* splitter.end(where);
}

class Splitter {
  #cuts: Cut[] = [];
  #inside: 'sql' | 'rows' | 'nothing' = 'sql';
  #chunk: Buffer = Buffer.alloc(0);
  /** Offset of the chunk in the dump. */
  #base = 0;
  /** Bytes before the chunk whose meaning only the chunk tells. A copy: the memory of theirs is given back. */
  #held: Buffer = Buffer.alloc(0);
  /** Offset up to which everything was handed out. */
  #done = 0;
  #wholly = false;
  readonly #lexer = new PlainDumpLexer(
    {
      encoding: (name) => {
        this.#wholly ||= CLIENT_ONLY.has(name);
        this.#cuts.push({ kind: 'encoding', name });
      },
      copyStart: (_text, at, statement) => this.#cut({ kind: 'copy', at, statement }),
      copyRows: (at) => this.#cut({ kind: 'first row', at }),
      copyEnd: (_rows, { from, to }) => this.#cut({ kind: 'end of rows', at: from, next: to }),
    },
    { countsRows: false },
  );

  *push(chunk: Buffer): Generator<PlainPiece> {
    this.#chunk = chunk;
    this.#lexer.push(chunk);
    for (const cut of this.#cuts) yield* this.#apply(cut);
    this.#cuts = [];
    const end = this.#base + chunk.length;
    yield* this.#handOut((this.#wholly ? undefined : this.#lexer.undecidedFrom) ?? end);
    this.#held = Buffer.concat(this.#slices(this.#done, end));
    this.#base = end;
    this.#chunk = Buffer.alloc(0);
  }

  *end(where: string): Generator<PlainPiece> {
    if (!this.#lexer.atRest)
      throw new LifeboatError('CORRUPT', `${where} ends within a statement or the rows of a table`);
    yield* this.#handOut(this.#base);
  }

  #cut(cut: Cut): void {
    if (!this.#wholly) this.#cuts.push(cut);
  }

  *#apply(cut: Cut): Generator<PlainPiece> {
    switch (cut.kind) {
      case 'encoding':
        yield cut;
        return;
      case 'copy':
        yield* this.#handOut(cut.at);
        this.#inside = 'nothing';
        yield { kind: 'copy', statement: cut.statement };
        return;
      case 'first row':
        yield* this.#handOut(cut.at);
        this.#inside = 'rows';
        return;
      case 'end of rows':
        yield* this.#handOut(cut.at);
        this.#inside = 'nothing';
        yield* this.#handOut(cut.next);
        this.#inside = 'sql';
        yield { kind: 'end of rows' };
    }
  }

  *#handOut(to: number): Generator<PlainPiece> {
    const kind = this.#inside;
    if (kind !== 'nothing') for (const bytes of this.#slices(this.#done, to)) yield { kind, bytes };
    this.#done = to;
  }

  #slices(from: number, to: number): Buffer[] {
    const heldFrom = this.#base - this.#held.length;
    return [
      this.#held.subarray(Math.max(0, from - heldFrom), Math.max(0, Math.min(to, this.#base) - heldFrom)),
      this.#chunk.subarray(Math.max(0, from - this.#base), Math.max(0, to - this.#base)),
    ].filter(({ length }) => length > 0);
  }
}
