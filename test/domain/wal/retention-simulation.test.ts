import { isUsable } from '../../../lib/domain/base/base-catalog.ts';
import { formatPgTime, pgTimeOfDate } from '../../../lib/domain/wal/pg-time.ts';
import { decidePitrRetention } from '../../../lib/domain/wal/wal-retention.ts';
import { DAY_US, liveOn, PitrModel } from './pitr-model.ts';

/**
 * Four months of clusters that crash, fail over, are recovered to the past and lose slots, with the retention's verdicts
 * carried out every day: what could be recovered of the kept days always still can be.
 */
const DAYS = 10;
const SEEDS = Array.from({ length: 16 }, (_, index) => index + 1);
const MONTHS_IN_DAYS = 120;

/** Instants of the last days that can be recovered: by timeline, the units of their commits. */
function recoverable(model: PitrModel): Set<string> {
  const since = model.now - BigInt(DAYS) * DAY_US;
  const found = new Set<string>();
  for (const [number, units] of model.restorable()) {
    const timeline = model.timelines[number - 1]!;
    for (const unit of units) {
      const time = model.commitTime(timeline, unit);
      if (time !== undefined && time >= since) found.add(`${number}/${unit}`);
    }
  }
  return found;
}

function applyRetention(model: PitrModel): number {
  const others = [...model.stored.values()].filter(({ key }) => key.startsWith('holes/'));
  const { objects } = decidePitrRetention(
    { bases: model.bases(), archives: [model.archive()], others },
    { days: DAYS, now: model.date },
  );
  const expired = objects.filter(({ expire }) => expire);
  for (const { key } of expired) {
    model.stored.delete(key);
    model.manifests.delete(key);
  }
  return expired.length;
}

describe('The retention of point-in-time recovery', () => {
  it.each(SEEDS)('with seed %d never takes an instant of the kept days, and does take the rest', (seed) => {
    const model = new PitrModel(seed);
    const trouble = [0, 0.03, 0.08][seed % 3]!;
    const weekly = seed % 2 === 0;
    let removed = 0;
    for (let each = 0; each < MONTHS_IN_DAYS; each += 1) {
      for (const hours of [8, 8, 8]) liveOn(model, { hours, trouble });
      if (model.chance() < 0.8) model.base(weekly && each % 7 !== 0);
      const before = recoverable(model);
      const usable = model.bases().filter(isUsable);
      removed += applyRetention(model);
      const after = recoverable(model);
      expect([...before].filter((instant) => !after.has(instant))).toEqual([]);
      checkWhatStays(
        model,
        usable.map(({ label }) => label),
      );
    }
    expect(removed).toBeGreaterThan(100);
    // A week's chain at most is older than the kept days; WAL goes with the base backups that need it.
    expect(model.bases().length).toBeLessThan(2 * DAYS + 10 * model.timelines.length);
  });
});

/** What stays is whole, and the newest of it is what it was. */
function checkWhatStays(model: PitrModel, usableBefore: readonly string[]): void {
  const bases = model.bases();
  expect(bases.filter(({ state }) => state !== 'usable')).toEqual([]);
  expect(bases[0]?.label).toBe(usableBefore[0]);
  const young = usableBefore.filter((label) => {
    const manifest = bases.find((base) => base.label === label)?.manifest;
    return (
      manifest &&
      formatPgTime(pgTimeOfDate(new Date(manifest.finishedAt))) >=
        formatPgTime(model.now - BigInt(DAYS) * DAY_US)
    );
  });
  expect(young.every((label) => bases.some((base) => base.label === label))).toBe(true);
}
