import { leadsAsFar } from '../../../lib/domain/base/recovery-instead.ts';
import type { RecoveryTarget } from '../../../lib/domain/base/recovery-target.ts';

const LATEST: RecoveryTarget = { kind: 'latest' };
const TIME: RecoveryTarget = { kind: 'time', time: '2026-01-17T05:00:00.000000Z', inclusive: true };

function plan(target: RecoveryTarget, timeline: number, lsn: bigint): Parameters<typeof leadsAsFar>[0] {
  return { target, timeline, latest: { time: '2026-01-17T09:00:00.000000Z', lsn } };
}

describe('A recovery without incremental backups', () => {
  it.each([
    ['leads to the latest state', LATEST, { timeline: 2, lsn: 500n }, true],
    ['does not where its WAL ends before', LATEST, { timeline: 2, lsn: 499n }, false],
    ['does not on another timeline, however high its positions', LATEST, { timeline: 1, lsn: 900n }, false],
    ['leads to a time on the same timeline', TIME, { timeline: 2, lsn: 400n }, true],
    ['does not on another timeline, which was another state then', TIME, { timeline: 1, lsn: 900n }, false],
    [
      'is never as far as a base backup that is left out',
      { kind: 'immediate' } as const,
      { timeline: 2, lsn: 500n },
      false,
    ],
  ])('%s', (_, target, found, expected) => {
    expect(leadsAsFar(plan(target, found.timeline, found.lsn), plan(target, 2, 500n))).toBe(expected);
  });
});
