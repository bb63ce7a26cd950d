import type { Lsn } from '../../../../lib/domain/wal/lsn.ts';

/**
 * PostgreSQL's checksum of data pages: thirty-two FNV-1a hashes side by side over the page's 32-bit words
 * (src/include/storage/checksum_impl.h). Little-endian machines only, as are all that PostgreSQL is packaged for.
 */

export const PAGE_SIZE = 8192;

const WORDS = PAGE_SIZE / 4;
const COLUMNS = 32;
const FNV_PRIME = 16_777_619;
/** pd_checksum is the lower half of this word, the third column's first. */
const CHECKSUM_WORD = 2;
/** pd_upper is the upper half of this one; 0 on pages that were never used. */
const UPPER_WORD = 3;

const BASE_OFFSETS = Int32Array.from([
  0x5b1f36e9, 0xb8525960, 0x02ab50aa, 0x1de66d2a, 0x79ff467a, 0x9bb9f8a3, 0x217e7cd2, 0x83e13d2c, 0xf8d4474f,
  0xe39eb970, 0x42c6ae16, 0x993216fa, 0x7b093b5d, 0x98daff3c, 0xf718902a, 0x0b1c9cdb, 0xe58f764b, 0x187636bc,
  0x5d7b3bb1, 0xe73de7de, 0x92bec979, 0xcca6c0b2, 0x304a0979, 0x85aa43d4, 0x783125bb, 0x6ca8eaa2, 0xe407eac6,
  0x4b5cfc3e, 0x9fbf8c76, 0x15ca20be, 0xf2ca9fd3, 0x959bd756,
]);

/** See `PageMemory`, of which this is the slow way: a quarter as fast as page-check.wat. */
export function unsoundPages(bytes: Buffer, firstBlock: number, start: Lsn): number[] {
  // Words are read four bytes at a time, which memory allows at multiples of four only.
  const { buffer, byteOffset } =
    (bytes.byteOffset & 3) === 0 ? bytes : Buffer.from(new Uint8Array(bytes).buffer);
  const pages = Math.floor(bytes.length / PAGE_SIZE);
  const words = new Int32Array(buffer, byteOffset, pages * WORDS);
  const limit = { upper: Number(start >> 32n), lower: Number(start & 0xffff_ffffn) };
  const found: number[] = [];
  for (let page = 0; page < pages; page += 1) {
    const at = page * WORDS;
    if (!passes(words, at, limit) && !matches(words, at, firstBlock + page)) found.push(firstBlock + page);
  }
  return found;
}

/** Pages that were never used have no checksum, and those that changed since the start are replayed from the WAL. */
function passes(words: Int32Array, page: number, start: { upper: number; lower: number }): boolean {
  if (words[page + UPPER_WORD]! >>> 16 === 0) return true;
  // pd_lsn: its upper half first.
  const upper = words[page]! >>> 0;
  return upper > start.upper || (upper === start.upper && words[page + 1]! >>> 0 >= start.lower);
}

function matches(words: Int32Array, page: number, block: number): boolean {
  return pageChecksum(words, page, block) === (words[page + CHECKSUM_WORD]! & 0xffff);
}

/** Four columns at a time: their multiplications do not wait for one another, and their sums stay in registers. */
function pageChecksum(words: Int32Array, page: number, block: number): number {
  let result = block;
  for (let column = 0; column < COLUMNS; column += 4) {
    // The checksum itself counts as zero.
    const own = column === 0 ? words[page + CHECKSUM_WORD]! & 0xffff : 0;
    let a = mix(BASE_OFFSETS[column]!, words[page + column]!);
    let b = mix(BASE_OFFSETS[column + 1]!, words[page + column + 1]!);
    let c = mix(BASE_OFFSETS[column + 2]!, words[page + column + 2]! ^ own);
    let d = mix(BASE_OFFSETS[column + 3]!, words[page + column + 3]!);
    for (let at = page + column + COLUMNS; at < page + WORDS; at += COLUMNS) {
      a = mix(a, words[at]!);
      b = mix(b, words[at + 1]!);
      c = mix(c, words[at + 2]!);
      d = mix(d, words[at + 3]!);
    }
    result ^= mix(mix(a, 0), 0) ^ mix(mix(b, 0), 0) ^ mix(mix(c, 0), 0) ^ mix(mix(d, 0), 0);
  }
  return ((result >>> 0) % 65_535) + 1;
}

function mix(sum: number, word: number): number {
  const mixed = sum ^ word;
  return Math.imul(mixed, FNV_PRIME) ^ (mixed >>> 17);
}
