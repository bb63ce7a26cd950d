import type { ListedFile } from '../../../lib/domain/backup/catalog.ts';
import { catalogBases, type Base } from '../../../lib/domain/base/base-catalog.ts';
import type { BaseManifest } from '../../../lib/domain/base/base-manifest.ts';
import { readWalListing, type WalArchive } from '../../../lib/domain/wal/archive.ts';
import type { HoleRecord } from '../../../lib/domain/wal/hole.ts';
import {
  baseManifestKey,
  basePrefix,
  historyKey,
  inUseKey,
  journalKey,
  partialWalKey,
  walKey,
  type WalSeries,
} from '../../../lib/domain/wal/keys.ts';
import { formatLsn, type Lsn } from '../../../lib/domain/wal/lsn.ts';
import { DEFAULT_SEGMENT_SIZE, segmentName } from '../../../lib/domain/wal/segment.ts';
import type { TimelineSwitch } from '../../../lib/domain/wal/timeline.ts';
import type { LastCommit } from '../../../lib/domain/wal/wal-metadata.ts';
import { restorableWindow, type RestorableWindow } from '../../../lib/domain/wal/window.ts';
import { at } from '../base/manifests.ts';

export const SERIES: WalSeries = { app: 'hostmaster', systemIdentifier: '7300000000000000001' };

/** A position: the segment's number, and bytes into it. */
export function lsnOf(segment: number, offset = 0): Lsn {
  return BigInt(segment) * BigInt(DEFAULT_SEGMENT_SIZE) + BigInt(offset);
}

/** `10:00` of 17 January 2026, as a Date. */
export function clock(time: string, day = 17): Date {
  return new Date(`2026-01-${String(day).padStart(2, '0')}T${time.length === 5 ? `${time}:00` : time}.000Z`);
}

/** The same as recovery writes it. */
export function iso(time: string, day = 17): string {
  return clock(time, day).toISOString().replace('Z', '000Z');
}

/** What lies in the buckets of one cluster. */
export class WalBucket {
  readonly files: ListedFile[] = [];
  readonly histories = new Map<number, TimelineSwitch[]>();
  readonly holes: HoleRecord[] = [];
  readonly partialSizes = new Map<string, number>();
  readonly commits = new Map<string, LastCommit | null>();
  readonly manifests: BaseManifest[] = [];

  put(key: string, modifiedAt: Date, commit?: LastCommit): void {
    this.files.push({ key, size: 1_000_000, modifiedAt });
    this.commits.set(key, commit ?? null);
  }

  remove(part: string): void {
    const kept = this.files.filter(({ key }) => !key.includes(part));
    this.files.splice(0, this.files.length, ...kept);
  }

  /** Complete ones, from the first number to the last; each ends with a commit at `time`, or with none. */
  segments(timeline: number, first: number, last: number, time?: string): this {
    for (let number = first; number <= last; number += 1) {
      const commit = time === undefined ? undefined : { time: iso(time), lsn: lsnOf(number + 1, -100) };
      this.put(walKey(SERIES, timeline, nameOf(timeline, number)), clock(time ?? '12:00'), commit);
    }
    return this;
  }

  /** @param rawSize bytes of WAL in it, where that was asked for */
  partial(timeline: number, number: number, commit?: { time: string; lsn: Lsn }, rawSize?: number): this {
    if (rawSize !== undefined) this.partialSizes.set(nameOf(timeline, number), rawSize);
    const last = commit && { time: iso(commit.time), lsn: commit.lsn };
    this.put(partialWalKey(SERIES, timeline, nameOf(timeline, number)), clock(commit?.time ?? '12:00'), last);
    return this;
  }

  /** The bytes between two offsets of a segment; a commit in their end. */
  piece(timeline: number, number: number, [from, to]: readonly [number, number], time?: string): this {
    const key = journalKey(
      SERIES,
      timeline,
      nameOf(timeline, number),
      lsnOf(number, from),
      lsnOf(number, to),
    );
    this.put(
      key,
      clock(time ?? '12:00'),
      time === undefined ? undefined : { time: iso(time), lsn: lsnOf(number, to - 8) },
    );
    return this;
  }

  history(timeline: number, ancestors: readonly (readonly [number, Lsn])[], time: string): this {
    this.put(historyKey(SERIES, timeline), clock(time));
    this.histories.set(
      timeline,
      ancestors.map(([each, switchLsn]) => ({ timeline: each, switchLsn, reason: '' })),
    );
    return this;
  }

  /** Begun ten minutes before its stop time; its WAL volumes hold what is between the two positions. */
  base(stopTime: string, start: Lsn, stop: Lsn, overrides: Partial<BaseManifest> = {}): this {
    const begun = new Date(clock(stopTime).getTime() - 600_000);
    this.manifests.push(at(begun, { startLsn: formatLsn(start), stopLsn: formatLsn(stop), ...overrides }));
    return this;
  }

  /** By an undone recovery in place. @param told when S3 received the word */
  putBack(timeline: number, time: string, told = time): this {
    this.files.push({
      key: inUseKey(SERIES, timeline, clock(time).toISOString()),
      size: 200,
      modifiedAt: clock(told),
    });
    return this;
  }

  hole(timeline: number, from: Lsn, to: Lsn, since: string | null = null): this {
    this.holes.push({
      schemaVersion: 1,
      kind: 'hole',
      ...SERIES,
      timeline,
      from: formatLsn(from),
      to: formatLsn(to),
      since: since === null ? null : iso(since),
      recordedAt: clock('12:00').toISOString(),
      runId: 'r',
      reason: 'the slot was lost',
    });
    return this;
  }

  /** All objects of base backups, dated when their manifest was stored. */
  get bases(): Base[] {
    const files: ListedFile[] = [];
    for (const { volumes, backupManifest, label, finishedAt } of this.manifests) {
      const modifiedAt = new Date(finishedAt);
      for (const { key, size } of [...volumes, backupManifest!]) {
        files.push({ key: basePrefix(SERIES, label) + key, size, modifiedAt });
      }
      files.push({ key: baseManifestKey(SERIES, label), size: 5000, modifiedAt });
    }
    const read = this.manifests.map(
      (manifest) => [baseManifestKey(SERIES, manifest.label), manifest] as const,
    );
    return catalogBases('hostmaster', { files, manifests: new Map(read) });
  }

  archive(): WalArchive {
    const { files, histories, holes, partialSizes } = this;
    const listing = { files, histories, holes, partialSizes };
    return readWalListing({ series: SERIES, segmentSize: DEFAULT_SEGMENT_SIZE, ...listing });
  }

  window(): RestorableWindow {
    return restorableWindow({ archive: this.archive(), bases: this.bases, commits: this.commits });
  }
}

export function nameOf(timeline: number, number: number): string {
  return segmentName(timeline, lsnOf(number), DEFAULT_SEGMENT_SIZE);
}
