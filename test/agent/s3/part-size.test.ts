import { PartBuffers } from '../../../scripts/agent/s3/part-buffers.ts';
import { MAX_PARTS, partSize, partsInFlight } from '../../../scripts/agent/s3/part-size.ts';

const MIB = 1024 ** 2;
const GIB = 1024 ** 3;
const sizes = Array.from({ length: MAX_PARTS }, (_unused, index) => partSize(index + 1));

describe('The size of parts', () => {
  it('begins with 8 MiB and grows by 8 MiB every 800 parts', () => {
    expect([1, 800, 801, 1600, 1601, 4800].map((number) => partSize(number) / MIB)).toEqual([
      8, 8, 16, 16, 24, 48,
    ]);
  });

  it('holds S3’s largest object, 5 TiB, in 10,000 parts', () => {
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBeGreaterThanOrEqual(5 * 1024 * GIB);
  });

  it('stays within what S3 takes for one part, and never shrinks', () => {
    expect(Math.min(...sizes)).toBeGreaterThanOrEqual(5 * MIB);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(5 * GIB);
    expect(sizes).toEqual(sizes.toSorted((a, b) => a - b));
  });

  it('keeps the memory of an upload below 200 MiB up to 130 GiB', () => {
    let total = 0;
    for (const size of sizes) {
      if ((total += size) > 130 * GIB) break;
      expect((partsInFlight(size) + 1) * size).toBeLessThanOrEqual(200 * MIB);
    }
  });

  it('sends three parts at once while they are small, and one at least', () => {
    expect(partsInFlight(8 * MIB)).toBe(3);
    expect(partsInFlight(48 * MIB)).toBe(2);
    expect(partsInFlight(GIB)).toBe(1);
  });
});

describe('The buffers of parts', () => {
  it('go round', () => {
    const buffers = new PartBuffers();
    const first = buffers.take(100);
    const second = buffers.take(100);
    expect(second).not.toBe(first);
    buffers.giveBack(first);
    expect(buffers.take(100)).toBe(first);
  });

  it('are dropped when they have become too small', () => {
    const buffers = new PartBuffers();
    buffers.giveBack(buffers.take(100));
    expect(buffers.take(200)).toHaveLength(200);
    expect(buffers.take(100)).toHaveLength(100);
  });
});
