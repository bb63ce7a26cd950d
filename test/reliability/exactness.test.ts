import { EXACT } from '../../scripts/reliability/exactness.ts';
import { isTelling } from '../../scripts/reliability/exactness/instants.ts';
import {
  inversions,
  replayedByTime,
  type TransactionRecord,
} from '../../scripts/reliability/exactness/wal-truth.ts';
import { seededRandom } from '../../scripts/reliability/random.ts';

describe('What a recovery to a time must hold', () => {
  const at = (second: number, kind: TransactionRecord['kind'] = 'commit'): TransactionRecord => ({
    lsn: 0n,
    xid: 0,
    gid: '',
    kind,
    time: `2026-01-17T08:54:0${second}.000000Z`,
  });

  it('goes by the order of the WAL, not by the times in it', () => {
    const records = [at(1), at(3), at(2), at(4)];
    expect(replayedByTime(records, at(2).time)).toBe(1);
    expect(replayedByTime(records, at(3).time)).toBe(3);
    expect(replayedByTime(records, at(3).time, false)).toBe(1);
    expect(replayedByTime(records, at(5).time)).toBe(4);
    expect(inversions(records)).toEqual([at(2)]);
    expect([1, 2, 3].map((second) => isTelling(records, at(second).time))).toEqual([false, true, false]);
  });

  it('ends at a rollback that is later as well, never at a preparation', () => {
    expect(replayedByTime([at(1), at(3, 'prepare'), at(2), at(3, 'abort'), at(2)], at(2).time)).toBe(3);
  });
});

/** `npm run reliability -- exact` is the long form. */
describe('A recovery', () => {
  it('has exactly the transactions that come before its target in the WAL, on both of two timelines', async () => {
    const seed = Date.now() % 1_000_000;
    const said: string[] = [];
    const { failures } = await EXACT.run({
      short: true,
      random: seededRandom(seed),
      signal: new AbortController().signal,
      say: (line) => said.push(line),
    });
    expect({ seed, failures, said }).toEqual({ seed, failures: [], said });
  });
});
