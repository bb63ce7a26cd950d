import { LifeboatError } from '../../../lib/domain/errors.ts';
import type { ListedFile } from '../../../lib/domain/backup/catalog.ts';
import { unclearPartials, WalArchiveBuilder, type WalArchive } from '../../../lib/domain/wal/archive.ts';
import { parseHoleRecord, type HoleRecord } from '../../../lib/domain/wal/hole.ts';
import {
  holePrefix,
  journalPrefix,
  parsePitrKey,
  walPrefix,
  type WalSeries,
} from '../../../lib/domain/wal/keys.ts';
import { DEFAULT_SEGMENT_SIZE, isSegmentSize } from '../../../lib/domain/wal/segment.ts';
import { parseHistory } from '../../../lib/domain/wal/timeline.ts';
import { parseWalMetadata, type LastCommit, type WalMetadata } from '../../../lib/domain/wal/wal-metadata.ts';
import { commitCandidates, withCommits, type RestorableWindow } from '../../../lib/domain/wal/window.ts';
import type { ObjectStore } from '../ports/store.ts';

/** The backup bucket, and the state bucket: unlocked, for what is of use only for a while. One and the same where none is set. */
export interface WalStores {
  readonly backups: ObjectStore;
  readonly state: ObjectStore;
}

/**
 * All WAL of a cluster, by listings; only history files and records of holes are read, and the metadata of few partial segments.
 * @throws LifeboatError S3_…, CORRUPT for a history file or a record that cannot be read
 */
export async function readWalArchive(
  stores: WalStores,
  series: WalSeries,
  segmentSize: number,
): Promise<WalArchive> {
  return (await listWal(stores, series, segmentSize)).archive;
}

export interface ListedWal {
  readonly archive: WalArchive;
  /** Records of holes, and what PostgreSQL archived about its base backups. */
  readonly others: readonly ListedFile[];
}

/** The same, with what lies beside the WAL. */
export async function listWal(
  { backups, state }: WalStores,
  series: WalSeries,
  segmentSize: number,
): Promise<ListedWal> {
  const builder = new WalArchiveBuilder(series, segmentSize);
  const others: ListedFile[] = [];
  for await (const file of backups.list(walPrefix(series))) {
    const { key } = file;
    const object = builder.add(file);
    if (object?.role === 'history') {
      const text = (await backups.read(key)).toString('utf8');
      builder.addHistory(object.timeline, { switches: parseHistory(text, backups.urlOf(key)), file });
    } else if (!object && key.endsWith('.backup')) others.push(file);
  }
  for await (const file of state.list(journalPrefix(series))) builder.add(file);
  const holes: HoleRecord[] = [];
  for await (const file of state.list(holePrefix(series))) {
    holes.push(parseHoleRecord((await state.read(file.key)).toString('utf8'), state.urlOf(file.key)));
    others.push(file);
  }
  builder.setHoles(holes);
  const archive = builder.archive();
  for (const segment of unclearPartials(archive)) {
    const { key } = archive.partials.get(segment)!;
    builder.setPartialSize(segment, (await metadataOf(backups, key)).rawSize);
  }
  return { archive, others };
}

/** A cluster's segments are all of one size: what the first one says whose metadata can be read, for where no base backup does. */
export async function segmentSizeInWal({ backups }: WalStores, series: WalSeries): Promise<number> {
  for await (const { key } of backups.list(walPrefix(series))) {
    if (parsePitrKey(key)?.role !== 'wal') continue;
    const size = await metadataOf(backups, key).then(({ rawSize }) => rawSize, passOverDamaged);
    if (size !== undefined && isSegmentSize(size)) return size;
  }
  return DEFAULT_SEGMENT_SIZE;
}

function passOverDamaged(error: unknown): undefined {
  if (error instanceof LifeboatError && ['CORRUPT', 'BACKUP_NOT_FOUND'].includes(error.code))
    return undefined;
  throw error;
}

/** More objects in a row without a commit are not asked: the end of a stretch is then told a little early. */
const MOST_ASKED = 200;

/** The window with the times of the last commits, read from the metadata of the newest objects of each stretch. */
export async function readLastCommits(
  stores: WalStores,
  window: RestorableWindow,
): Promise<RestorableWindow> {
  const commits = new Map<string, LastCommit | null>();
  for (const { stretches } of window.timelines) {
    for (const stretch of stretches) {
      let asked = 0;
      for (const key of commitCandidates(stretch)) {
        if (!commits.has(key)) commits.set(key, await lastCommitOf(stores, key));
        if (commits.get(key) || ++asked === MOST_ASKED) break;
      }
    }
  }
  return withCommits(window, commits);
}

/** Null where the object holds none. @throws LifeboatError S3_…, CORRUPT for metadata that is not that of WAL */
export async function lastCommitOf(stores: WalStores, key: string): Promise<LastCommit | null> {
  const store = parsePitrKey(key)?.role === 'journal' ? stores.state : stores.backups;
  return (await metadataOf(store, key)).lastCommit ?? null;
}

async function metadataOf(store: ObjectStore, key: string): Promise<WalMetadata> {
  const there = await store.head(key);
  if (!there) throw new LifeboatError('BACKUP_NOT_FOUND', `${store.urlOf(key)} was there a moment ago`);
  return parseWalMetadata(there.metadata, store.urlOf(key));
}
