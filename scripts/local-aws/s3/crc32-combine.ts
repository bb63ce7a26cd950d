/**
 * CRC-32 of A‖B from the CRCs of A and B and the length of B, without reading either: appending a zero byte is a linear
 * map over GF(2), so appending n of them is that map squared and multiplied, as in zlib's crc32_combine.
 */

/** 32 columns: what the map makes of each single bit. */
type Matrix = readonly number[];

/** The reflected polynomial of CRC-32. */
const POLYNOMIAL = 0xedb88320;

function times(matrix: Matrix, vector: number): number {
  let sum = 0;
  for (let bit = 0, rest = vector >>> 0; rest !== 0; bit += 1, rest >>>= 1)
    if (rest & 1) sum ^= matrix[bit] ?? 0;
  return sum >>> 0;
}

const square = (matrix: Matrix): Matrix => matrix.map((column) => times(matrix, column));

const oneZeroBit: Matrix = [POLYNOMIAL, ...Array.from({ length: 31 }, (_, bit) => 2 ** bit)];
const oneZeroByte: Matrix = square(square(square(oneZeroBit)));

/** @param length of the second part, in bytes. */
export function combineCrc32(first: number, second: number, length: number): number {
  let value = first;
  let matrix = oneZeroByte;
  for (let rest = length; rest > 0; rest = Math.floor(rest / 2), matrix = square(matrix))
    if (rest % 2 === 1) value = times(matrix, value);
  return (value ^ second) >>> 0;
}
