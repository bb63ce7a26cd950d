import { countNewlines } from '../count-newlines.ts';
import { SequenceFinder } from '../sequence-finder.ts';
import type { DecodeText } from '../text-encoding.ts';
import { BACKSLASH, CARRIAGE_RETURN, NEWLINE } from './characters.ts';
import type { DumpListener } from './dump-listener.ts';

/** Of a line that psql takes for the end of the data when nothing but LF or CR LF follows. */
const TERMINATOR = Buffer.from('\n\\.');
const COMMAND_KEPT = 1024;

interface Reading {
  readonly listener: DumpListener;
  readonly decode: DecodeText;
  readonly countsRows: boolean;
}

/** From behind the semicolon of a COPY statement to the end of its data, as psql reads it. */
export class CopySection {
  readonly #reading: Reading;
  #part: 'line end' | 'data' | 'terminator' = 'line end';
  #finder = new SequenceFinder(TERMINATOR, Buffer.from('\n'));
  #newlines = 0;
  /** Whether the last byte may be the first one of a terminator, but for the newline before it. */
  #endsWithBackslash = false;
  /** Where the line that may be the terminator begins, with the newline before it. */
  #terminatorAt = 0;
  #carriageReturn = false;
  #ended = false;

  constructor(reading: Reading) {
    this.#reading = reading;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** @param end the dump's bytes so far. @returns where it begins what only the next chunk tells; `undefined`: nothing is open */
  undecidedFrom(end: number): number | undefined {
    if (this.#part === 'terminator') return this.#terminatorAt;
    return this.#part === 'data' && this.#endsWithBackslash ? end - 1 : undefined;
  }

  /**
   * @param offset bytes of the dump before the chunk
   * @returns how far it has read
   */
  read(chunk: Buffer, position: number, offset: number): number {
    switch (this.#part) {
      case 'line end':
        return this.#lineEnd(chunk, position, offset);
      case 'data':
        return this.#data(chunk, position, offset);
      case 'terminator':
        return this.#terminator(chunk, position, offset);
    }
  }

  #lineEnd(chunk: Buffer, position: number, offset: number): number {
    const { listener, decode } = this.#reading;
    const newline = chunk.indexOf(NEWLINE, position);
    const end = newline < 0 ? chunk.length : newline;
    const command = chunk.subarray(position, end).indexOf(BACKSLASH);
    // psql obeys what follows the semicolon once the data is in.
    if (command >= 0) {
      const text = chunk.subarray(position + command, Math.min(end, position + command + COMMAND_KEPT));
      listener.metaCommand?.(decode(text), offset + position + command);
    }
    if (newline < 0) return chunk.length;
    this.#part = 'data';
    listener.copyRows?.(offset + newline + 1);
    return newline + 1;
  }

  #data(chunk: Buffer, position: number, offset: number): number {
    const end = this.#finder.findEnd(chunk, position);
    const stop = end < 0 ? chunk.length : end;
    if (this.#reading.countsRows) this.#newlines += countNewlines(chunk, position, stop);
    this.#endsWithBackslash = chunk[stop - 1] === BACKSLASH;
    if (end >= 0) {
      this.#part = 'terminator';
      this.#terminatorAt = offset + end - (TERMINATOR.length - 1);
      this.#carriageReturn = false;
    }
    return stop;
  }

  #terminator(chunk: Buffer, position: number, offset: number): number {
    const byte = chunk[position]!;
    if (byte === CARRIAGE_RETURN && !this.#carriageReturn) {
      this.#carriageReturn = true;
      return position + 1;
    }
    if (byte !== NEWLINE) {
      this.#part = 'data';
      this.#finder = new SequenceFinder(TERMINATOR);
      return position;
    }
    const to = offset + position + 1;
    this.#reading.listener.copyEnd?.(this.#newlines, { from: this.#terminatorAt, to });
    this.#ended = true;
    return position + 1;
  }
}
