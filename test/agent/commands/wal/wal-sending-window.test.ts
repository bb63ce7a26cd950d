import { SendingWindow } from '../../../../scripts/agent/commands/wal/wal-sending-window.ts';

interface Ground {
  readonly window: SendingWindow;
  /** What was let in, in order. */
  readonly inside: string[];
  readonly enter: (name: string, size: number, turn?: number) => Promise<void>;
}

function ground(bytes: number, ahead = 100): Ground {
  const window = new SendingWindow({ bytes, ahead });
  const inside: string[] = [];
  const enter = async (name: string, size: number, turn = window.announce()): Promise<void> => {
    await window.enter(turn, size);
    inside.push(name);
  };
  return { window, inside, enter };
}

const settle = (): Promise<void> => new Promise(setImmediate);

describe('The window of what is on its way to S3', () => {
  it('lets in what fits, in order, and two things always', async () => {
    const { window, inside, enter } = ground(10);
    const entered = Promise.all([
      enter('larger than all', 50),
      enter('another', 60),
      enter('does not fit beside them', 5),
      enter('has to wait its turn', 1),
      enter('fits later', 9),
    ]);
    await settle();
    expect(inside).toEqual(['larger than all', 'another']);
    window.leave(0, 50);
    await settle();
    expect(inside.slice(2)).toEqual(['does not fit beside them']);
    window.leave(1, 60);
    await settle();
    expect(inside.slice(3)).toEqual(['has to wait its turn']);
    window.leave(2, 5);
    await entered;
    expect(inside.slice(4)).toEqual(['fits later']);
  });

  it('lets nothing further ahead of what has not arrived than the limit, whatever else arrived meanwhile', async () => {
    const { window, inside, enter } = ground(1000, 4);
    const turns = Array.from({ length: 20 }, () => window.announce());
    const entered = turns.slice(1).map((turn) => enter(String(turn), 1, turn));
    await settle();
    expect(inside).toEqual(['1', '2', '3']);
    for (const turn of [1, 2, 3]) window.leave(turn, 1);
    await settle();
    expect(inside).toHaveLength(3);
    // The first was packed last of all.
    await enter('0', 1, 0);
    window.leave(0, 1);
    await settle();
    expect(inside.slice(3)).toEqual(['0', '4', '5', '6', '7']);
    window.close();
    await Promise.all(entered);
  });

  it('keeps nobody waiting once it is closed', async () => {
    const { window, inside, enter } = ground(1, 1);
    window.announce();
    const waiting = enter('waits', 1);
    await settle();
    expect(inside).toEqual([]);
    window.close();
    await waiting;
    await enter('comes later', 1);
    expect(inside).toEqual(['waits', 'comes later']);
  });
});
