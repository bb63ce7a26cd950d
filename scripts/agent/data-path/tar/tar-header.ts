import { LifeboatError } from '../../../../lib/domain/errors.ts';

/**
 * A tar member's header block: POSIX ustar as PostgreSQL writes it (src/port/tar.c), with GNU's large numbers.
 * https://www.gnu.org/software/tar/manual/html_node/Standard.html
 */

export const TAR_BLOCK = 512;
/** Two blocks of zeros end an archive. */
export const TAR_TRAILER = Buffer.alloc(2 * TAR_BLOCK);

type TarMemberType = 'file' | 'directory' | 'symlink' | 'hard-link' | 'other';

export interface TarMember {
  /** As stored, without a slash at its end. */
  readonly name: string;
  /** The same as bytes: names are not always UTF-8. */
  readonly rawName: Buffer;
  readonly type: TarMemberType;
  /** Bytes of content that follow; 0 for all but files. */
  readonly size: number;
  /** Permission bits. */
  readonly mode: number;
  /** Seconds since 1970. */
  readonly modifiedAt: number;
  /** Of a link; empty otherwise. */
  readonly linkTarget: string;
}

export interface TarHeader extends TarMember {
  /** The letter in the header: `L`, `K`, `x` and `g` announce facts about the next member. */
  readonly flag: string;
}

const TYPES: ReadonlyMap<string, TarMemberType> = new Map([
  ['0', 'file'],
  ['\0', 'file'],
  ['7', 'file'],
  ['1', 'hard-link'],
  ['2', 'symlink'],
  ['5', 'directory'],
]);

const NAME = { at: 0, length: 100 };
const MODE = { at: 100, length: 8 };
const UID = { at: 108, length: 8 };
const GID = { at: 116, length: 8 };
const SIZE = { at: 124, length: 12 };
const MODIFIED = { at: 136, length: 12 };
const CHECKSUM = { at: 148, length: 8 };
const FLAG = 156;
const LINK_NAME = { at: 157, length: 100 };
const MAGIC = { at: 257, length: 6 };
const PREFIX = { at: 345, length: 155 };

type Field = typeof NAME;

/**
 * @param block TAR_BLOCK bytes, not all zeros
 * @param where named in errors
 * @throws LifeboatError CORRUPT when it is no header
 */
export function decodeTarHeader(block: Buffer, where: string): TarHeader {
  const sum = readNumber(block, CHECKSUM);
  if (sum !== checksumOf(block)) {
    throw new LifeboatError('CORRUPT', `${where}: there is no tar member where one should begin`);
  }
  const flag = String.fromCharCode(block[FLAG]!);
  const type = TYPES.get(flag) ?? 'other';
  const rawName = fullName(block);
  const size = readNumber(block, SIZE);
  if (size === undefined) {
    throw new LifeboatError('CORRUPT', `${where}: the tar member ${rawName.toString()} has no valid size`);
  }
  return {
    name: rawName.toString(),
    rawName,
    type,
    flag,
    // GNU tar gives a hard link the size of the file that it points to, and no content.
    size: type === 'file' || type === 'other' ? size : 0,
    mode: (readNumber(block, MODE) ?? 0) & 0o7777,
    modifiedAt: readNumber(block, MODIFIED) ?? 0,
    linkTarget: textOf(block, LINK_NAME).toString(),
  };
}

function fullName(block: Buffer): Buffer {
  const name = textOf(block, NAME);
  const posix = block.toString('latin1', MAGIC.at, MAGIC.at + MAGIC.length) === 'ustar\0';
  const prefix = posix ? textOf(block, PREFIX) : Buffer.alloc(0);
  const whole = prefix.length === 0 ? name : Buffer.concat([prefix, Buffer.from('/'), name]);
  return withoutSlash(whole);
}

/** A copy: the block's memory may be used again before the name is. */
export function withoutSlash(name: Buffer): Buffer {
  let end = name.length;
  while (end > 1 && name[end - 1] === 0x2f) end -= 1;
  return Buffer.from(name.subarray(0, end));
}

function textOf(block: Buffer, { at, length }: Field): Buffer {
  const field = block.subarray(at, at + length);
  const end = field.indexOf(0);
  return end === -1 ? field : field.subarray(0, end);
}

/** Octal digits, or, with the highest bit set, a number to the base of 256: sizes of 8 GiB and more. */
function readNumber(block: Buffer, { at, length }: Field): number | undefined {
  if ((block[at]! & 0x80) !== 0) {
    let value = block[at]! & 0x7f;
    for (let index = 1; index < length; index += 1) value = value * 256 + block[at + index]!;
    return Number.isSafeInteger(value) ? value : undefined;
  }
  const digits = block
    .toString('latin1', at, at + length)
    .replace(/\0.*$/s, '')
    .trim();
  if (digits === '') return 0;
  return /^[0-7]+$/.test(digits) ? Number.parseInt(digits, 8) : undefined;
}

/** The sum of all bytes, those of the sum itself counted as spaces. */
function checksumOf(block: Buffer): number {
  let sum = CHECKSUM.length * 0x20;
  for (let at = 0; at < CHECKSUM.at; at += 1) sum += block[at]!;
  for (let at = CHECKSUM.at + CHECKSUM.length; at < TAR_BLOCK; at += 1) sum += block[at]!;
  return sum;
}

export interface NewTarMember {
  readonly name: string;
  readonly type: 'file' | 'directory' | 'symlink';
  readonly size?: number;
  readonly mode: number;
  readonly modifiedAt: number;
  readonly linkTarget?: string;
}

/** A header block as PostgreSQL's own, preceded by a pax header where the name is too long for it. */
export function encodeTarHeader(member: NewTarMember): Buffer {
  const name = member.type === 'directory' ? `${member.name}/` : member.name;
  const facts = [
    ...(Buffer.byteLength(name) > NAME.length ? [paxRecord('path', name)] : []),
    ...(Buffer.byteLength(member.linkTarget ?? '') > LINK_NAME.length
      ? [paxRecord('linkpath', member.linkTarget!)]
      : []),
  ].join('');
  const block = encodeBlock(member, name, { file: '0', directory: '5', symlink: '2' }[member.type]);
  if (facts === '') return block;
  const content = Buffer.from(facts);
  const announced = { ...member, size: content.length };
  return Buffer.concat([encodeBlock(announced, 'pax', 'x'), content, tarPadding(content.length), block]);
}

/** What follows a content of `size` bytes, up to the next block. */
export function tarPadding(size: number): Buffer {
  return TAR_TRAILER.subarray(0, -size & (TAR_BLOCK - 1));
}

/** The record's own length counts the digits of that length too. */
function paxRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  const bytes = Buffer.byteLength(rest);
  let length = bytes + String(bytes).length;
  length = bytes + String(length).length;
  return `${length}${rest}`;
}

function encodeBlock(member: NewTarMember, name: string, flag: string): Buffer {
  const block = Buffer.alloc(TAR_BLOCK);
  Buffer.from(name).copy(block, NAME.at, 0, NAME.length);
  writeOctal(block, MODE, member.mode);
  writeOctal(block, UID, 0);
  writeOctal(block, GID, 0);
  writeSize(block, member.size ?? 0);
  writeOctal(block, MODIFIED, Math.max(0, Math.floor(member.modifiedAt)));
  block.write(flag, FLAG, 'latin1');
  Buffer.from(member.linkTarget ?? '').copy(block, LINK_NAME.at, 0, LINK_NAME.length);
  block.write('ustar\u000000', MAGIC.at, 'latin1');
  block.write('postgres', 265, 'latin1');
  block.write('postgres', 297, 'latin1');
  block.write(`${checksumOf(block).toString(8).padStart(6, '0')}\0 `, CHECKSUM.at, 'latin1');
  return block;
}

function writeOctal(block: Buffer, { at, length }: Field, value: number): void {
  block.write(`${value.toString(8).padStart(length - 1, '0')}\0`, at, 'latin1');
}

function writeSize(block: Buffer, size: number): void {
  if (size < 8 ** 11) {
    writeOctal(block, SIZE, size);
    return;
  }
  block[SIZE.at] = 0x80;
  block.writeBigUInt64BE(BigInt(size), SIZE.at + 4);
}
