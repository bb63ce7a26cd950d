import { randomBytes } from 'node:crypto';
import {
  CRC32C_START,
  finishCrc32c,
  joinCrc32c,
  updateByTables,
  updateCrc32c,
} from '../../../../scripts/agent/data-path/wal/crc32c.ts';
import { nativeCrc32c } from '../../../../scripts/agent/data-path/wal/native-crc32c.ts';

describe('CRC-32C', () => {
  it('is that of the catalogues of CRCs and of RFC 3720', () => {
    const of = (bytes: Buffer): number => finishCrc32c(updateCrc32c(CRC32C_START, bytes));
    expect(of(Buffer.from('123456789'))).toBe(0xe3069283);
    expect(of(Buffer.alloc(32))).toBe(0x8a9136aa);
    expect(of(Buffer.alloc(32, 0xff))).toBe(0x62a8ab43);
    expect(of(Buffer.alloc(0))).toBe(0);
  });

  // The tests of a machine that has the package must not pass by way of the tables alone.
  it('is reckoned by the processor on the machines that most hosts are', () => {
    expect(nativeCrc32c() !== undefined).toBe(
      process.platform === 'linux' && ['x64', 'arm64'].includes(process.arch),
    );
  });

  it('is the same by tables, whatever is taken in, wherever it begins and however it is cut', () => {
    const bytes = randomBytes(20_000);
    for (const from of [0, 1, 3, 5, 4096]) {
      for (const cut of [from, from + 7, from + 1023, from + 1024, from + 9000]) {
        for (const to of [cut, cut + 1, cut + 2049, bytes.length]) {
          const expected = updateByTables(CRC32C_START, bytes, from, to);
          const whole = updateCrc32c(CRC32C_START, bytes, from, to);
          const inTwo = updateCrc32c(updateCrc32c(CRC32C_START, bytes, from, cut), bytes, cut, to);
          expect([whole, inTwo]).toEqual([expected, expected]);
        }
      }
    }
  });

  it('is had of two stretches from those of each, however long they are', () => {
    const of = (bytes: Buffer): number => finishCrc32c(updateCrc32c(CRC32C_START, bytes));
    const bytes = randomBytes(20_000);
    for (const cut of [0, 1, 2, 7, 4096, 9999, 19_999, 20_000])
      expect(joinCrc32c(of(bytes.subarray(0, cut)), of(bytes.subarray(cut)), 20_000 - cut)).toBe(of(bytes));
    // Zeros that a terabyte needs are joined by halves, in any order.
    let [zeros, length] = [of(Buffer.alloc(1)), 1];
    for (; length < 2 ** 40; length *= 2) zeros = joinCrc32c(zeros, zeros, length);
    const first = of(bytes);
    const half = joinCrc32c(first, of(Buffer.alloc(3)), 3);
    expect(joinCrc32c(half, zeros, length)).toBe(
      joinCrc32c(joinCrc32c(first, zeros, length), of(Buffer.alloc(3)), 3),
    );
  });

  it('takes shared memory too', () => {
    const bytes = randomBytes(5000);
    const shared = Buffer.from(new SharedArrayBuffer(5000));
    bytes.copy(shared);
    expect(updateCrc32c(CRC32C_START, shared)).toBe(updateByTables(CRC32C_START, bytes, 0, 5000));
  });
});
