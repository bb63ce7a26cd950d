import { planRecovery, type RecoveryPlan } from '../../../lib/domain/base/recovery-plan.ts';
import type { RecoveryTarget } from '../../../lib/domain/base/recovery-target.ts';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import { followWal, pathOf, timelinesOf } from '../../../lib/domain/wal/archive.ts';
import { parseLsn } from '../../../lib/domain/wal/lsn.ts';
import { formatPgTime, parsePgTime } from '../../../lib/domain/wal/pg-time.ts';
import { endOfWal, WalTail } from '../../../lib/domain/wal/wal-tail.ts';
import {
  restorableWindow,
  type RestorableStretch,
  type RestorableTimeline,
  type RestorableWindow,
} from '../../../lib/domain/wal/window.ts';
import { commitEnd, liveOn, lsnOf, PitrModel, unitOf } from './pitr-model.ts';

/**
 * Clusters that crash, fail over, are recovered to the past and lose their slots, with base backups now and then: the
 * window against what the model knows can be recovered, and plans by carrying them out.
 */
const SEEDS = Array.from({ length: 40 }, (_, index) => index + 1);

/** @param undone how often an older timeline is gone back to, which then goes on */
function grow(seed: number, undone = 0): PitrModel {
  const model = new PitrModel(seed);
  model.write(3, 60_000_000n);
  if (undone > 0) model.base(false);
  const trouble = [0, 0.05, 0.15, 0.3][seed % 4]!;
  for (let step = 0; step < 60; step += 1) {
    liveOn(model, { hours: 3, trouble });
    if (model.chance() < 0.08) model.base(model.chance() < 0.5);
    if (undone > 0 && model.chance() < undone)
      model.live = model.timelines[model.upTo(model.timelines.length)]!;
  }
  return model;
}

function windowOf(model: PitrModel): RestorableWindow {
  return restorableWindow({ archive: model.archive(), bases: model.bases(), commits: model.commits });
}

function hasUnit({ earliest, walEnd }: RestorableStretch, unit: number): boolean {
  return unitOf(earliest.lsn) - 1 <= unit && lsnOf(unit + 1) <= walEnd;
}

describe('The restorable window of a random cluster', () => {
  it.each(SEEDS)('with seed %d is exactly what can be recovered, on every timeline', (seed) => {
    const model = grow(seed);
    const window = windowOf(model);
    for (const [number, units] of model.restorable()) {
      const line = window.timelines.find(({ timeline }) => timeline === number);
      const { end } = model.timelines[number - 1]!;
      const claimed = Array.from({ length: end }, (_, unit) => unit).filter((unit) =>
        line?.stretches.some((stretch) => hasUnit(stretch, unit)),
      );
      expect({ number, units: claimed }).toEqual({
        number,
        units: [...units].toSorted((one, other) => one - other),
      });
    }
  });

  it.each(SEEDS)(
    'with seed %d ends with a commit that S3 has, and tells a hole between any two stretches',
    (seed) => {
      const model = grow(seed);
      const window = windowOf(model);
      for (const line of window.timelines) {
        for (const stretch of line.stretches) checkEnd(model, line, stretch);
        for (const [index, { walEnd }] of line.stretches.slice(0, -1).entries()) {
          const next = line.stretches[index + 1]!;
          const hole = window.holes.find(({ from }) => from === walEnd)!;
          expect(hole.to! > walEnd && hole.to! <= next.earliest.lsn).toBe(true);
          expect(hole.until! <= next.earliest.time).toBe(true);
        }
      }
      const starts = window.timelines.map(({ earliest }) => earliest.time).toSorted();
      expect(window.earliest?.time).toBe(starts[0]);
    },
  );

  it.each(SEEDS)('with seed %d has the end to which its WAL leads, by counting as by following', (seed) => {
    const archive = grow(seed).archive();
    for (const timeline of timelinesOf(archive)) {
      const path = pathOf(archive, timeline);
      for (let unit = 0; unit < 300; unit += 11) {
        const from = lsnOf(unit);
        const files = [...followWal(archive, path, from)];
        const end = endOfWal(archive, path, from);
        expect(end).toBe(files.at(-1)?.end ?? from);
        expect([...new WalTail(archive, path, from, end)].toReversed()).toEqual(files);
      }
    }
  });
});

describe('WAL of a cluster that went back to older timelines', () => {
  it.each(SEEDS)('with seed %d is claimed no farther than S3 holds it', (seed) => {
    const model = grow(seed, 0.3);
    for (const archive of [model.archive(), model.archive({ asked: false })]) {
      for (const timeline of timelinesOf(archive)) {
        for (let unit = 0; unit < 300; unit += 11) {
          for (const { end, files } of followWal(archive, pathOf(archive, timeline), lsnOf(unit))) {
            const lasts = files.map(({ key }) => model.stored.get(key)!.last);
            expect(end <= lsnOf(Math.max(...lasts))).toBe(true);
          }
        }
      }
    }
  });
});

/** The last commit of a segment that its timeline went on in is not this one's: then an earlier end is told, no later one. */
function checkEnd(model: PitrModel, { timeline }: RestorableTimeline, stretch: RestorableStretch): void {
  const real = model.timelines[timeline - 1]!;
  const base = stretch.bases.at(-1)!;
  const commits: bigint[] = [];
  for (let unit = unitOf(parseLsn(base.manifest.stopLsn)); lsnOf(unit + 1) <= stretch.walEnd; unit += 1) {
    if (model.commitTime(real, unit) !== undefined) commits.push(commitEnd(unit));
  }
  const last = commits.at(-1) ?? parseLsn(base.manifest.stopLsn);
  const hidden = [...stretch.tail].some(({ files, end }) =>
    files.some(({ key }) => (model.commits.get(key)?.lsn ?? 0n) > end),
  );
  if (hidden) expect([...commits, parseLsn(base.manifest.stopLsn)]).toContain(stretch.latest.lsn);
  else expect(stretch.latest.lsn).toBe(last);
}

/** Reads the plan's WAL as recovery does. @returns the units of the commits that it ends with */
function recover(model: PitrModel, plan: RecoveryPlan): number[] {
  const line = model.timelines[plan.timeline - 1]!;
  const stop = unitOf(parseLsn(plan.base.manifest.stopLsn));
  const state: number[] = [];
  const applies = (unit: number): boolean => {
    const time = model.commitTime(line, unit);
    return time !== undefined && unit >= 0;
  };
  for (let unit = 0; unit < stop; unit += 1) if (applies(unit)) state.push(unit);
  let position = stop;
  for (const file of plan.wal) {
    const units = new Map(file.files.flatMap(({ key }) => [...model.contents(key)]));
    for (let unit = unitOf(file.start); lsnOf(unit + 1) <= file.end; unit += 1) {
      if (units.get(unit) !== model.writer(line, unit))
        throw new Error(`${file.name} has other WAL in unit ${unit}`);
      if (unit < position) continue;
      if (unit !== position)
        throw new Error(`${file.name} begins with unit ${unit}; the WAL so far ends at ${position}`);
      position += 1;
      if (!applies(unit)) continue;
      if (stopsBefore(plan, formatPgTime(model.commitTime(line, unit)!), commitEnd(unit))) return state;
      state.push(unit);
    }
  }
  expect(plan.stop.kind === 'end-of-wal' || plan.stop.endOfWalSuffices).toBe(true);
  return state;
}

/** As recoveryStopsBefore and recoveryStopsAfter of PostgreSQL do, for a record that ends at `end`. */
function stopsBefore({ stop }: RecoveryPlan, time: string, end: bigint): boolean {
  if (stop.kind === 'end-of-wal') return false;
  if (stop.setting === 'recovery_target_lsn') return parseLsn(stop.value) <= end - 32n;
  const target = stop.value.replace(' ', 'T').replace('+00', 'Z');
  return stop.inclusive ? time > target : time >= target;
}

type Facts = Parameters<typeof planRecovery>[1];

function factsOf(model: PitrModel): Facts {
  return { archive: model.archive(), window: windowOf(model), commits: model.commits };
}

function tryPlan(facts: Facts, target: RecoveryTarget, timeline?: number): RecoveryPlan | LifeboatError {
  try {
    return planRecovery({ target, timeline, base: undefined }, facts);
  } catch (error) {
    if (error instanceof LifeboatError && error.code === 'TARGET_OUTSIDE_WINDOW') return error;
    throw error;
  }
}

/** Instants of commits, a microsecond before and after, and between. */
function instants(model: PitrModel): string[] {
  const times = model.timelines.flatMap(({ commits }) => [...commits.values()]);
  const chosen = times.filter(() => model.chance() < 0.08);
  return chosen.flatMap((time) => [time, time - 1n, time + 1n, time + 1_800_000_000n]).map(formatPgTime);
}

describe('A recovery of a random cluster', () => {
  it.each(SEEDS)(
    'with seed %d has exactly the commits before the first one after the time asked for',
    (seed) => {
      const model = grow(seed);
      const facts = factsOf(model);
      const { window } = facts;
      for (const time of instants(model)) {
        for (const timeline of [undefined, ...model.timelines.map(({ number }) => number)]) {
          const plan = tryPlan(facts, { kind: 'time', time, inclusive: true }, timeline);
          const holding = window.timelines
            .filter((line) => timeline === undefined || line.timeline === timeline)
            .filter(({ stretches }) =>
              stretches.some(({ earliest, latest }) => earliest.time <= time && time <= latest.time),
            );
          if (plan instanceof LifeboatError) {
            expect(timeline === undefined || holding.length === 0).toBe(true);
            continue;
          }
          expect(holding.map((line) => line.timeline)).toContain(plan.timeline);
          expect(recover(model, plan)).toEqual(expectedAt(model, plan, time));
          if (timeline === undefined && plan.notes.length === 0)
            expect(plan.timeline).toBe(liveAt(model, time));
        }
      }
    },
  );

  it.each(SEEDS.slice(0, 20))(
    'with seed %d stops at the LSN asked for, and takes everything with the latest',
    (seed) => {
      const model = grow(seed);
      const facts = factsOf(model);
      for (const line of facts.window.timelines) {
        const latest = tryPlan(facts, { kind: 'latest' }, line.timeline) as RecoveryPlan;
        const all = recover(model, latest);
        expect(commitEnd(all.at(-1) ?? -1) <= line.stretches.at(-1)!.walEnd).toBe(true);
        const real = model.timelines[line.timeline - 1]!;
        for (let unit = 0; unit < real.end; unit += 1 + model.upTo(9)) {
          const plan = tryPlan(facts, { kind: 'lsn', lsn: lsnOf(unit), inclusive: true }, line.timeline);
          const held = line.stretches.some(
            ({ earliest, walEnd }) => earliest.lsn <= lsnOf(unit) && lsnOf(unit) <= walEnd,
          );
          expect(plan instanceof LifeboatError).toBe(!held);
          if (plan instanceof LifeboatError) continue;
          const units = Array.from({ length: unit }, (_, each) => each);
          expect(recover(model, plan)).toEqual(
            units.filter((each) => model.commitTime(real, each) !== undefined),
          );
        }
      }
    },
  );
});

describe('The latest of a random cluster that is taken back to older timelines now and then', () => {
  const outcomeOf = (seed: number): 'taken' | 'asked' => {
    const model = grow(seed, 0.1);
    const facts = factsOf(model);
    const { timelines, latest } = facts.window;
    const chosen = timelines.find((line) => line.latest === latest)!;
    for (const line of timelines) expect(isNoLater(model, line, chosen)).toBe(true);
    const newest = timelines.at(-1)!;
    const plan = tryPlan(facts, { kind: 'latest' });
    if (plan instanceof LifeboatError) {
      expect(chosen.timeline).toBeLessThan(newest.timeline);
      expect(plan.message).toContain(chosen.latest.time);
      expect(plan.message).toContain(newest.latest.time);
      return 'asked';
    }
    expect([plan.timeline, chosen.timeline]).toEqual([newest.timeline, newest.timeline]);
    recover(model, plan);
    return 'taken';
  };

  it.each(SEEDS)(
    'with seed %d is taken where it is the newest timeline’s, and asked for elsewhere',
    (seed) => {
      expect(['taken', 'asked']).toContain(outcomeOf(seed));
    },
  );

  it('is taken of some, and asked for of others', () => {
    expect(new Set(SEEDS.map(outcomeOf))).toEqual(new Set(['taken', 'asked']));
  });
});

/** Whether a timeline’s last commit is no later than that of `other`, or is on the way to it. */
function isNoLater(
  model: PitrModel,
  { timeline, latest }: RestorableTimeline,
  other: RestorableTimeline,
): boolean {
  if (latest.time <= other.latest.time) return true;
  const writer = (number: number): number =>
    model.writer(model.timelines[number - 1]!, unitOf(latest.lsn - 1n));
  return latest.lsn <= other.latest.lsn && writer(timeline) === writer(other.timeline);
}

function expectedAt(model: PitrModel, { base, timeline, wal }: RecoveryPlan, time: string): number[] {
  const line = model.timelines[timeline - 1]!;
  const stop = unitOf(parseLsn(base.manifest.stopLsn));
  const expected: number[] = [];
  const end = wal.at(-1)?.end ?? lsnOf(stop);
  for (let unit = 0; unit < stop || lsnOf(unit + 1) <= end; unit += 1) {
    const commit = model.commitTime(line, unit);
    if (commit === undefined) continue;
    if (commit > parsePgTime(time)) {
      // Nothing that a base backup holds may be later than the time it is taken for.
      expect(unit).toBeGreaterThanOrEqual(stop);
      break;
    }
    expected.push(unit);
  }
  return expected;
}

function liveAt(model: PitrModel, time: string): number {
  return model.timelines.findLast(({ began }) => formatPgTime(began) <= time)?.number ?? 1;
}
