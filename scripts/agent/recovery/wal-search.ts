import { LifeboatError } from '../../../lib/domain/errors.ts';
import { describeTarget } from '../../../lib/domain/base/recovery-target.ts';
import { formatLsn } from '../../../lib/domain/wal/lsn.ts';
import type { LocatedTarget } from '../../../lib/domain/base/recovery-choice.ts';
import type { WalFile } from '../../../lib/domain/wal/archive.ts';
import { formatPgTime, type PgTime } from '../../../lib/domain/wal/pg-time.ts';
import { timelineOfLsn, type TimelineStretch } from '../../../lib/domain/wal/timeline.ts';
import type { RecordPlace, WalListener } from '../data-path/wal/wal-listener.ts';
import { WalScanner } from '../data-path/wal/wal-scanner.ts';
import { releaseMemory } from '../data-path/release-memory.ts';
import type { WalSearch, WalSearchRequest } from '../ports/recovery.ts';
import type { WalReader } from '../ports/wal.ts';
import { assembleSegment } from './assembled-segment.ts';

/** Whole segments, of 16 MiB or more, beside the one that is looked through; as many bytes as a replay fetches at a time. */
const AHEAD_BYTES = 32 * 1024 * 1024;
const MOST_AHEAD = 2;

export function openWalSearch(reader: WalReader, interrupted: AbortSignal): WalSearch {
  return {
    find: async (request) => {
      const found: LocatedTarget[] = [];
      try {
        await readThrough(reader, interrupted, request, found);
      } catch (error) {
        throw found.length > 0 ? cannotTell(error, request, found[0]!) : error;
      }
      return found.filter((each) => isOnPath(each, request.path));
    },
  };
}

async function readThrough(
  reader: WalReader,
  interrupted: AbortSignal,
  { target, files, path, segmentSize, firstOnly }: WalSearchRequest,
  found: LocatedTarget[],
): Promise<void> {
  const take = ({ lsn, end }: RecordPlace, time: PgTime): void => {
    if (firstOnly && found.length > 0) return;
    // Where the timeline changes, a record is met once more in the copy.
    if (found.some((each) => each.lsn === lsn)) return;
    found.push({ timeline: timelineOfLsn(path, lsn), lsn, end, time: formatPgTime(time) });
  };
  const listener = listenFor(target, take);
  let scanner: WalScanner | undefined;
  let before: WalFile | undefined;
  for await (const { file, bytes } of readAhead(reader, files, segmentSize)) {
    interrupted.throwIfAborted();
    // Where the timeline changes, its first segment begins with a copy of what was read already.
    if (!scanner || before?.timeline !== file.timeline || scanner.endOfWal !== undefined) {
      scanner = new WalScanner({ from: file.start, segmentSize, listener, where: `WAL of ${file.name}` });
    }
    scanner.push(bytes.subarray(0, Number(file.end - file.start)));
    releaseMemory(bytes);
    if (firstOnly && found.length > 0) return;
    before = file;
  }
}

/** One was found, and what comes behind it cannot be read. */
function cannotTell(
  error: unknown,
  { target, firstOnly }: WalSearchRequest,
  { lsn }: LocatedTarget,
): unknown {
  if (firstOnly || !(error instanceof LifeboatError) || error.code !== 'CORRUPT') return error;
  const one = `${describeTarget(target)} is at ${formatLsn(lsn)}; whether there is another behind that cannot be told`;
  return new LifeboatError('CORRUPT', `${one}: ${error.message}`, {
    cause: error,
    hint: `If that is the one, recover with: --to-lsn ${formatLsn(lsn)}. Nothing was touched.`,
  });
}

function isOnPath({ timeline, lsn }: LocatedTarget, path: readonly TimelineStretch[]): boolean {
  return path.some((each) => each.timeline === timeline && (each.to === undefined || lsn < each.to));
}

function listenFor(
  target: WalSearchRequest['target'],
  take: (place: RecordPlace, time: PgTime) => void,
): WalListener {
  if (target.kind === 'name') {
    return { restorePoint: (at) => at.name === target.name && take(at, at.time) };
  }
  return {
    commit: (at) => at.xid === target.xid && take(at, at.time),
    abort: (at) => at.xid === target.xid && take(at, at.time),
  };
}

async function* readAhead(
  reader: WalReader,
  files: readonly WalFile[],
  segmentSize: number,
): AsyncGenerator<{ readonly file: WalFile; readonly bytes: Buffer }> {
  const ahead = Math.max(1, Math.min(MOST_AHEAD, Math.floor(AHEAD_BYTES / segmentSize)));
  const pending: Promise<Buffer>[] = [];
  const startNext = (file: WalFile | undefined): void => {
    if (!file) return;
    const bytes = assembleSegment(reader, file, segmentSize);
    // Awaited in its turn; until then a failure must not count as unhandled.
    bytes.catch(() => undefined);
    pending.push(bytes);
  };
  for (const file of files.slice(0, ahead)) startNext(file);
  for (const [index, file] of files.entries()) {
    const bytes = await pending.shift()!;
    startNext(files[index + ahead]);
    yield { file, bytes };
  }
}
