import { reserveOf } from '../../../lib/domain/base/disk-reserve.ts';

const GIB = 1024 ** 3;

describe('What a recovery leaves free for a running cluster', () => {
  it.each([
    [8, 2],
    [40, 2],
    [200, 10],
    [400, 20],
    [16_384, 20],
  ])('is, on a disk of %i GiB, %i GiB', (disk, reserve) => {
    expect(reserveOf(disk * GIB)).toBe(reserve * GIB);
  });
});
