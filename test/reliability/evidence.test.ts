import { distribution, judgeLoss } from '../../scripts/reliability/evidence.ts';
import { between, seededRandom } from '../../scripts/reliability/random.ts';

const told = (client: number, times: readonly number[]) =>
  times.map((at, index) => ({ client, n: index + 1, at }));

describe('What a kill cost', () => {
  const commits = [...told(0, [1000, 2000, 3000]), ...told(1, [1500, 2500])];

  it('is nothing where every commit that was told is there', () => {
    const recovered = [
      { client: 0, rows: 3, last: 3 },
      { client: 1, rows: 3, last: 3 },
    ];
    expect(judgeLoss(commits, recovered, 4000)).toEqual({ told: 5, lost: 0, seconds: 0, problems: [] });
  });

  it('is measured from the first commit that is lost to the kill', () => {
    const recovered = [{ client: 0, rows: 2, last: 2 }];
    expect(judgeLoss(commits, recovered, 4000)).toMatchObject({
      told: 5,
      lost: 3,
      seconds: 2.5,
      problems: [],
    });
  });

  it('cannot explain a transaction that is missing before one that is there', () => {
    const recovered = [
      { client: 0, rows: 2, last: 3 },
      { client: 1, rows: 2, last: 2 },
    ];
    expect(judgeLoss(commits, recovered, 4000).problems).toEqual([
      'client 0 has 2 rows, and the last is number 3: not all before it are there',
    ]);
  });

  it('cannot explain more transactions than were asked for', () => {
    const recovered = [{ client: 1, rows: 4, last: 4 }];
    expect(judgeLoss(commits, recovered, 4000).problems).toEqual([
      'client 1 has 4 rows, and asked for 3 at most',
    ]);
  });

  it('is told as a distribution', () => {
    expect(distribution([5, 1, 3])).toEqual({ least: 1, median: 3, most: 5 });
    expect(distribution([4, 2])).toEqual({ least: 2, median: 3, most: 4 });
    expect(() => distribution([])).toThrow(RangeError);
  });
});

describe('A seed', () => {
  it('gives the same numbers again, within what was asked for', () => {
    const [one, other] = [seededRandom(7), seededRandom(7)];
    const numbers = Array.from({ length: 100 }, () => between(one, 3, 5));
    expect(numbers).toEqual(Array.from({ length: 100 }, () => between(other, 3, 5)));
    expect(Math.min(...numbers)).toBeGreaterThanOrEqual(3);
    expect(Math.max(...numbers)).toBeLessThan(5);
    expect(new Set(numbers).size).toBe(100);
  });
});
