import { randomBytes, randomInt } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { combineCrc32, encodeCrc32 } from '../../lib/domain/crc32.ts';

describe('CRC-32', () => {
  it('is written as S3 writes it', () => {
    // The check value of CRC-32, from the catalogue of parametrised CRC algorithms.
    expect(encodeCrc32(crc32('123456789'))).toBe('y/Q5Jg==');
    expect(encodeCrc32(0)).toBe('AAAAAA==');
    expect(encodeCrc32(0xffffffff)).toBe('/////w==');
  });

  it('of two pieces gives that of both together, however long they are', () => {
    for (let round = 0; round < 200; round++) {
      const bytes = randomBytes(randomInt(0, 5000));
      const cut = randomInt(0, bytes.length + 1);
      const [a, b] = [bytes.subarray(0, cut), bytes.subarray(cut)];
      expect(combineCrc32(crc32(a), crc32(b), b.length)).toBe(crc32(bytes));
    }
  });

  it('combines pieces longer than 32 bits can count', () => {
    const zeros = Buffer.alloc(1 << 20);
    let length = zeros.length;
    let crc = crc32(zeros);
    // Doubling: 1 MiB of zeros up to 8 GiB of them.
    for (let doubled = 0; doubled < 13; doubled++) {
      crc = combineCrc32(crc, crc, length);
      length *= 2;
    }
    // Once more in one step from 4 GiB + 4 GiB, the other way round.
    let half = crc32(zeros);
    let halfLength = zeros.length;
    for (let doubled = 0; doubled < 12; doubled++) {
      half = combineCrc32(half, half, halfLength);
      halfLength *= 2;
    }
    const withFirst = combineCrc32(combineCrc32(0, half, halfLength), half, halfLength);
    expect(length).toBe(8 * 1024 ** 3);
    expect(withFirst).toBe(crc);
  });
});
