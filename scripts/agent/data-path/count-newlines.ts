/**
 * Newlines in `bytes[from, to)`. Four bytes at a time in plain integers: two to three times as fast as a byte loop, and
 * unlike one `indexOf` a line it does not slow down when rows are short. Row counting must cost less than a tenth of a
 * backup, and every byte of the dump comes through here.
 */
export function countNewlines(bytes: Buffer, from: number, to: number): number {
  let count = 0;
  let start = from;
  while (start < to && (bytes.byteOffset + start) % 4 !== 0) {
    if (bytes[start] === NEWLINE) count += 1;
    start += 1;
  }
  const wordCount = (to - start) >> 2;
  // A short range may end before it is aligned; not even an empty view may begin there.
  if (wordCount > 0) count += countInWords(new Int32Array(bytes.buffer, bytes.byteOffset + start, wordCount));
  for (let rest = start + wordCount * 4; rest < to; rest += 1) if (bytes[rest] === NEWLINE) count += 1;
  return count;
}

const NEWLINE = 10;
const FOUR_NEWLINES = 0x0a0a0a0a;
const LOW_BITS = 0x7f7f7f7f;
/** Each of the four byte lanes may count to 255 before it would spill into the next. */
const WORDS_PER_LANE_SUM = 252;

function countInWords(words: Int32Array): number {
  let count = 0;
  let index = 0;
  while (index < words.length) {
    const stop = Math.min(words.length, index + WORDS_PER_LANE_SUM);
    let lanes = 0;
    for (; index < stop; index += 1) {
      // A lane of `different` is zero exactly where the byte is a newline; the sum carries into its top bit otherwise.
      const different = words[index]! ^ FOUR_NEWLINES;
      lanes = (lanes + ((~(((different & LOW_BITS) + LOW_BITS) | different) >>> 7) & 0x01010101)) | 0;
    }
    count += (lanes & 255) + ((lanes >>> 8) & 255) + ((lanes >>> 16) & 255) + (lanes >>> 24);
  }
  return count;
}
