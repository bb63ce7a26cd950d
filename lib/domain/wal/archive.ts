import { isFromFuture, type ListedFile } from '../backup/catalog.ts';
import { holesOfDamaged } from './damaged-wal.ts';
import type { HoleRecord } from './hole.ts';
import { addPiece, byStart, joinPieces, type JournalPiece } from './journal-pieces.ts';
import { parsePitrKey, type PitrObject, type WalSeries } from './keys.ts';
import type { Lsn } from './lsn.ts';
import { SegmentTable } from './segment-table.ts';
import { parseSegmentName, segmentName, segmentStart } from './segment.ts';
import { dateOfPgTime, formatPgTime, parsePgTime, pgTimeOfDate } from './pg-time.ts';
import type { Damage } from './verdicts.ts';
import { timelinePath, type TimelineStretch, type TimelineSwitch } from './timeline.ts';

/** The WAL of one cluster as it lies in S3, told by listings alone, and which bytes of it recovery can read in a row. */

interface ArchivedHistory {
  readonly switches: readonly TimelineSwitch[];
  readonly file: ListedFile;
}

export interface WalArchive {
  readonly series: WalSeries;
  readonly segmentSize: number;
  readonly segments: SegmentTable;
  /** By segment name. */
  readonly partials: ReadonlyMap<string, ListedFile>;
  /** By segment name: no byte of a partial segment from here on is in its object. Known of those that were asked about. */
  readonly partialEnds: ReadonlyMap<string, Lsn>;
  /** By segment name, sorted by where they begin. */
  readonly pieces: ReadonlyMap<string, readonly JournalPiece[]>;
  readonly histories: ReadonlyMap<number, ArchivedHistory>;
  readonly holes: readonly HoleRecord[];
  /** By timeline that was put in place again, as by an undone recovery: since when it is in use, the last time. */
  readonly inUse: ReadonlyMap<number, string>;
}

export interface WalListing {
  readonly series: WalSeries;
  readonly segmentSize: number;
  /** Of both buckets, keys relative to the store's prefix. What is none of this cluster's WAL is passed over. */
  readonly files: Iterable<ListedFile>;
  /** Parsed history files by timeline; a timeline whose file is not given is taken to have no ancestor. */
  readonly histories: ReadonlyMap<number, readonly TimelineSwitch[]>;
  readonly holes?: readonly HoleRecord[];
  /** Bytes of WAL in the objects of partial segments, by segment name, where they are known. */
  readonly partialSizes?: ReadonlyMap<string, number>;
}

/** An archive from listings that are complete; `WalArchiveBuilder` makes one that grows. */
export function readWalListing(listing: WalListing): WalArchive {
  const { series, segmentSize, files, histories, holes, partialSizes = new Map() } = listing;
  const builder = new WalArchiveBuilder(series, segmentSize);
  for (const file of files) {
    const role = builder.add(file);
    const switches = role?.role === 'history' ? histories.get(role.timeline) : undefined;
    if (role?.role === 'history' && switches) builder.addHistory(role.timeline, { switches, file });
  }
  for (const [segment, rawSize] of partialSizes) builder.setPartialSize(segment, rawSize);
  builder.setHoles(holes ?? []);
  return builder.archive();
}

/** An archive that grows with its listing, and with what is listed later. */
export class WalArchiveBuilder {
  readonly #archive: {
    readonly series: WalSeries;
    readonly segmentSize: number;
    readonly segments: SegmentTable;
    readonly partials: Map<string, ListedFile>;
    readonly partialEnds: Map<string, Lsn>;
    readonly pieces: Map<string, JournalPiece[]>;
    readonly histories: Map<number, ArchivedHistory>;
    holes: readonly HoleRecord[];
    readonly inUse: Map<number, string>;
  };
  /** Names of segments. */
  #damaged: ReadonlySet<string> = new Set();

  constructor(series: WalSeries, segmentSize: number) {
    this.#archive = {
      series,
      segmentSize,
      segments: new SegmentTable(series, segmentSize),
      partials: new Map(),
      partialEnds: new Map(),
      pieces: new Map(),
      histories: new Map(),
      holes: [],
      inUse: new Map(),
    };
  }

  /**
   * What is known is not added twice.
   * @param file its key relative to the store's prefix
   * @returns what it is; `undefined` for what is none of this cluster's WAL. Of a history file the content is still to be added
   */
  add(file: ListedFile): PitrObject | undefined {
    const { series, segmentSize, segments, partials, pieces, inUse } = this.#archive;
    const object = parsePitrKey(file.key);
    if (!object || object.series.app !== series.app) return undefined;
    if (object.series.systemIdentifier !== series.systemIdentifier) return undefined;
    if (object.role === 'in-use') {
      const since = believable(object.since, file);
      if (since > (inUse.get(object.timeline) ?? '')) inUse.set(object.timeline, since);
    }
    if (!('segment' in object)) return object;
    if (!parseSegmentName(object.segment, segmentSize)) return undefined;
    if (this.#damaged.has(object.segment)) return object;
    if (object.role === 'journal')
      addPiece(pieces, object.segment, { from: object.from, to: object.to, file });
    else if (object.role === 'wal') segments.set(object.segment, file);
    else partials.set(object.segment, file);
    return object;
  }

  addHistory(timeline: number, history: ArchivedHistory): void {
    this.#archive.histories.set(timeline, history);
  }

  hasHistory(timeline: number): boolean {
    return this.#archive.histories.has(timeline);
  }

  /** @param rawSize bytes of WAL in the object of that partial segment */
  setPartialSize(segment: string, rawSize: number): void {
    const { segmentSize, partialEnds } = this.#archive;
    const parsed = parseSegmentName(segment, segmentSize);
    if (parsed) partialEnds.set(segment, parsed.start + BigInt(rawSize));
  }

  /** Those of other clusters are left out. */
  setHoles(holes: readonly HoleRecord[]): void {
    const { series } = this.#archive;
    this.#archive.holes = holes.filter(
      ({ app, systemIdentifier }) => app === series.app && systemIdentifier === series.systemIdentifier,
    );
  }

  /**
   * Complete segments that are of no use are holes from now on, whatever is listed. To be called after `setHoles`.
   * @param damaged by name; what is no segment's is passed over
   */
  setDamaged(damaged: ReadonlyMap<string, Damage>): void {
    const { segments, partials, pieces, holes } = this.#archive;
    this.#damaged = new Set(damaged.keys());
    for (const name of this.#damaged) {
      segments.delete(name);
      // Recovery takes the complete segment where there is one: neither its pieces nor a partial one lead round it.
      pieces.delete(name);
      partials.delete(name);
    }
    this.#archive.holes = [...holes, ...holesOfDamaged(damaged, this.#archive)];
  }

  /** Forgets the pieces of segments that are complete: nobody who recovers reads them. */
  forgetSuperseded(): void {
    const { pieces, segments } = this.#archive;
    for (const name of pieces.keys()) if (segments.has(name)) pieces.delete(name);
  }

  /** As it is now; it goes on growing. */
  archive(): WalArchive {
    for (const pieces of this.#archive.pieces.values()) pieces.sort(byStart);
    return this.#archive;
  }
}

/** A host's clock may have been wrong; nothing began after S3 was told of it. */
function believable(since: string, { modifiedAt }: ListedFile): string {
  const isWrong = isFromFuture(dateOfPgTime(parsePgTime(since)), modifiedAt);
  return isWrong ? formatPgTime(pgTimeOfDate(modifiedAt)) : since;
}

/** Timelines of which anything is there, ascending. */
export function timelinesOf(archive: WalArchive): number[] {
  const names = [...archive.partials.keys(), ...archive.pieces.keys()];
  const timelines = new Set(names.map((name) => Number.parseInt(name.slice(0, 8), 16)));
  for (const timeline of archive.segments.timelines()) timelines.add(timeline);
  for (const timeline of archive.histories.keys()) timelines.add(timeline);
  return [...timelines].toSorted((one, other) => one - other);
}

/** The way to `timeline`, as its history file in the archive tells it. */
export function pathOf(archive: WalArchive, timeline: number): TimelineStretch[] {
  return timelinePath(timeline, archive.histories.get(timeline)?.switches ?? []);
}

/** A segment that recovery can be given, and what it is made from. */
export interface WalFile {
  /** What recovery asks for; complete, or to be padded with zeros to the segment's size. */
  readonly name: string;
  readonly timeline: number;
  /** Its first byte. */
  readonly start: Lsn;
  /** Where the WAL in it ends that is of the way followed: the next segment's first byte, or less. */
  readonly end: Lsn;
  readonly kind: 'segment' | 'partial' | 'journal';
  /** One object, or the journal's pieces in order; where two overlap, they hold the same bytes. */
  readonly files: readonly ListedFile[];
}

/**
 * The segments from the one that holds `from`, in order, for as long as no byte is missing. Where a segment is shared by
 * two timelines the later one's file counts, which begins with a copy of the earlier one's bytes, if it reaches as far:
 * recovery must not be offered the other, which PostgreSQL would try first and stop in.
 */
export function* followWal(
  archive: WalArchive,
  path: readonly TimelineStretch[],
  from: Lsn,
): Generator<WalFile> {
  const size = BigInt(archive.segmentSize);
  let position = from;
  for (let start = segmentStart(from, archive.segmentSize); ; start += size) {
    const file = findFile(archive, path, start);
    if (!file || file.end <= position) return;
    yield file;
    position = file.end;
    if (position < start + size) return;
  }
}

/** The file that reaches farthest along the path in the segment that begins at `start`. */
export function findFile(
  archive: WalArchive,
  path: readonly TimelineStretch[],
  start: Lsn,
): WalFile | undefined {
  const end = start + BigInt(archive.segmentSize);
  let best: WalFile | undefined;
  for (const stretch of path.toReversed()) {
    if (stretch.from >= end || (stretch.to !== undefined && stretch.to <= start)) continue;
    const file = fileOf(archive, stretch.timeline, start);
    if (!file) continue;
    const reached = stretch.to !== undefined && stretch.to < file.end ? stretch.to : file.end;
    if (!best || reached > best.end) best = { ...file, end: reached };
  }
  return best;
}

function fileOf(archive: WalArchive, timeline: number, start: Lsn): WalFile | undefined {
  const name = segmentName(timeline, start, archive.segmentSize);
  const common = { name, timeline, start };
  const segment = archive.segments.get(name);
  if (segment) {
    return { ...common, kind: 'segment', end: start + BigInt(archive.segmentSize), files: [segment] };
  }
  const partial = archive.partials.get(name);
  const partialEnd = partial && endOfPartial(archive, timeline, start);
  const journal = joinPieces(archive.pieces.get(name) ?? [], start);
  if (partial && partialEnd !== undefined && partialEnd >= journal.end) {
    return { ...common, kind: 'partial', end: partialEnd, files: [partial] };
  }
  return journal.files.length > 0 ? { ...common, kind: 'journal', ...journal } : undefined;
}

/**
 * A timeline's last segment holds WAL up to where the timeline was left, which histories tell. One that was left several times
 * within the segment, since it went on after an undone recovery, has the object of one of them, written once: its size says of
 * which, and where that is not known, no more counts than every one of them would hold.
 */
function endOfPartial(archive: WalArchive, timeline: number, start: Lsn): Lsn | undefined {
  const ends = switchesIn(archive, timeline, start);
  const known = archive.partialEnds.get(segmentName(timeline, start, archive.segmentSize));
  return known === undefined ? ends[0] : ends.findLast((end) => end <= known);
}

/** Where the timeline was left, in the segment that begins at `start`; ascending, each once. */
function switchesIn(archive: WalArchive, timeline: number, start: Lsn): Lsn[] {
  const limit = start + BigInt(archive.segmentSize);
  const ends = [...archive.histories.values()].flatMap(({ switches }) => {
    return switches
      .filter((each) => each.timeline === timeline && each.switchLsn > start && each.switchLsn <= limit)
      .map(({ switchLsn }) => switchLsn);
  });
  return [...new Set(ends)].toSorted((one, other) => (one < other ? -1 : 1));
}

/** Names of partial segments of which listings do not tell where they end. */
export function unclearPartials(archive: WalArchive): string[] {
  return [...archive.partials.keys()].filter((name) => {
    const { timeline, start } = parseSegmentName(name, archive.segmentSize)!;
    return switchesIn(archive, timeline, start).length > 1;
  });
}

/** First byte at or after `from` of a segment of which something is there on the path; `undefined`: there is none. */
export function nextAvailable(
  archive: WalArchive,
  path: readonly TimelineStretch[],
  from: Lsn,
): Lsn | undefined {
  let next: Lsn | undefined;
  const consider = (name: string): void => {
    const segment = parseSegmentName(name, archive.segmentSize)!;
    if (segment.start < from || (next !== undefined && segment.start >= next)) return;
    const stretch = path.find(({ timeline }) => timeline === segment.timeline);
    if (!stretch || (stretch.to !== undefined && segment.start >= stretch.to)) return;
    if (findFile(archive, path, segment.start)) next = segment.start;
  };
  for (const names of [archive.partials, archive.pieces]) for (const name of names.keys()) consider(name);
  for (const { timeline, to } of path) {
    for (const [name] of archive.segments.entriesFrom(timeline, from)) {
      const { start } = parseSegmentName(name, archive.segmentSize)!;
      if ((next !== undefined && start >= next) || (to !== undefined && start >= to)) break;
      consider(name);
    }
  }
  return next;
}
