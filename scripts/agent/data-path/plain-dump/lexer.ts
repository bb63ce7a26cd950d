import { decodeUtf8, encodingOf, findDecoder, type DecodeText } from '../text-encoding.ts';
import { BlockComment } from './block-comment.ts';
import {
  NEWLINE,
  DOUBLE_QUOTE,
  DOLLAR,
  SINGLE_QUOTE,
  SEMICOLON,
  BACKSLASH,
  UPPER_E,
  isSpace,
} from './characters.ts';
import { CopySection } from './copy-section.ts';
import { DollarQuote } from './dollar-quote.ts';
import type { DumpListener } from './dump-listener.ts';
import { stateOpenedBy, type State } from './states.ts';
import { StatementText } from './statement-text.ts';

const COPY_STATEMENT = /^COPY .* FROM stdin$/s;
const COMMENT_KEPT = 1024;

/**
 * Reads a plain SQL dump as psql does, just closely enough to know what is a statement, a comment, a psql command and
 * COPY data, and what only looks like one inside a string, a quoted name or a function body
 * (https://www.postgresql.org/docs/current/sql-syntax-lexical.html).
 */
export class PlainDumpLexer {
  readonly #listener: DumpListener;
  readonly #countsRows: boolean;
  #state: State = 'between statements';
  /** Bytes of the dump before the chunk at hand. */
  #offset = 0;
  /** The last two bytes of the statement, which decide what the next one starts. */
  #previous = 0;
  #beforePrevious = 0;
  #statement = new StatementText();
  #statementOffset = 0;
  #decode: DecodeText = decodeUtf8;
  /** Text of a comment or psql command in the making, and where it began. */
  #text = '';
  #textOffset = 0;
  #comment = new BlockComment();
  #quote = new DollarQuote();
  #backslash = false;
  #copy: CopySection | undefined;

  /** @param countsRows false saves the time of it; `copyEnd` then says 0 */
  constructor(listener: DumpListener, { countsRows = true } = {}) {
    this.#listener = listener;
    this.#countsRows = countsRows;
  }

  push(chunk: Buffer): void {
    let position = 0;
    while (position < chunk.length) position = this.#step(chunk, position);
    this.#offset += chunk.length;
  }

  /**
   * Only the next chunk tells what the bytes from here on are: a COPY statement or another one, a terminator or a row.
   * `undefined` when all that was pushed is known.
   */
  get undecidedFrom(): number | undefined {
    switch (this.#state) {
      case 'copy':
        return this.#copy?.undecidedFrom(this.#offset);
      case 'between statements':
      case 'meta command':
        return undefined;
      default:
        return this.#statement.mayBeCopy ? this.#statementOffset : undefined;
    }
  }

  /** True when the dump may end here: outside of every statement, string and COPY. */
  get atRest(): boolean {
    return (
      this.#state === 'between statements' || this.#state === 'comment' || this.#state === 'meta command'
    );
  }

  #step(chunk: Buffer, position: number): number {
    switch (this.#state) {
      case 'copy':
        return this.#inCopy(this.#copy!, chunk, position);
      case 'string':
        return this.#quoted(chunk, position, SINGLE_QUOTE);
      case 'quoted name':
        return this.#quoted(chunk, position, DOUBLE_QUOTE);
      case 'escape string':
        return this.#escapeString(chunk, position);
      case 'dollar quote':
        return this.#dollarQuoted(chunk, position);
      case 'comment':
      case 'meta command':
        return this.#line(chunk, position);
      case 'block comment':
        if (this.#comment.endsWith(chunk[position]!)) this.#state = 'statement';
        return position + 1;
      case 'between statements':
        return this.#betweenStatements(chunk, position);
      case 'statement':
        return this.#inStatement(chunk, position);
    }
  }

  #betweenStatements(chunk: Buffer, position: number): number {
    const byte = chunk[position]!;
    if (isSpace(byte)) return position + 1;
    if (byte === BACKSLASH) {
      this.#startText('meta command', '\\', position);
      return position + 1;
    }
    this.#state = 'statement';
    this.#statement = new StatementText();
    this.#statementOffset = this.#offset + position;
    this.#previous = 0;
    this.#beforePrevious = 0;
    return position;
  }

  #inStatement(chunk: Buffer, position: number): number {
    for (let at = position; at < chunk.length; at += 1) {
      const byte = chunk[at]!;
      const before = this.#previous;
      if (byte === SEMICOLON) {
        this.#statement.keep(chunk, position, at);
        this.#endStatement();
        return at + 1;
      }
      const next = stateOpenedBy(byte, before, this.#beforePrevious);
      this.#beforePrevious = before;
      this.#previous = byte;
      if (next) {
        this.#statement.keep(chunk, position, at + 1);
        this.#open(next, at);
        return at + 1;
      }
    }
    this.#statement.keep(chunk, position, chunk.length);
    return chunk.length;
  }

  #open(state: State, at: number): void {
    if (state === 'comment') this.#startText(state, '--', at - 1);
    else this.#startText(state, state === 'meta command' ? '\\' : '', at);
    this.#comment = new BlockComment();
    this.#quote = new DollarQuote();
    this.#backslash = false;
    this.#previous = 0;
  }

  #startText(state: State, text: string, at: number): void {
    this.#state = state;
    this.#text = text;
    this.#textOffset = this.#offset + at;
  }

  #endStatement(): void {
    this.#state = 'between statements';
    const bytes = this.#statement.bytes;
    if (!bytes) return;
    const statement = this.#decode(bytes);
    const encoding = encodingOf(statement);
    if (encoding !== undefined) {
      this.#decode = findDecoder(encoding);
      this.#listener.encoding?.(encoding);
    }
    if (!COPY_STATEMENT.test(statement)) return;
    this.#listener.copyStart?.(statement, this.#statementOffset, bytes);
    const reading = { listener: this.#listener, decode: this.#decode, countsRows: this.#countsRows };
    this.#copy = new CopySection(reading);
    this.#state = 'copy';
  }

  /** Doubled quotes need no look-ahead: the string ends and the next one begins at once. */
  #quoted(chunk: Buffer, position: number, quote: number): number {
    const found = chunk.indexOf(quote, position);
    const end = found < 0 ? chunk.length : found + 1;
    this.#statement.keep(chunk, position, end);
    if (found >= 0) this.#state = 'statement';
    return end;
  }

  /** `E'…'`: a backslash takes the next byte with it. A doubled quote must stay in this state, so it is looked for. */
  #escapeString(chunk: Buffer, position: number): number {
    let at = position;
    while (at < chunk.length) {
      const byte = chunk[at]!;
      at += 1;
      if (this.#backslash) this.#backslash = false;
      else if (byte === BACKSLASH) this.#backslash = true;
      else if (byte === SINGLE_QUOTE) {
        // As if the string had been opened by E once more, should another quote follow at once.
        this.#state = 'statement';
        this.#previous = UPPER_E;
        this.#beforePrevious = 0;
        break;
      }
    }
    this.#statement.keep(chunk, position, at);
    return at;
  }

  #dollarQuoted(chunk: Buffer, position: number): number {
    if (this.#quote.isOpening) {
      if (this.#quote.takesIntoTag(chunk[position]!)) return position + 1;
      // The byte is read again as part of the statement.
      this.#state = 'statement';
      this.#previous = DOLLAR;
      return position;
    }
    const end = this.#quote.findEnd(chunk, position);
    if (end < 0) return chunk.length;
    this.#state = 'statement';
    return end;
  }

  #line(chunk: Buffer, position: number): number {
    const newline = chunk.indexOf(NEWLINE, position);
    const end = newline < 0 ? chunk.length : newline;
    if (this.#text.length < COMMENT_KEPT) {
      this.#text += this.#decode(chunk.subarray(position, Math.min(end, position + COMMENT_KEPT)));
    }
    if (newline < 0) return end;
    if (this.#state === 'comment') this.#listener.comment?.(this.#text, this.#textOffset);
    else this.#listener.metaCommand?.(this.#text, this.#textOffset);
    // A comment may stand inside a statement; one that stands alone left nothing but its two dashes behind.
    const alone = this.#state === 'meta command' || this.#statement.isOnlyComment;
    this.#state = alone ? 'between statements' : 'statement';
    return newline + 1;
  }

  #inCopy(copy: CopySection, chunk: Buffer, position: number): number {
    const stop = copy.read(chunk, position, this.#offset);
    if (copy.ended) this.#state = 'between statements';
    return stop;
  }
}
