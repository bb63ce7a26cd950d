import { median, medianRatio } from '../../scripts/bench/statistics.ts';

describe('the median', () => {
  it('is the middle of an odd number of values, whatever their order', () => {
    expect(median([9, 1, 5])).toBe(5);
    expect(median([4])).toBe(4);
  });

  it('is the mean of the two middle ones of an even number', () => {
    expect(median([10, 2, 4, 8])).toBe(6);
  });

  it('leaves the values that it was given in their order', () => {
    const values = [3, 1, 2];
    median(values);
    expect(values).toEqual([3, 1, 2]);
  });

  it('of nothing is an error, not a number', () => {
    expect(() => median([])).toThrow(RangeError);
  });
});

describe('the ratio of two contenders', () => {
  it('is the median of the rounds’ own ratios, so that a round in which the machine was slow counts once', () => {
    expect(medianRatio([5, 20, 4], [10, 40, 10])).toBe(0.5);
  });

  it('is not the ratio of the medians', () => {
    const values = [1, 10, 3];
    const baseline = [10, 10, 2];
    expect(median(values) / median(baseline)).toBe(0.3);
    expect(medianRatio(values, baseline)).toBe(1);
  });

  it('needs both in every round', () => {
    expect(() => medianRatio([1, 2], [1])).toThrow('2 rounds against 1');
  });
});
