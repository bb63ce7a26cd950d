import type { Base } from '../../../lib/domain/base/base-catalog.ts';
import { decideBaseRetention, decideWithVerdicts } from '../../../lib/domain/base/base-floor.ts';
import { DAY_MS, sampleBase, sampleIncrement, storedBases } from './sample-base.ts';

const START = new Date('2026-01-04T02:00:00Z');
const day = (days: number): Date => new Date(START.getTime() + days * DAY_MS);
const labelsOf = (bases: readonly Base[], now: Date, days = 7): string[] =>
  decideBaseRetention(bases, [], { days, now }).flatMap(({ base, expire }) => (expire ? [base.label] : []));

describe('Retention of base backups without WAL', () => {
  it('lets go of what is old enough once a newer one stands', () => {
    const bases = storedBases([8, 1, 0].map((each) => sampleBase(day(each))));
    expect(labelsOf(bases, day(8.5))).toEqual([bases[1]!.label, bases[2]!.label]);
    expect(labelsOf(bases, day(7.5))).toEqual([bases[2]!.label]);
    expect(labelsOf(bases, day(6))).toEqual([]);
  });

  it('never lets go of the newest good one, however old', () => {
    expect(labelsOf(storedBases([sampleBase(day(0))]), day(900))).toEqual([]);
    expect(labelsOf([], day(900))).toEqual([]);
  });

  it('keeps what a younger one is built upon', () => {
    const full = sampleBase(day(0));
    const first = sampleIncrement(day(1), full);
    const second = sampleIncrement(day(2), first);
    const next = sampleBase(day(7));
    const bases = storedBases([next, second, first, full]);
    expect(labelsOf(bases, day(8.5))).toEqual([]);
    expect(labelsOf(bases, day(9.5))).toEqual([second.label, first.label, full.label]);
    expect(labelsOf(storedBases([second, first, full]), day(900))).toEqual([]);
  });

  it('makes no place for one that holds damaged pages, nor for one whose chain is broken', () => {
    const good = sampleBase(day(0));
    const damaged = sampleBase(day(8), { pageChecksums: { verified: false, failures: 3 } });
    const orphan = sampleIncrement(day(9), sampleBase(day(7)));
    expect(labelsOf(storedBases([orphan, damaged, good]), day(900))).toEqual([]);
    expect(labelsOf(storedBases([sampleBase(day(20)), orphan, damaged, good]), day(40))).toHaveLength(3);
  });

  it('takes none from the future for a newer one, and lets what has no manifest go like the others', () => {
    const good = sampleBase(day(0));
    expect(labelsOf(storedBases([sampleBase(day(5000)), good]), day(30))).toEqual([]);
    const unfinished = sampleBase(day(-50));
    const bases = storedBases([good, unfinished], [`${unfinished.label}/manifest.json`]);
    expect(labelsOf(bases, day(30))).toEqual([unfinished.label]);
    expect(labelsOf(bases, day(-46))).toEqual([]);
  });

  it('lets go of no good one in favour of one that a verification found damaged, nor of more than without its word', () => {
    const listed = storedBases([8, 1, 0].map((each) => sampleBase(day(each))));
    const [newest, second, first] = listed.map(({ label }) => label) as [string, string, string];
    const gone = (...damaged: string[]): string[] => {
      const verified = listed.map((base): Base => {
        return damaged.includes(base.label) ? { ...base, state: 'damaged', why: 'a bit', chain: [] } : base;
      });
      const decisions = decideWithVerdicts({ listed, verified }, [], { days: 7, now: day(8.5) });
      return decisions.flatMap(({ base, expire }) => (expire ? [base.label] : []));
    };
    expect(gone()).toEqual([second, first]);
    expect(gone(newest)).toEqual([first]);
    expect(gone(second)).toEqual([second, first]);
    expect(gone(newest, second)).toEqual([]);
    expect(gone(newest, second, first)).toEqual([]);
  });

  it('goes by the recorded time across clusters, whose labels and timelines begin anew', () => {
    const before = sampleBase(day(0), { startTimeline: 9, stopTimeline: 9 });
    const upgraded = sampleBase(day(8), { server: { ...before.server, systemIdentifier: '42' } });
    expect(labelsOf(storedBases([upgraded, before]), day(9))).toEqual([before.label]);
  });
});
