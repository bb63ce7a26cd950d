import { randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { combineCrc32 } from '../../../scripts/local-aws/s3/crc32-combine.ts';

test.each([
  [0, 0],
  [0, 5],
  [5, 0],
  [1, 1],
  [1000, 65_537],
  [123_456, 3],
])('the CRC-32 of %d and %d bytes together follows from the two', (first, second) => {
  const a = randomBytes(first);
  const b = randomBytes(second);
  expect(combineCrc32(crc32(a), crc32(b), b.length)).toBe(crc32(Buffer.concat([a, b])));
});
