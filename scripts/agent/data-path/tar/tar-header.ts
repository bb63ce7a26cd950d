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
const DEVICE_MAJOR = { at: 329, length: 8 };
const DEVICE_MINOR = { at: 337, length: 8 };
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
  /** `latin1`: name and link target are bytes, a character for each. */
  readonly encoding?: 'latin1';
  readonly type: 'file' | 'directory' | 'symlink';
  readonly size?: number;
  readonly mode: number;
  readonly modifiedAt: number;
  /** 0 when left out. */
  readonly uid?: number;
  readonly gid?: number;
  readonly linkTarget?: string;
}

/** A header block as PostgreSQL's own, preceded by a pax header where the name is too long for it. */
export function encodeTarHeader(member: NewTarMember): Buffer {
  const { encoding = 'utf8' } = member;
  const name = Buffer.from(member.type === 'directory' ? `${member.name}/` : member.name, encoding);
  const linkTarget = Buffer.from(member.linkTarget ?? '', encoding);
  const facts = Buffer.concat([
    ...(name.length > NAME.length ? [paxRecord('path', name)] : []),
    ...(linkTarget.length > LINK_NAME.length ? [paxRecord('linkpath', linkTarget)] : []),
  ]);
  const flag = { file: '0', directory: '5', symlink: '2' }[member.type];
  const block = encodeBlock(member, { name, linkTarget, flag });
  if (facts.length === 0) return block;
  const announced = { ...member, size: facts.length };
  const pax = encodeBlock(announced, { name: Buffer.from('pax'), linkTarget, flag: 'x' });
  return Buffer.concat([pax, facts, tarPadding(facts.length), block]);
}

/** What follows a content of `size` bytes, up to the next block. */
export function tarPadding(size: number): Buffer {
  return TAR_TRAILER.subarray(0, -size & (TAR_BLOCK - 1));
}

/** The record's own length counts the digits of that length too. */
function paxRecord(key: string, value: Buffer): Buffer {
  const bytes = ` ${key}=`.length + value.length + '\n'.length;
  let length = bytes + String(bytes).length;
  length = bytes + String(length).length;
  return Buffer.concat([Buffer.from(`${length} ${key}=`), value, Buffer.from('\n')]);
}

interface BlockText {
  readonly name: Buffer;
  readonly linkTarget: Buffer;
  readonly flag: string;
}

function encodeBlock(member: NewTarMember, { name, linkTarget, flag }: BlockText): Buffer {
  const block = Buffer.alloc(TAR_BLOCK);
  name.copy(block, NAME.at, 0, NAME.length);
  writeNumber(block, MODE, member.mode);
  writeNumber(block, UID, member.uid ?? 0);
  writeNumber(block, GID, member.gid ?? 0);
  writeNumber(block, SIZE, member.size ?? 0);
  writeNumber(block, MODIFIED, Math.max(0, Math.floor(member.modifiedAt)));
  block.write(flag, FLAG, 'latin1');
  linkTarget.copy(block, LINK_NAME.at, 0, LINK_NAME.length);
  block.write('ustar\u000000', MAGIC.at, 'latin1');
  block.write('postgres', 265, 'latin1');
  block.write('postgres', 297, 'latin1');
  writeNumber(block, DEVICE_MAJOR, 0);
  writeNumber(block, DEVICE_MINOR, 0);
  writeNumber(block, CHECKSUM, checksumOf(block));
  return block;
}

/** What octal digits have no room for has the highest bit set and is a number to the base of 256. */
function writeNumber(block: Buffer, { at, length }: Field, value: number): void {
  if (value < 8 ** (length - 1)) {
    block.write(`${value.toString(8).padStart(length - 1, '0')} `, at, 'latin1');
    return;
  }
  block[at] = 0x80;
  block.writeUIntBE(value, at + length - 6, 6);
}
