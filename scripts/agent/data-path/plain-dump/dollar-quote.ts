import { SequenceFinder } from '../sequence-finder.ts';
import { DIGIT_0, DIGIT_9, DOLLAR, isNameByte } from './characters.ts';

/** `$tag$…$tag$`, from after its first dollar on. */
export class DollarQuote {
  #tag = '';
  #body: SequenceFinder | undefined;

  /** True while its tag is being read. */
  get isOpening(): boolean {
    return this.#body === undefined;
  }

  /** @returns false for a byte that makes it no quote, but a parameter such as `$1`: it belongs to the statement */
  takesIntoTag(byte: number): boolean {
    if (byte === DOLLAR) {
      this.#body = new SequenceFinder(Buffer.from(`$${this.#tag}$`, 'latin1'));
      return true;
    }
    const digitFirst = this.#tag === '' && byte >= DIGIT_0 && byte <= DIGIT_9;
    if (!isNameByte(byte) || digitFirst) return false;
    this.#tag += String.fromCharCode(byte);
    return true;
  }

  /** @returns the position behind the quote; -1 when it does not end in this chunk */
  findEnd(chunk: Buffer, position: number): number {
    return this.#body?.findEnd(chunk, position) ?? -1;
  }
}
