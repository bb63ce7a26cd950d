import { OBJECT_METADATA } from '../../../lib/domain/names.ts';
import { backupHistoryKey } from '../../../lib/domain/wal/backup-history.ts';
import { formatHoleRecord } from '../../../lib/domain/wal/hole.ts';
import {
  historyKey,
  holeKey,
  holePrefix,
  journalKey,
  journalPrefix,
  parsePitrKey,
  partialWalKey,
  pitrAppPrefix,
  walKey,
  walPrefix,
  type PitrObject,
  type WalSeries,
} from '../../../lib/domain/wal/keys.ts';
import { formatLsn } from '../../../lib/domain/wal/lsn.ts';
import { formatTimeline } from '../../../lib/domain/wal/segment.ts';
import { parseWalMetadata, type LastCommit } from '../../../lib/domain/wal/wal-metadata.ts';
import type { HolePlace, JournalPiece, SegmentPlace, WalArchive, WalClusters } from '../ports/wal.ts';
import type { ObjectStore } from '../ports/store.ts';
import type { WalStores } from '../catalog/wal.ts';
import { sha256 } from './pack-wal.ts';
import { prepareWal, writePlain, writeWal } from './write-wal.ts';

export function openWalArchive(stores: WalStores, series: WalSeries, runId: string): WalArchive {
  return {
    systemIdentifier: series.systemIdentifier,
    url: stores.backups.urlOf(walPrefix(series)),
    ...writing(stores, series, runId),
    ...reading(stores, series),
  };
}

type Writing = Pick<WalArchive, Extract<keyof WalArchive, `put${string}` | 'packSegment'>>;
type Reading = Omit<WalArchive, keyof Writing | 'systemIdentifier' | 'url'>;

function writing({ backups, state }: WalStores, series: WalSeries, runId: string): Writing {
  const writer = { app: series.app, runId };
  const metadata = { [OBJECT_METADATA.app]: series.app, [OBJECT_METADATA.runId]: runId };
  return {
    packSegment: ({ timeline, segment }, bytes, lastCommit) =>
      prepareWal(backups, walKey(series, timeline, segment), bytes, { ...writer, lastCommit }),
    putPartial: ({ timeline, segment }, bytes, lastCommit) =>
      writeWal(backups, partialWalKey(series, timeline, segment), bytes, { ...writer, lastCommit }),
    putPiece: ({ timeline, segment }, { from, bytes }, lastCommit) => {
      const key = journalKey(series, timeline, segment, from, from + BigInt(bytes.length));
      return writeWal(state, key, bytes, { ...writer, lastCommit });
    },
    putHistory: (timeline, content) => writePlain(backups, historyKey(series, timeline), content, metadata),
    putBackupHistory: (timeline, name, content) =>
      writePlain(backups, backupHistoryKey(series, timeline, name), content, metadata),
    putHole: async (hole) => {
      const key = holeKey(series, hole.timeline, hole.from, hole.to);
      // Recorded a moment before this process was killed, with another time in it: the same hole.
      if (await state.head(key)) return;
      const text = formatHoleRecord({
        schemaVersion: 1,
        kind: 'hole',
        ...series,
        timeline: hole.timeline,
        from: formatLsn(hole.from),
        to: formatLsn(hole.to),
        since: hole.since ?? null,
        recordedAt: hole.recordedAt.toISOString(),
        runId,
        reason: hole.reason,
      });
      await writePlain(state, key, Buffer.from(text), metadata);
    },
  };
}

function reading({ backups, state }: WalStores, series: WalSeries): Reading {
  const pieceKey = ({ timeline, segment }: SegmentPlace, { from, to }: JournalPiece): string =>
    journalKey(series, timeline, segment, from, to);
  return {
    segments: async (timeline, beginning = '') => {
      const names = new Set<string>();
      const prefix = `${walPrefix(series)}${formatTimeline(timeline)}/${beginning}`;
      for await (const found of parsed(backups, prefix)) if (found.role === 'wal') names.add(found.segment);
      return names;
    },
    journalled: async (timeline) =>
      new Set(await namesOf(state, `${journalPrefix(series)}${formatTimeline(timeline)}/`)),
    hasPartial: async ({ timeline, segment }) =>
      (await backups.head(partialWalKey(series, timeline, segment))) !== undefined,
    pieces: async ({ timeline, segment }) => {
      const pieces: JournalPiece[] = [];
      const prefix = `${journalPrefix(series)}${formatTimeline(timeline)}/${segment}/`;
      for await (const found of parsed(state, prefix)) if (found.role === 'journal') pieces.push(found);
      return pieces.toSorted((one, other) => (one.from < other.from ? -1 : 1));
    },
    pieceHolds: async (place, piece, bytes) => {
      const key = pieceKey(place, piece);
      const there = await state.head(key);
      if (!there) return false;
      return parseWalMetadata(there.metadata, state.urlOf(key)).rawSha256 === sha256(bytes);
    },
    pieceCommit: (place, piece) => lastCommitOf(state, pieceKey(place, piece)),
    segmentCommit: ({ timeline, segment }) => lastCommitOf(backups, walKey(series, timeline, segment)),
    holes: async () => {
      const holes: HolePlace[] = [];
      for await (const found of parsed(state, holePrefix(series)))
        if (found.role === 'hole') holes.push(found);
      return holes;
    },
  };
}

async function* parsed(store: ObjectStore, prefix: string): AsyncIterable<PitrObject> {
  for await (const { key } of store.list(prefix)) {
    const found = parsePitrKey(key);
    if (found) yield found;
  }
}

async function lastCommitOf(store: ObjectStore, key: string): Promise<LastCommit | undefined> {
  const there = await store.head(key);
  return there && parseWalMetadata(there.metadata, store.urlOf(key)).lastCommit;
}

/** Which clusters have something under an app's name. */
export function openWalClusters({ backups, state }: WalStores, app: string): WalClusters {
  return {
    identifiers: async () => {
      const folders = await namesOf(backups, pitrAppPrefix(app));
      return folders.filter((name) => /^[1-9]\d{0,19}$/.test(name));
    },
    lastWrittenAt: async (systemIdentifier) => {
      const root = journalPrefix({ app, systemIdentifier });
      let last: Date | undefined;
      // Not of the newest timeline alone: a recovered cluster may have been put aside again, and the old one goes on.
      for (const timeline of await namesOf(state, root)) {
        const segment = (await namesOf(state, `${root}${timeline}/`)).toSorted().at(-1);
        if (segment === undefined) continue;
        for await (const { modifiedAt } of state.list(`${root}${timeline}/${segment}/`)) {
          if (!last || modifiedAt > last) last = modifiedAt;
        }
      }
      return last;
    },
  };
}

async function namesOf(store: ObjectStore, prefix: string): Promise<string[]> {
  const names: string[] = [];
  for await (const name of store.folders(prefix)) names.push(name);
  return names;
}
