import type { ListedFile } from '../../../lib/domain/backup/catalog.ts';
import { catalogBases, type Base } from '../../../lib/domain/base/base-catalog.ts';
import type { BaseManifest } from '../../../lib/domain/base/base-manifest.ts';
import { readWalListing, type WalArchive } from '../../../lib/domain/wal/archive.ts';
import type { HoleRecord } from '../../../lib/domain/wal/hole.ts';
import {
  baseManifestKey,
  basePrefix,
  historyKey,
  holeKey,
  journalKey,
  parsePitrKey,
  partialWalKey,
  walKey,
  type WalSeries,
} from '../../../lib/domain/wal/keys.ts';
import { formatLsn, parseLsn, type Lsn } from '../../../lib/domain/wal/lsn.ts';
import { dateOfPgTime, formatPgTime, pgTimeOfDate, type PgTime } from '../../../lib/domain/wal/pg-time.ts';
import { segmentName } from '../../../lib/domain/wal/segment.ts';
import { timelinePath, type TimelineStretch, type TimelineSwitch } from '../../../lib/domain/wal/timeline.ts';
import type { LastCommit } from '../../../lib/domain/wal/wal-metadata.ts';
import { mulberry32 } from '../../lambda/start-run/virtual-time.ts';
import { at, incrementalManifest } from '../base/manifests.ts';

/**
 * A cluster whose WAL is a row of units, each with at most one commit, and what lies of it in the buckets. The model knows
 * what every byte is, and so whether an instant can be recovered, without any of the code under test but the path of a
 * timeline.
 */

const SEGMENT_SIZE = 1024 * 1024;
const PER_SEGMENT = 16;
const UNIT = SEGMENT_SIZE / PER_SEGMENT;
export const DAY_US = 86_400_000_000n;

interface Timeline {
  readonly number: number;
  readonly switches: readonly TimelineSwitch[];
  /** First unit of its own; those before it are its parent's. */
  readonly fork: number;
  readonly parent: Timeline | undefined;
  readonly began: PgTime;
  end: number;
  /** By unit, of its own units. */
  readonly commits: Map<number, PgTime>;
  /** Units that were streamed, or given up. */
  streamed: number;
}

interface Stored extends ListedFile {
  /** Units that are in it, from the first up to, and without, the last. */
  readonly first: number;
  readonly last: number;
}

export class PitrModel {
  readonly series: WalSeries = { app: 'hostmaster', systemIdentifier: '7300000000000000001' };
  readonly chance: () => number;
  readonly stored = new Map<string, Stored>();
  readonly commits = new Map<string, LastCommit | null>();
  readonly histories = new Map<number, readonly TimelineSwitch[]>();
  readonly holes: HoleRecord[] = [];
  readonly manifests = new Map<string, BaseManifest>();
  readonly timelines: Timeline[] = [];
  live: Timeline;
  now: PgTime = pgTimeOfDate(new Date('2026-01-01T02:00:00Z'));

  constructor(seed: number) {
    this.chance = mulberry32(seed);
    this.live = {
      number: 1,
      switches: [],
      fork: 0,
      parent: undefined,
      began: this.now,
      end: PER_SEGMENT,
      commits: new Map(),
      streamed: PER_SEGMENT,
    };
    this.timelines.push(this.live);
  }

  upTo(limit: number): number {
    return Math.floor(this.chance() * limit);
  }

  /** Commits come a little out of the order of their times, as those of real backends do. */
  write(units: number, lasting: PgTime): void {
    for (let each = 0; each < units; each += 1) {
      this.now += lasting / BigInt(units) + 1n;
      const unit = this.live.end;
      if (this.chance() < 0.6) this.live.commits.set(unit, this.now - BigInt(this.upTo(3)) * 1_000_000n);
      this.live.end += 1;
    }
  }

  get date(): Date {
    return dateOfPgTime(this.now);
  }

  #put(key: string, first: number, last: number, timeline: Timeline): void {
    if (this.stored.has(key)) throw new Error(`${key} would be overwritten`);
    this.stored.set(key, { key, size: 1000 + (last - first), modifiedAt: this.date, first, last });
    const units = Array.from({ length: last - first }, (_, index) => first + index);
    const unit = units.findLast((each) => this.commitTime(timeline, each) !== undefined);
    const time = unit === undefined ? undefined : this.commitTime(timeline, unit);
    const commit = time === undefined ? null : { time: formatPgTime(time), lsn: commitEnd(unit!) };
    this.commits.set(key, commit);
  }

  /** Everything that is complete, and with `open` the open segment's new units too. */
  stream({ open }: { open: boolean }): void {
    const timeline = this.live;
    let start = firstOfSegment(timeline.streamed);
    for (; start + PER_SEGMENT <= timeline.end; start += PER_SEGMENT) {
      const key = walKey(this.series, timeline.number, nameOf(timeline.number, start));
      this.#put(key, start, start + PER_SEGMENT, timeline);
    }
    timeline.streamed = Math.max(timeline.streamed, start);
    const from = timeline.streamed;
    if (!open || from >= timeline.end) return;
    const name = nameOf(timeline.number, start);
    this.#put(
      journalKey(this.series, timeline.number, name, lsnOf(from), lsnOf(timeline.end)),
      from,
      timeline.end,
      timeline,
    );
    timeline.streamed = timeline.end;
  }

  /** The slot is lost: what has not been streamed never will be; streaming begins anew with the present segment. */
  loseSlot(recorded: boolean): void {
    const from = this.live.streamed;
    const to = firstOfSegment(this.live.end);
    if (from >= to) return;
    this.live.streamed = to;
    if (!recorded) return;
    this.holes.push({
      schemaVersion: 1,
      kind: 'hole',
      ...this.series,
      timeline: this.live.number,
      from: formatLsn(lsnOf(from)),
      to: formatLsn(lsnOf(to)),
      since: null,
      recordedAt: this.date.toISOString(),
      runId: 'r',
      reason: 'the slot was lost',
    });
    const key = holeKey(this.series, this.live.number, lsnOf(from), lsnOf(to));
    this.stored.set(key, { key, size: 300, modifiedAt: this.date, first: 0, last: 0 });
  }

  /** Writes go on while it runs. */
  base(incremental: boolean): BaseManifest {
    const timeline = this.live;
    const begun = new Date(Math.ceil(this.date.getTime() / 1000) * 1000);
    const start = timeline.end;
    this.write(1 + this.upTo(5), 60_000_000n);
    const stop = timeline.end;
    const parent = [...this.manifests.values()].findLast(
      ({ stopTimeline }) => stopTimeline === timeline.number,
    );
    const facts = {
      startLsn: formatLsn(lsnOf(start) + 40n),
      stopLsn: formatLsn(lsnOf(stop)),
      startTimeline: timeline.number,
      stopTimeline: timeline.number,
      stopTime: formatPgTime(this.now),
      finishedAt: this.date.toISOString(),
    };
    const plain = at(begun, facts);
    const manifest =
      incremental && parent
        ? incrementalManifest(parent, { ...facts, label: plain.label, startedAt: plain.startedAt })
        : plain;
    const server = { ...manifest.server, walSegmentSize: SEGMENT_SIZE };
    this.#storeBase({ ...manifest, server });
    return manifest;
  }

  #storeBase(manifest: BaseManifest): void {
    const prefix = basePrefix(this.series, manifest.label);
    for (const { key, size } of [...manifest.volumes, manifest.backupManifest!]) {
      this.stored.set(prefix + key, { key: prefix + key, size, modifiedAt: this.date, first: 0, last: 0 });
    }
    const key = baseManifestKey(this.series, manifest.label);
    this.stored.set(key, { key, size: 5000, modifiedAt: this.date, first: 0, last: 0 });
    this.manifests.set(key, manifest);
  }

  /** Another timeline, from a unit of any other one; what was not streamed of the live one is gone with its host. */
  fork(from: Timeline, unit: number, partial: boolean): void {
    const number = this.timelines.length + 1;
    const switches = [...from.switches, { timeline: from.number, switchLsn: lsnOf(unit), reason: '' }];
    if (partial && from === this.live && unit === from.end && unit % PER_SEGMENT !== 0) {
      const start = firstOfSegment(unit);
      if (from.streamed >= start) {
        const key = partialWalKey(this.series, from.number, nameOf(from.number, start));
        // Written once: where the timeline goes on after all, what it ends with the next time has no place.
        if (!this.stored.has(key)) this.#put(key, start, unit, from);
      }
    }
    const streamed = firstOfSegment(unit);
    this.live = {
      number,
      switches,
      fork: unit,
      parent: from,
      began: this.now,
      end: unit,
      commits: new Map(),
      streamed,
    };
    this.timelines.push(this.live);
    this.histories.set(number, switches);
    const key = historyKey(this.series, number);
    this.stored.set(key, { key, size: 60, modifiedAt: this.date, first: 0, last: 0 });
  }

  /** What a unit of a timeline is: the timeline that wrote it. */
  writer(timeline: Timeline, unit: number): number {
    return unit >= timeline.fork || !timeline.parent ? timeline.number : this.writer(timeline.parent, unit);
  }

  commitTime(timeline: Timeline, unit: number): PgTime | undefined {
    return unit >= timeline.fork
      ? timeline.commits.get(unit)
      : timeline.parent && this.commitTime(timeline.parent, unit);
  }

  path(timeline: Timeline): TimelineStretch[] {
    return timelinePath(timeline.number, timeline.switches);
  }

  /** @param asked whether the sizes of partial segments are known, which listings do not tell */
  archive({ asked = true } = {}): WalArchive {
    const sizes = [...this.stored.values()].flatMap(({ key, first, last }) => {
      const object = parsePitrKey(key);
      return object?.role === 'partial-wal' ? [[object.segment, (last - first) * UNIT] as const] : [];
    });
    const there = new Map(
      [...this.histories].filter(([each]) => this.stored.has(historyKey(this.series, each))),
    );
    return readWalListing({
      series: this.series,
      segmentSize: SEGMENT_SIZE,
      files: [...this.stored.values()],
      histories: there,
      holes: this.holes,
      partialSizes: new Map(asked ? sizes : []),
    });
  }

  bases(): Base[] {
    return catalogBases('hostmaster', {
      files: [...this.stored.values()],
      manifests: new Map([...this.manifests].filter(([key]) => this.stored.has(key))),
    });
  }

  /** By timeline: the units behind which recovery on it can stop. What can be recovered, by what the model knows. */
  restorable(): Map<number, Set<number>> {
    const held = this.#heldUnits();
    const usable = this.bases().filter(({ state }) => state === 'usable');
    return new Map(
      this.timelines.map((timeline) => {
        const units = new Set<number>();
        const on = new Set(this.path(timeline).map((stretch) => stretch.timeline));
        for (const { manifest } of usable) {
          const stop = unitOf(parseLsn(manifest!.stopLsn));
          const start = unitOf(parseLsn(manifest!.startLsn));
          const its = manifest!.stopTimeline;
          if (
            stop > timeline.end ||
            this.writer(timeline, stop - 1) !== its ||
            this.writer(timeline, start) !== its
          )
            continue;
          let unit = stop - 1;
          do units.add(unit++);
          while (unit < timeline.end && this.#isHeld(timeline, unit, on, held));
        }
        return [timeline.number, units];
      }),
    );
  }

  /** By `timeline unit`: units that can be read from a segment's first byte on. */
  #heldUnits(): Set<string> {
    const held = new Set<string>();
    const add = (timeline: number, first: number, last: number): void => {
      for (let unit = first; unit < last; unit += 1) held.add(`${timeline} ${unit}`);
    };
    for (const { key, first, last } of [...this.stored.values()].toSorted(
      (one, other) => one.first - other.first,
    )) {
      const object = parsePitrKey(key);
      if (!object || !('segment' in object)) continue;
      const { timeline } = object;
      if (first % PER_SEGMENT === 0 || held.has(`${timeline} ${first - 1}`)) add(timeline, first, last);
    }
    return held;
  }

  #isHeld(timeline: Timeline, unit: number, on: ReadonlySet<number>, held: ReadonlySet<string>): boolean {
    return this.timelines.some((each) => {
      return (
        on.has(each.number) &&
        held.has(`${each.number} ${unit}`) &&
        this.writer(each, unit) === this.writer(timeline, unit)
      );
    });
  }

  /** The units of a stored WAL object, each as who wrote it. */
  contents(key: string): Map<number, number> {
    const { first, last } = this.stored.get(key)!;
    const object = parsePitrKey(key);
    if (!object || !('timeline' in object)) throw new Error(`${key} is no WAL`);
    const timeline = this.timelines[object.timeline - 1]!;
    const units = Array.from({ length: last - first }, (_, index) => first + index);
    return new Map(units.map((unit) => [unit, this.writer(timeline, unit)]));
  }
}

/** A day or so in the life of a cluster: each event is rare, but many in a few weeks. */
export function liveOn(model: PitrModel, { hours, trouble }: { hours: number; trouble: number }): void {
  const { chance } = model;
  model.write(model.upTo(14), BigInt(hours) * 3_600_000_000n);
  if (chance() < trouble) model.loseSlot(chance() < 0.7);
  if (chance() < 0.85) model.stream({ open: chance() < 0.6 });
  if (chance() < trouble / 2) {
    const from = model.live;
    const failover = chance() < 0.5;
    const parent = failover ? from : model.timelines[model.upTo(model.timelines.length)]!;
    const unit = failover ? from.end : Math.max(PER_SEGMENT, model.upTo(parent.end + 1));
    model.now += 1_000_000n * BigInt(model.upTo(7000));
    model.fork(parent, unit, chance() < 0.7);
  }
}

function firstOfSegment(unit: number): number {
  return unit - (unit % PER_SEGMENT);
}

function nameOf(timeline: number, unit: number): string {
  return segmentName(timeline, lsnOf(unit), SEGMENT_SIZE);
}

export function lsnOf(unit: number): Lsn {
  return BigInt(unit) * BigInt(UNIT);
}

export function unitOf(lsn: Lsn): number {
  return Number(lsn / BigInt(UNIT));
}

/** The end of the record of a unit's commit. */
export function commitEnd(unit: number): Lsn {
  return lsnOf(unit + 1) - 8n;
}
