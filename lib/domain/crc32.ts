/** CRC-32 (ISO-HDLC, the one of gzip and of S3's `x-amz-checksum-crc32`) beside what node:zlib computes. */

const POLYNOMIAL = 0xedb88320;

/** As S3 writes it: base64 of the four bytes, most significant first. @param crc an unsigned 32-bit number */
export function encodeCrc32(crc: number): string {
  const bytes = [crc >>> 24, (crc >>> 16) & 0xff, (crc >>> 8) & 0xff, crc & 0xff];
  return btoa(String.fromCharCode(...bytes));
}

/**
 * The CRC-32 of `a` followed by `b`, from theirs alone: a zero byte appended to `a` is one multiplication by x^8 modulo
 * the polynomial, so `lengthB` of them are one by x^(8 * lengthB). Spares a second pass over gigabytes of parts.
 * @param lengthB bytes in `b`
 */
export function combineCrc32(crcA: number, crcB: number, lengthB: number): number {
  return (multiply(powerOfX(lengthB * 8), crcA) ^ crcB) >>> 0;
}

// Polynomials over GF(2) in CRC-32's reflected order: bit 31 is x^0.
const ONE = 0x80000000;
const X = 0x40000000;

/** x^exponent modulo the polynomial, by squaring; `exponent` may exceed 32 bits. */
function powerOfX(exponent: number): number {
  let result = ONE;
  let square = X;
  for (let rest = exponent; rest > 0; rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) result = multiply(result, square);
    square = multiply(square, square);
  }
  return result;
}

function multiply(a: number, b: number): number {
  let product = 0;
  let shifted = b;
  for (let bit = ONE; bit !== 0; bit >>>= 1) {
    if ((a & bit) !== 0) product ^= shifted;
    shifted = (shifted & 1) === 0 ? shifted >>> 1 : (shifted >>> 1) ^ POLYNOMIAL;
  }
  return product >>> 0;
}
