import {
  checkNotSynchronous,
  synchronousStandbyNames,
} from '../../../scripts/agent/replication/synchronous-standby.ts';

describe('The names of synchronous standbys', () => {
  it.each([
    ['', []],
    ['a', ['a']],
    ['a, b', ['a', 'b']],
    ['*', ['*']],
    ['2 (a, b,c)', ['a', 'b', 'c']],
    ['FIRST 1 (a, "B ""c"", d")', ['a', 'B "c", d']],
    ['any 2(a,*)', ['a', '*']],
    ['first', ['first']],
  ])('are read from %j', (setting, names) => {
    expect(synchronousStandbyNames(setting)).toEqual(names);
  });

  it('must not be ours, whatever its case, nor be all', () => {
    for (const setting of ['*', 'ANY 1 (x, *)', 'LIFEBOAT_WAL', '"lifeboat_wal", b']) {
      expect(() => checkNotSynchronous(setting, 'lifeboat_wal')).toThrow(
        expect.objectContaining({ code: 'SYNC_STANDBY' }),
      );
    }
    for (const setting of ['', 'standby_a', 'FIRST 1 (lifeboat_wal_2, b)']) {
      expect(() => checkNotSynchronous(setting, 'lifeboat_wal')).not.toThrow();
    }
  });
});
