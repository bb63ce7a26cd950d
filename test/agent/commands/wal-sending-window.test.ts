import { SendingWindow } from '../../../scripts/agent/commands/wal-sending-window.ts';

describe('The window of what is on its way to S3', () => {
  it('lets in what fits, in order, and one thing always', async () => {
    const window = new SendingWindow(10);
    const inside: string[] = [];
    const enter = async (name: string, size: number): Promise<void> => {
      await window.enter(size);
      inside.push(name);
    };
    const settled = Promise.all([
      enter('larger than all', 50),
      enter('first', 6),
      enter('does not fit beside it', 5),
      enter('has to wait its turn', 1),
    ]);
    await new Promise(setImmediate);
    expect(inside).toEqual(['larger than all']);
    window.leave(50);
    await new Promise(setImmediate);
    expect(inside.slice(1)).toEqual(['first']);
    window.leave(6);
    await settled;
    expect(inside.slice(2)).toEqual(['does not fit beside it', 'has to wait its turn']);
  });
});
