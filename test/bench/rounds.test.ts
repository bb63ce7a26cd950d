import { runRounds } from '../../scripts/bench/rounds.ts';

describe('the rounds', () => {
  it('alternate: each runs every contender once, each begins with another, and each contender gets its own runs', async () => {
    const order: string[] = [];
    let clock = 0;
    const contenders = ['a', 'b', 'c'].map((id) => ({
      id,
      label: `the ${id}`,
      run: () => Promise.resolve({ seconds: (clock += 1), cpuSeconds: 0 }),
    }));
    const results = await runRounds(contenders, 2, (round, { id }) => order.push(`${id}${round}`));
    expect(order).toEqual(['a1', 'b1', 'c1', 'b2', 'c2', 'a2']);
    expect(results.get('b')).toEqual({
      label: 'the b',
      runs: [
        { seconds: 2, cpuSeconds: 0 },
        { seconds: 4, cpuSeconds: 0 },
      ],
    });
  });

  it('end with the first run that fails', async () => {
    const run = jest.fn().mockRejectedValue(new Error('out of order'));
    await expect(runRounds([{ id: 'a', label: 'a', run }], 3, () => undefined)).rejects.toThrow(
      'out of order',
    );
    expect(run).toHaveBeenCalledTimes(1);
  });
});
