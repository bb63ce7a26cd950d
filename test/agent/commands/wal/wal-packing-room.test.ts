import { PackingRoom, type PackingPlace } from '../../../../scripts/agent/commands/wal/wal-packing-room.ts';

const settled = (): Promise<void> => new Promise(setImmediate);

function enterAll(room: PackingRoom, count: number): PackingPlace[] {
  const inside: PackingPlace[] = [];
  for (let index = 0; index < count; index += 1) void room.enter().then((place) => inside.push(place));
  return inside;
}

describe('The room of packed segments', () => {
  it('takes the next to turn out as large as the last one did, and lets them in in their order', async () => {
    const room = new PackingRoom(40, 16);
    const inside = enterAll(room, 5);
    await settled();
    expect(inside).toHaveLength(2);
    inside[0]!.fit(5);
    await settled();
    // 5 and 16, and three more of 5 each.
    expect(inside).toHaveLength(5);
    const more = enterAll(room, 1);
    inside[1]!.fit(16);
    await settled();
    expect(more).toHaveLength(0);
    inside[0]!.leave();
    await settled();
    expect(more).toHaveLength(0);
    inside[1]!.leave();
    await settled();
    expect(more).toHaveLength(1);
  });

  it('has room for one, however large, and for all once nobody waits for anything', async () => {
    const room = new PackingRoom(40, 64);
    const inside = enterAll(room, 3);
    await settled();
    expect(inside).toHaveLength(1);
    inside[0]!.fit(64);
    inside[0]!.leave();
    await settled();
    expect(inside).toHaveLength(2);
    room.close();
    await settled();
    expect(inside).toHaveLength(3);
  });
});
