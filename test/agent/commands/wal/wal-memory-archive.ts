import { LifeboatError } from '../../../../lib/domain/errors.ts';
import { formatLsnDigits } from '../../../../lib/domain/wal/lsn.ts';
import type {
  HolePlace,
  JournalPiece,
  LastCommit,
  LostWal,
  SegmentPlace,
  StoredWal,
  WalArchive,
} from '../../../../scripts/agent/ports/wal.ts';

export interface MemoryArchive extends WalArchive {
  /** By name: `00000001…`, `….partial`, `….<from>`, `00000002.history`. */
  readonly objects: Map<string, Buffer>;
  readonly commits: Map<string, LastCommit | undefined>;
  readonly recorded: LostWal[];
  /** Asked before every write: what it waits for or throws is what S3 does. */
  onPut: (name: string) => Promise<void>;
}

/** An archive in memory: write-once, as slow and as faulty as the test wants it. */
export function memoryArchive(): MemoryArchive {
  const objects = new Map<string, Buffer>();
  const commits = new Map<string, LastCommit | undefined>();
  const recorded: LostWal[] = [];
  const put = async (name: string, bytes: Buffer, lastCommit?: LastCommit): Promise<StoredWal> => {
    // As it is at this moment: what is changed while it is written is a defect.
    const copy = Buffer.from(bytes);
    await archive.onPut(name);
    if (!copy.equals(bytes)) throw new LifeboatError('BUG', `${name} was changed while it was written`);
    const there = objects.get(name);
    if (there && !there.equals(copy)) throw new LifeboatError('WAL_CONFLICT', `${name} holds other WAL`);
    objects.set(name, copy);
    commits.set(name, lastCommit);
    return { key: name, size: copy.length };
  };
  const pieceName = ({ segment }: SegmentPlace, from: bigint): string =>
    `${segment}.${formatLsnDigits(from)}`;
  const archive: MemoryArchive = {
    objects,
    commits,
    recorded,
    onPut: async () => undefined,
    systemIdentifier: '7300000000000000001',
    url: 's3://memory/wal/',
    packSegment: async ({ segment }, bytes, commit) => {
      const packed = Buffer.from(bytes);
      return { size: packed.length, put: () => put(segment, packed, commit) };
    },
    putPartial: ({ segment }, bytes, commit) => put(`${segment}.partial`, bytes, commit),
    putPiece: (place, { from, bytes }, commit) => put(pieceName(place, from), bytes, commit),
    putHistory: (timeline, content) => put(`${timeline}.history`, content),
    putBackupHistory: (_timeline, name, content) => put(name, content),
    putHole: async (hole) => void recorded.push(hole),
    segments: async (_timeline, beginning = '') =>
      new Set(
        [...objects.keys()].filter((name) => /^[0-9A-F]{24}$/.test(name) && name.startsWith(beginning)),
      ),
    journalled: async () =>
      new Set([...objects.keys()].flatMap((name) => /^([0-9A-F]{24})\.[0-9A-F]{16}$/.exec(name)?.[1] ?? [])),
    hasPartial: async ({ segment }) => objects.has(`${segment}.partial`),
    pieces: async ({ segment }) => piecesOf(objects, segment),
    pieceHolds: async (place, { from }, bytes) => objects.get(pieceName(place, from))?.equals(bytes) ?? false,
    pieceCommit: async (place, { from }) => commits.get(pieceName(place, from)),
    segmentCommit: async ({ segment }) => commits.get(segment),
    holes: async (): Promise<readonly HolePlace[]> => recorded,
  };
  return archive;
}

export function piecesOf(objects: ReadonlyMap<string, Buffer>, segment: string): JournalPiece[] {
  return [...objects]
    .flatMap(([name, bytes]) => {
      const [, digits] = name.startsWith(segment) ? (/\.([0-9A-F]{16})$/.exec(name) ?? []) : [];
      const from = digits === undefined ? undefined : BigInt(`0x${digits}`);
      return from === undefined ? [] : [{ from, to: from + BigInt(bytes.length) }];
    })
    .toSorted((one, other) => (one.from < other.from ? -1 : 1));
}
