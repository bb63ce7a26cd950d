import { countNewlines } from '../../../scripts/agent/data-path/count-newlines.ts';

describe('countNewlines', () => {
  it('agrees with a byte loop at every alignment, on bytes close to a newline too', () => {
    let seed = 7;
    const random = (): number => (seed = (seed * 1103515245 + 12345) & 0x7fffffff) >> 8;
    const bytes = Buffer.from(
      Array.from({ length: 5000 }, () => [10, 11, 9, 0, 138, 255, random() & 255][random() % 7]!),
    );
    for (let round = 0; round < 500; round += 1) {
      const from = random() % 64;
      const to = from + (random() % (bytes.length - from));
      let expected = 0;
      for (let index = from; index < to; index += 1) if (bytes[index] === 10) expected += 1;
      expect(countNewlines(bytes, from, to)).toBe(expected);
    }
  });

  it('does not overflow its lanes on nothing but newlines', () => {
    expect(countNewlines(Buffer.alloc(100_001, 10), 0, 100_001)).toBe(100_001);
  });
});
