import { countNewlines } from '../count-newlines.ts';
import { BlockComment } from './block-comment.ts';
import type { DumpListener } from './dump-listener.ts';
import { stateOpenedBy, type State } from './states.ts';
import { StatementText } from './statement-text.ts';
import { SequenceFinder } from '../sequence-finder.ts';
import { decodeUtf8, encodingOf, findDecoder, type DecodeText } from '../text-encoding.ts';
import {
  NEWLINE,
  CARRIAGE_RETURN,
  DOUBLE_QUOTE,
  DOLLAR,
  SINGLE_QUOTE,
  SEMICOLON,
  BACKSLASH,
  UPPER_E,
  DIGIT_0,
  DIGIT_9,
  isNameByte,
  isSpace,
} from './characters.ts';

/** Of a line that psql takes for the end of the data when nothing but LF or CR LF follows. */
const COPY_TERMINATOR = Buffer.from('\n\\.');
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
  /** Text of a comment, psql command or dollar tag in the making, and where it began. */
  #text = '';
  #textOffset = 0;
  #comment = new BlockComment();
  #backslash = false;
  #finder = new SequenceFinder(COPY_TERMINATOR);
  #newlines = 0;
  #endsWithBackslash = false;

  /** @param countsRows false saves the time of it; `copyEnd` then says 0 */
  constructor(listener: DumpListener, { countsRows = true } = {}) {
    this.#listener = listener;
    this.#countsRows = countsRows;
  }

  push(chunk: Buffer): void {
    let position = 0;
    while (position < chunk.length) position = this.#step(chunk, position);
    this.#offset += chunk.length;
    this.#endsWithBackslash = chunk[chunk.length - 1] === BACKSLASH;
  }

  /**
   * Only the next chunk tells what the bytes from here on are: a COPY statement or another one, a terminator or a row.
   * `undefined` when all that was pushed is known.
   */
  get undecidedFrom(): number | undefined {
    switch (this.#state) {
      case 'copy terminator':
        return this.#textOffset - (COPY_TERMINATOR.length - 1);
      case 'copy data':
        return this.#endsWithBackslash ? this.#offset - 1 : undefined;
      case 'between statements':
      case 'copy line end':
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
      case 'copy data':
        return this.#copyData(chunk, position);
      case 'string':
        return this.#quoted(chunk, position, SINGLE_QUOTE);
      case 'quoted name':
        return this.#quoted(chunk, position, DOUBLE_QUOTE);
      case 'escape string':
        return this.#escapeString(chunk, position);
      case 'copy terminator':
        return this.#copyTerminator(chunk, position);
      case 'dollar tag':
        return this.#dollarTag(chunk, position);
      case 'dollar body':
        return this.#dollarBody(chunk, position);
      case 'comment':
      case 'meta command':
        return this.#line(chunk, position);
      case 'block comment':
        if (this.#comment.endsWith(chunk[position]!)) this.#state = 'statement';
        return position + 1;
      case 'copy line end':
        return this.#copyLineEnd(chunk, position);
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
    this.#state = 'copy line end';
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

  #dollarTag(chunk: Buffer, position: number): number {
    const byte = chunk[position]!;
    if (byte === DOLLAR) {
      this.#finder = new SequenceFinder(Buffer.from(`$${this.#text}$`, 'latin1'));
      this.#state = 'dollar body';
      return position + 1;
    }
    const digitFirst = this.#text === '' && byte >= DIGIT_0 && byte <= DIGIT_9;
    if (!isNameByte(byte) || digitFirst) {
      // A parameter such as $1, not a quote; the byte is read again as part of the statement.
      this.#state = 'statement';
      this.#previous = DOLLAR;
      return position;
    }
    this.#text += String.fromCharCode(byte);
    return position + 1;
  }

  #dollarBody(chunk: Buffer, position: number): number {
    const end = this.#finder.findEnd(chunk, position);
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

  #copyLineEnd(chunk: Buffer, position: number): number {
    const newline = chunk.indexOf(NEWLINE, position);
    const end = newline < 0 ? chunk.length : newline;
    const command = chunk.subarray(position, end).indexOf(BACKSLASH);
    // psql obeys what follows the semicolon once the data is in.
    if (command >= 0) {
      const text = chunk.subarray(position + command, Math.min(end, position + command + COMMENT_KEPT));
      this.#listener.metaCommand?.(this.#decode(text), this.#offset + position + command);
    }
    if (newline < 0) return chunk.length;
    this.#state = 'copy data';
    this.#newlines = 0;
    this.#finder = new SequenceFinder(COPY_TERMINATOR, Buffer.from('\n'));
    this.#listener.copyRows?.(this.#offset + newline + 1);
    return newline + 1;
  }

  #copyData(chunk: Buffer, position: number): number {
    const end = this.#finder.findEnd(chunk, position);
    const stop = end < 0 ? chunk.length : end;
    if (this.#countsRows) this.#newlines += countNewlines(chunk, position, stop);
    if (end >= 0) this.#startText('copy terminator', '', end);
    return stop;
  }

  #copyTerminator(chunk: Buffer, position: number): number {
    const byte = chunk[position]!;
    if (byte === CARRIAGE_RETURN && this.#text === '') {
      this.#text = '\r';
      return position + 1;
    }
    if (byte !== NEWLINE) {
      this.#state = 'copy data';
      this.#finder = new SequenceFinder(COPY_TERMINATOR);
      return position;
    }
    const to = this.#offset + position + 1;
    this.#listener.copyEnd?.(this.#newlines, { from: this.#textOffset - (COPY_TERMINATOR.length - 1), to });
    this.#state = 'between statements';
    return position + 1;
  }
}
