import { walOnDisk } from '../../../lib/domain/base/wal-room.ts';

const GIB = 2 ** 30;

describe('The room for WAL on the disk of a recovery', () => {
  it.each([
    ['64GB', 66.25 * GIB],
    ['512MB', 2.75 * GIB],
    ['65536kB', 2.25 * GIB + 2 ** 26],
    ['1TB', 1026.25 * GIB],
  ])(
    'grows with how far apart the source’s checkpoints may be, with what lies ready beside it: max_wal_size = %s',
    (size, expected) => {
      expect(walOnDisk({ settings: { max_wal_size: size } }, 2 ** 50)).toBe(expected);
    },
  );

  it.each([{}, { max_wal_size: 'plenty' }])(
    'is that of PostgreSQL’s default where %j is recorded',
    (settings) => {
      expect(walOnDisk({ settings: settings as Record<string, string> }, 2 ** 50)).toBe(3.25 * GIB);
    },
  );

  it('is no more than there is to replay', () => {
    expect(walOnDisk({ settings: { max_wal_size: '64GB' } }, 80)).toBe(80);
  });
});
