import { SegmentAge } from '../../../../scripts/agent/commands/wal/wal-switch.ts';
import type { Clock } from '../../../../scripts/agent/ports/host.ts';

const MB = 1024n * 1024n;
const SEGMENT = Number(16n * MB);
const HOUR = 60 * 60 * 1000;

describe('The age of the open segment', () => {
  let now = 0;
  const age = (): SegmentAge => new SegmentAge({ monotonic: () => now } as Clock);

  it('is due when a day has passed since its first bytes came, and counts anew with the next one', () => {
    const open = age();
    expect(open.isDue(33n * MB, SEGMENT)).toBe(false);
    now += 23 * HOUR;
    expect(open.isDue(34n * MB, SEGMENT)).toBe(false);
    now += HOUR;
    expect(open.isDue(34n * MB, SEGMENT)).toBe(true);
    // Told once a day: a role that may not switch would be warned every minute.
    expect(open.isDue(34n * MB, SEGMENT)).toBe(false);
    expect(open.isDue(48n * MB, SEGMENT)).toBe(false);
    now += 25 * HOUR;
    // Nothing is in it: there is nothing to switch.
    expect(open.isDue(48n * MB, SEGMENT)).toBe(false);
    expect(open.isDue(49n * MB, SEGMENT)).toBe(true);
  });
});
