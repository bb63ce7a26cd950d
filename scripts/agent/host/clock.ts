import { setTimeout as delay } from 'node:timers/promises';
import type { Clock } from '../ports/host.ts';

export const systemClock: Clock = {
  now: () => new Date(),
  monotonic: () => performance.now(),
  sleep: async (milliseconds) => {
    await delay(milliseconds);
  },
};
