import type { ListedFile } from '../../lib/domain/backup/catalog.ts';
import { WalArchiveBuilder, timelinesOf, type WalArchive } from '../../lib/domain/wal/archive.ts';
import { parseHoleRecord, type HoleRecord } from '../../lib/domain/wal/hole.ts';
import { holePrefix, journalPrefix, walPrefix, type WalSeries } from '../../lib/domain/wal/keys.ts';
import {
  DEFAULT_SEGMENT_SIZE,
  formatTimeline,
  isSegmentSize,
  parseSegmentName,
  segmentName,
} from '../../lib/domain/wal/segment.ts';
import { parseHistory } from '../../lib/domain/wal/timeline.ts';
import { parseWalMetadata, type LastCommit } from '../../lib/domain/wal/wal-metadata.ts';
import type { Bucket, BucketObject } from '../bucket.ts';
import { readDamaged } from '../verdicts.ts';

export interface WalPlace {
  readonly backups: Bucket;
  readonly state: Bucket;
  /** Of the folder, in both buckets; without a slash at its end. */
  readonly prefix: string;
  readonly series: WalSeries;
}

/** Work that may be left after every step, and taken up by a later invocation. */
export type Steps<Answer> = AsyncGenerator<undefined, Answer>;

/** As many as one page of a listing. */
const STEP = 1000;
/** Segments are uploaded several at a time, so one may come after the next; no more than this many after. */
const OUT_OF_ORDER = 64;

/**
 * Where a recovery in place was undone, the old timeline goes on although there is a newer one. One of which nothing came for so
 * long is found again with the whole listing only.
 */
const MAY_GO_ON_MS = 7 * 24 * 60 * 60 * 1000;

/** What is known of a timeline's end. */
interface TimelineEnd {
  /** The newest complete one; `undefined`: there is none. */
  segment: string | undefined;
  /** When S3 received its newest WAL. */
  receivedAt: Date;
}

/**
 * The WAL of one cluster as it lies in S3. It is listed whole once, and after that only behind what is known: a segment
 * takes 13 bytes of memory, of the journal only the pieces of segments that are not complete are kept.
 */
export class WalSurvey {
  readonly #place: WalPlace;
  readonly #builder: WalArchiveBuilder;
  /** What PostgreSQL archived about base backups, for people. */
  readonly backupHistories: ListedFile[] = [];
  readonly holeFiles: ListedFile[] = [];
  /** When S3 received the newest and the oldest WAL; `undefined`: there is none. */
  newestAt: Date | undefined;
  oldestAt: Date | undefined;
  readonly #ends = new Map<number, TimelineEnd>();
  readonly #whole: boolean;

  /** @param extent `without what is damaged`: what a verification found damaged is a hole; retention takes it like any other */
  constructor(place: WalPlace, segmentSize: number, extent: 'whole' | 'without what is damaged' = 'whole') {
    this.#place = place;
    this.#whole = extent === 'whole';
    this.#builder = new WalArchiveBuilder(place.series, segmentSize);
  }

  get archive(): WalArchive {
    return this.#builder.archive();
  }

  async *listAll(): Steps<void> {
    const { backups, state, prefix, series } = this.#place;
    yield* this.#take(backups.list(`${prefix}/${walPrefix(series)}`));
    yield* this.#take(state.list(`${prefix}/${journalPrefix(series)}`));
    await this.listHoles();
  }

  /** What has come since; a hole's record only with `listHoles`. */
  async listNew(): Promise<void> {
    const { prefix, series } = this.#place;
    const timeline = timelinesOf(this.archive).at(-1);
    const root = `${prefix}/${walPrefix(series)}`;
    const journal = `${prefix}/${journalPrefix(series)}`;
    for (const older of this.#mayGoOn(timeline)) {
      const folder = `${formatTimeline(older)}/`;
      await this.#listBehind([root + folder, journal + folder], this.#endsOf(older));
    }
    const all = [root, journal] as const;
    await this.#listBehind(all, timeline === undefined ? all : this.#endsOf(timeline));
    this.#builder.forgetSuperseded();
  }

  #mayGoOn(newest: number | undefined): number[] {
    const { newestAt } = this;
    if (newestAt === undefined) return [];
    const since = newestAt.getTime() - MAY_GO_ON_MS;
    return [...this.#ends].flatMap(([timeline, { receivedAt }]) =>
      timeline !== newest && receivedAt.getTime() >= since ? [timeline] : [],
    );
  }

  async #listBehind(
    [root, journal]: readonly [string, string],
    [walAfter, journalAfter]: readonly [string, string],
  ): Promise<void> {
    const { backups, state } = this.#place;
    // The journal first: a segment whose end comes meanwhile is then there, not missing before the pieces of the next.
    for await (const object of state.list(journal, { after: journalAfter }))
      await this.#add(this.#relative(object));
    for await (const object of backups.list(root, { after: walAfter }))
      await this.#add(this.#relative(object));
  }

  async listHoles(): Promise<void> {
    const { state, prefix, series } = this.#place;
    const records: HoleRecord[] = [];
    this.holeFiles.length = 0;
    for await (const object of state.list(`${prefix}/${holePrefix(series)}`)) {
      const text = await state.read(object.key);
      if (text === undefined) continue;
      this.holeFiles.push(this.#relative(object));
      records.push(parseHoleRecord(text, `s3://${state.name}/${object.key}`));
    }
    this.#builder.setHoles(records);
    if (!this.#whole) this.#builder.setDamaged(await readDamaged(this.#place));
  }

  /** Keys of a timeline behind which something new may lie. */
  #endsOf(timeline: number): [wal: string, journal: string] {
    const { prefix, series } = this.#place;
    const root = `${prefix}/${walPrefix(series)}${formatTimeline(timeline)}`;
    const journal = `${prefix}/${journalPrefix(series)}${formatTimeline(timeline)}`;
    const last = this.#ends.get(timeline)?.segment;
    if (last === undefined) return [root, journal];
    const { segmentSize } = this.archive;
    const { start } = parseSegmentName(last, segmentSize)!;
    const back = start - BigInt(OUT_OF_ORDER) * BigInt(segmentSize);
    const after = segmentName(timeline, back > 0n ? back : 0n, segmentSize);
    // "0" sorts behind the "/" of the segment's own pieces, and before the next segment.
    return [`${root}/${after}`, `${journal}/${last}0`];
  }

  async *#take(objects: AsyncIterable<BucketObject>): Steps<void> {
    let count = 0;
    for await (const object of objects) {
      await this.#add(this.#relative(object));
      count += 1;
      if (count % STEP !== 0) continue;
      this.#builder.forgetSuperseded();
      yield undefined;
    }
    this.#builder.forgetSuperseded();
  }

  async #add(file: ListedFile): Promise<void> {
    const object = this.#builder.add(file);
    if (!object) {
      if (file.key.endsWith('.backup')) this.#addBackupHistory(file);
      return;
    }
    if (object.role === 'history') await this.#addHistory(object.timeline, file);
    if (!('segment' in object)) return;
    const { modifiedAt } = file;
    if (!this.newestAt || modifiedAt > this.newestAt) this.newestAt = modifiedAt;
    if (!this.oldestAt || modifiedAt < this.oldestAt) this.oldestAt = modifiedAt;
    const end = this.#ends.get(object.timeline) ?? { segment: undefined, receivedAt: modifiedAt };
    if (modifiedAt > end.receivedAt) end.receivedAt = modifiedAt;
    if (object.role === 'wal' && (end.segment === undefined || object.segment > end.segment))
      end.segment = object.segment;
    this.#ends.set(object.timeline, end);
  }

  #addBackupHistory(file: ListedFile): void {
    if (!this.backupHistories.some(({ key }) => key === file.key)) this.backupHistories.push(file);
  }

  async #addHistory(timeline: number, file: ListedFile): Promise<void> {
    if (this.#builder.hasHistory(timeline)) return;
    const { backups, prefix } = this.#place;
    const key = `${prefix}/${file.key}`;
    const text = await backups.read(key);
    if (text === undefined) return;
    this.#builder.addHistory(timeline, { switches: parseHistory(text, `s3://${backups.name}/${key}`), file });
  }

  #relative({ key, size, modifiedAt }: BucketObject): ListedFile {
    return { key: key.slice(this.#place.prefix.length + 1), size, modifiedAt };
  }
}

/** The size that the newest base backup tells of; without one, that of any segment. */
export async function segmentSizeOf(place: WalPlace, known: number | undefined): Promise<number> {
  if (known !== undefined) return known;
  const { backups, prefix, series } = place;
  for await (const { key } of backups.list(`${prefix}/${walPrefix(series)}`)) {
    if (!/\/[0-9A-F]{24}\.zst$/.test(key)) continue;
    const { rawSize } = parseWalMetadata((await backups.metadata(key)) ?? {}, `s3://${backups.name}/${key}`);
    return isSegmentSize(rawSize) ? rawSize : DEFAULT_SEGMENT_SIZE;
  }
  return DEFAULT_SEGMENT_SIZE;
}

/** From its metadata. Null where it holds no commit, or is gone by now. @param key relative to the folder */
export async function lastCommitIn(place: WalPlace, key: string): Promise<LastCommit | null> {
  const { backups, state, prefix } = place;
  const bucket = key.startsWith('journal/') ? state : backups;
  const metadata = await bucket.metadata(`${prefix}/${key}`);
  return metadata
    ? (parseWalMetadata(metadata, `s3://${bucket.name}/${prefix}/${key}`).lastCommit ?? null)
    : null;
}
