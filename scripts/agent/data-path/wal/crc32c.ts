import { nativeCrc32c } from './native-crc32c.ts';

/**
 * CRC-32C (Castagnoli), PostgreSQL's checksum of WAL records and of backup manifests; node:zlib has only the other CRC-32.
 * Native where there is such a program; else slicing by sixteen: sixteen bytes a round from sixteen tables, whose look-ups
 * do not wait for one another. Little-endian machines only, as are all that PostgreSQL is packaged for.
 */

const REVERSED_POLYNOMIAL = 0x82f63b78;
const SLICES = 16;
/** Below, the call itself would take longer. */
const WORTH_A_CALL = 1024;
/** All the tables in one array: the optimiser then checks one length and keeps one base address. */
const TABLES = makeTables();

export const CRC32C_START = 0xffffffff | 0;
const X_TO_THE_EIGHTH = 1 << 23;

function makeTables(): Int32Array {
  const tables = new Int32Array(SLICES * 256);
  for (let byte = 0; byte < 256; byte += 1) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit += 1)
      crc = (crc & 1) === 0 ? crc >>> 1 : (crc >>> 1) ^ REVERSED_POLYNOMIAL;
    tables[byte] = crc;
  }
  for (let index = 256; index < tables.length; index += 1) {
    const before = tables[index - 256]!;
    tables[index] = (before >>> 8) ^ tables[before & 0xff]!;
  }
  return tables;
}

/**
 * Takes bytes `[from, to)` into a running checksum.
 * @param state CRC32C_START, or what an earlier call returned
 */
export function updateCrc32c(state: number, bytes: Buffer, from = 0, to = bytes.length): number {
  const native = to - from >= WORTH_A_CALL ? nativeCrc32c() : undefined;
  // It takes and gives what `finishCrc32c` does.
  if (native) return ~native(bytes.subarray(from, to), ~state >>> 0);
  return updateByTables(state, bytes, from, to);
}

/** The same without the native one. */
export function updateByTables(state: number, bytes: Buffer, from: number, to: number): number {
  const firstWord = from + ((4 - ((bytes.byteOffset + from) & 3)) & 3);
  if (to - firstWord < 16) return updateBytewise(state, bytes, from, to);
  const head = updateBytewise(state, bytes, from, firstWord);
  const rounds = (to - firstWord) >>> 4;
  const words = new Int32Array(bytes.buffer, bytes.byteOffset + firstWord, rounds * 4);
  return updateBytewise(updateWords(head, words), bytes, firstWord + rounds * 16, to);
}

/** @returns the checksum as an unsigned 32-bit number */
export function finishCrc32c(state: number): number {
  return ~state >>> 0;
}

/**
 * The checksum of two stretches together, from each one's own: the first is multiplied by x to the power of the second's bits,
 * modulo the polynomial.
 * @param first finished, as is `second`
 * @param length bytes of the second
 * @returns as `finishCrc32c`
 */
export function joinCrc32c(first: number, second: number, length: number): number {
  let shifted = first;
  let power = X_TO_THE_EIGHTH;
  for (let rest = length; rest > 0; rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) shifted = multiply(power, shifted);
    power = multiply(power, power);
  }
  return (shifted ^ second) >>> 0;
}

/** Of polynomials, modulo CRC-32C's; the highest bit is x to the power of 0. */
function multiply(a: number, b: number): number {
  let product = 0;
  let shifted = b;
  for (let bit = 31; bit >= 0; bit -= 1) {
    if (((a >>> bit) & 1) === 1) product ^= shifted;
    shifted = (shifted & 1) === 0 ? shifted >>> 1 : (shifted >>> 1) ^ REVERSED_POLYNOMIAL;
  }
  return product;
}

function updateBytewise(state: number, bytes: Buffer, from: number, to: number): number {
  let crc = state;
  for (let at = from; at < to; at += 1) crc = (crc >>> 8) ^ TABLES[(crc ^ bytes[at]!) & 0xff]!;
  return crc;
}

function updateWords(state: number, words: Int32Array): number {
  const tables = TABLES;
  let crc = state;
  for (let at = 0; at < words.length; at += 4) {
    const a = crc ^ words[at]!;
    const b = words[at + 1]!;
    const c = words[at + 2]!;
    const d = words[at + 3]!;
    crc =
      tables[3840 + (a & 0xff)]! ^
      tables[3584 + ((a >>> 8) & 0xff)]! ^
      tables[3328 + ((a >>> 16) & 0xff)]! ^
      tables[3072 + (a >>> 24)]! ^
      tables[2816 + (b & 0xff)]! ^
      tables[2560 + ((b >>> 8) & 0xff)]! ^
      tables[2304 + ((b >>> 16) & 0xff)]! ^
      tables[2048 + (b >>> 24)]! ^
      tables[1792 + (c & 0xff)]! ^
      tables[1536 + ((c >>> 8) & 0xff)]! ^
      tables[1280 + ((c >>> 16) & 0xff)]! ^
      tables[1024 + (c >>> 24)]! ^
      tables[768 + (d & 0xff)]! ^
      tables[512 + ((d >>> 8) & 0xff)]! ^
      tables[256 + ((d >>> 16) & 0xff)]! ^
      tables[d >>> 24]!;
  }
  return crc;
}
