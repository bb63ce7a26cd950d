import { LifeboatError } from '../../../../lib/domain/errors.ts';
import { decodeTarHeader, TAR_BLOCK, withoutSlash, type TarHeader, type TarMember } from './tar-header.ts';

export type TarEvent =
  /** `header` is all the blocks that announce the member, those of a long name included. */
  | { readonly kind: 'member'; readonly member: TarMember; readonly header: Buffer }
  | { readonly kind: 'data'; readonly bytes: Buffer }
  | { readonly kind: 'padding'; readonly bytes: Buffer }
  /** Content and padding of the member are complete. */
  | { readonly kind: 'member-end' };

/** Long names and pax headers are read into memory; a few kilobytes in earnest. */
const LARGEST_EXTENSION = 1024 * 1024;
/** Announce facts about the next member: GNU's long name and long link target, pax headers. */
const EXTENSIONS = new Set(['L', 'K', 'x', 'g']);

interface Overrides {
  name?: Buffer;
  linkTarget?: string;
  size?: number;
}

/**
 * Takes a tar archive apart as it comes, in pieces of any size. Contents are slices of what was pushed; nothing is copied
 * but headers that two pushes share. Headers, contents and padding put together are the archive without its trailer;
 * an archive that has none (PostgreSQL 14, and every volume but a series' last) is as good.
 */
export class TarReader {
  readonly #where: string;
  readonly #block = Buffer.alloc(TAR_BLOCK);
  #filled = 0;
  #content = 0;
  #padding = 0;
  #member: TarMember | undefined;
  #extension: { readonly flag: string; readonly pieces: Buffer[]; readonly size: number } | undefined;
  /** Raw blocks of the extensions in front of the next member. */
  #announced: Buffer[] = [];
  #overrides: Overrides = {};
  #ended = false;

  /** @param where named in errors */
  constructor(where: string) {
    this.#where = where;
  }

  /**
   * To be consumed to its end before the next push; events hold slices of `bytes`.
   * @throws LifeboatError CORRUPT
   */
  *push(bytes: Buffer): Generator<TarEvent, void, undefined> {
    for (let at = 0; at < bytes.length;) {
      if (this.#ended) {
        this.#requireZeros(bytes.subarray(at));
        return;
      }
      if (this.#content > 0 || this.#padding > 0) {
        const isContent = this.#content > 0;
        const end = Math.min(bytes.length, at + (isContent ? this.#content : this.#padding));
        const piece = bytes.subarray(at, end);
        if (isContent) this.#content -= piece.length;
        else this.#padding -= piece.length;
        at = end;
        if (this.#extension) this.#extension.pieces.push(Buffer.from(piece));
        else yield { kind: isContent ? 'data' : 'padding', bytes: piece };
      } else {
        const block = this.#takeBlock(bytes, at);
        at += block.taken;
        if (!block.whole) return;
        const event = this.#readBlock(block.whole);
        if (event) yield event;
      }
      if (this.#content === 0 && this.#padding === 0 && this.#endMember()) yield { kind: 'member-end' };
    }
  }

  /** Bytes of the member's content that are still to come. */
  get contentLeft(): number {
    return this.#extension ? 0 : this.#content;
  }

  /** Goes on as if these bytes of the member's content had come; at least one has to be left. */
  skip(length: number): void {
    if (length >= this.contentLeft) throw new LifeboatError('BUG', `${length} bytes are no part of a member`);
    this.#content -= length;
  }

  /** To be called after the last push. @throws LifeboatError CORRUPT when the archive ends within a member */
  finish(): void {
    const within =
      this.#member?.name ?? (this.#filled > 0 || this.#announced.length > 0 ? 'a header' : undefined);
    if (within !== undefined) {
      throw new LifeboatError('CORRUPT', `${this.#where} ends within ${within}`);
    }
  }

  #takeBlock(bytes: Buffer, at: number): { taken: number; whole: Buffer | undefined } {
    if (this.#filled === 0 && bytes.length - at >= TAR_BLOCK) {
      return { taken: TAR_BLOCK, whole: bytes.subarray(at, at + TAR_BLOCK) };
    }
    const taken = bytes.copy(this.#block, this.#filled, at, at + TAR_BLOCK - this.#filled);
    this.#filled += taken;
    if (this.#filled < TAR_BLOCK) return { taken, whole: undefined };
    this.#filled = 0;
    return { taken, whole: this.#block };
  }

  #readBlock(block: Buffer): TarEvent | undefined {
    if (block.every((byte) => byte === 0)) {
      this.#ended = true;
      return undefined;
    }
    const header = decodeTarHeader(block, this.#where);
    if (EXTENSIONS.has(header.flag)) {
      this.#beginExtension(header, block);
      return undefined;
    }
    const member = this.#withOverrides(header);
    this.#content = member.size;
    this.#padding = -member.size & (TAR_BLOCK - 1);
    this.#member = member;
    const raw = this.#announced.length === 0 ? block : Buffer.concat([...this.#announced, block]);
    this.#announced = [];
    return { kind: 'member', member, header: raw };
  }

  #withOverrides(header: TarHeader): TarMember {
    const { name, linkTarget = header.linkTarget, size = header.size } = this.#overrides;
    this.#overrides = {};
    if (!name) return { ...header, linkTarget, size };
    return { ...header, name: name.toString(), rawName: name, linkTarget, size };
  }

  #beginExtension({ flag, size }: TarHeader, block: Buffer): void {
    if (size > LARGEST_EXTENSION) {
      throw new LifeboatError('CORRUPT', `${this.#where}: a tar header of ${size} bytes`);
    }
    this.#extension = { flag, pieces: [Buffer.from(block)], size };
    this.#content = size;
    this.#padding = -size & (TAR_BLOCK - 1);
  }

  /** @returns whether a member (not an extension) has ended */
  #endMember(): boolean {
    if (this.#extension) {
      const raw = Buffer.concat(this.#extension.pieces);
      const { flag, size } = this.#extension;
      this.#extension = undefined;
      this.#announced.push(raw);
      this.#readExtension(flag, raw.subarray(TAR_BLOCK, TAR_BLOCK + size));
      return false;
    }
    const ended = this.#member !== undefined;
    this.#member = undefined;
    return ended;
  }

  #readExtension(flag: string, content: Buffer): void {
    const end = content.indexOf(0);
    const text = end === -1 ? content : content.subarray(0, end);
    if (flag === 'L') this.#overrides.name = withoutSlash(text);
    else if (flag === 'K') this.#overrides.linkTarget = text.toString();
    else if (flag === 'x') this.#readPax(content);
  }

  /** `<length> <key>=<value>\n`, the length in bytes and counting itself. */
  #readPax(content: Buffer): void {
    for (let at = 0; at < content.length;) {
      const space = content.indexOf(0x20, at);
      const length = space === -1 ? 0 : Number(content.toString('latin1', at, space));
      const equals = content.indexOf(0x3d, space);
      if (
        !Number.isInteger(length) ||
        at + length > content.length ||
        equals === -1 ||
        equals >= at + length
      ) {
        throw new LifeboatError('CORRUPT', `${this.#where}: a pax header that does not add up`);
      }
      const key = content.toString('utf8', space + 1, equals);
      const value = content.subarray(equals + 1, at + length - 1);
      if (key === 'path') this.#overrides.name = withoutSlash(value);
      if (key === 'linkpath') this.#overrides.linkTarget = value.toString();
      if (key === 'size') this.#overrides.size = Number(value.toString());
      at += length;
    }
  }

  #requireZeros(bytes: Buffer): void {
    if (bytes.equals(Buffer.alloc(bytes.length))) return;
    throw new LifeboatError('CORRUPT', `${this.#where} goes on after its end`);
  }
}
