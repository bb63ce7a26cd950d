import { LifeboatError } from '../../../../lib/domain/errors.ts';
import { timelineOfBackupHistory } from '../../../../lib/domain/wal/backup-history.ts';
import type { Lsn } from '../../../../lib/domain/wal/lsn.ts';
import { parseSegmentName, parseTimeline, timelineOfSegment } from '../../../../lib/domain/wal/segment.ts';
import { parseHistory } from '../../../../lib/domain/wal/timeline.ts';
import type { CommitWatch, WalArchive, WalFiles } from '../../ports/wal.ts';

export interface WalPushPorts {
  readonly files: WalFiles;
  readonly openArchive: (systemIdentifier: string) => WalArchive;
  readonly watchCommits: (from: Lsn, segmentSize: number) => CommitWatch;
}

export interface WalPushResult {
  /** The one that was asked for first. */
  readonly pushed: readonly string[];
}

/** How many that wait go along in one go. */
export const MOST_NEIGHBOURS = 63;
const AT_ONCE = 4;
/** Raw WAL in memory, however large segments are. */
const MEMORY = 64 * 1024 * 1024;

/**
 * `lifeboat wal push`, PostgreSQL's archive_command: returns once the file is durable in S3. Under load those that wait behind
 * it go along, several at once, and are marked, so that no interpreter is started for each.
 * @throws LifeboatError whatever keeps the file that was asked for from being stored; PostgreSQL asks again
 */
export async function pushWal(ports: WalPushPorts, name: string): Promise<WalPushResult> {
  const { files, openArchive } = ports;
  const systemIdentifier = await files.systemIdentifier();
  const archive = openArchive(systemIdentifier);
  const pusher = { ...ports, archive };
  const size = await pushFile(pusher, name);
  const pushed = [name];
  if (timelineOfSegment(name) !== undefined) {
    const waiting = await files.waiting(name, MOST_NEIGHBOURS);
    pushed.push(...(await pushNeighbours(pusher, waiting, size)));
  }
  await files.sweepMarks();
  return { pushed };
}

interface Pusher extends WalPushPorts {
  readonly archive: WalArchive;
}

/**
 * One that fails is asked for by PostgreSQL in its turn; what is not in order is told then.
 * @param size of a segment
 */
async function pushNeighbours(pusher: Pusher, names: readonly string[], size: number): Promise<string[]> {
  const waiting = [...names];
  const pushed: string[] = [];
  const work = async (): Promise<void> => {
    // Shared, so that threads pack it without a copy; one file after the other goes through it.
    const memory = Buffer.from(new SharedArrayBuffer(size));
    for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
      try {
        const identity = await pusher.files.identify(name);
        await pushFile(pusher, name, memory);
        await pusher.files.mark(name, identity);
        pushed.push(name);
      } catch {
        waiting.length = 0;
      }
    }
  };
  const atOnce = Math.min(AT_ONCE, names.length, Math.max(1, Math.floor(MEMORY / size)));
  await Promise.all(Array.from({ length: atOnce }, work));
  return pushed.toSorted();
}

/**
 * @param memory where it is read to when it is of that very size
 * @returns how large it is
 */
async function pushFile(pusher: Pusher, name: string, memory?: Buffer): Promise<number> {
  const { files, archive } = pusher;
  const [, history] = /^([0-9A-F]{8})\.history$/.exec(name) ?? [];
  const timeline = history === undefined ? undefined : parseTimeline(history);
  if (timeline !== undefined) {
    const content = await files.read(name);
    await archive.putHistory(timeline, content);
    return content.length;
  }
  const backup = timelineOfBackupHistory(name);
  if (backup !== undefined) {
    const content = await files.read(name);
    await archive.putBackupHistory(backup, name, content);
    return content.length;
  }
  const segment = name.replace(/\.partial$/, '');
  if (timelineOfSegment(segment) === undefined) throw notWal(name);
  const bytes = await files.read(name, memory);
  await pushSegment(pusher, name, segment, bytes);
  return bytes.length;
}

async function pushSegment(pusher: Pusher, name: string, segment: string, bytes: Buffer): Promise<void> {
  const { files, archive } = pusher;
  const { systemIdentifier, segmentSize } = files.describeSegment(name, bytes);
  const place = parseSegmentName(segment, bytes.length);
  if (!place || segmentSize !== bytes.length) throw notWal(name);
  if (systemIdentifier !== archive.systemIdentifier) {
    throw new LifeboatError(
      'CORRUPT',
      `${name} is WAL of the cluster ${systemIdentifier}, and its data directory is that of ${archive.systemIdentifier}`,
      { hint: 'It was not archived. Was a file of another cluster copied into pg_wal?' },
    );
  }
  const where = { timeline: place.timeline, segment };
  if (name === segment) {
    const watch = pusher.watchCommits(place.start, segmentSize);
    watch.pushSegment(bytes);
    const packed = await archive.packSegment(where, bytes, watch.last);
    await packed.put();
    return;
  }
  const end = await findSwitch(files, place.timeline, place.start, bytes.length);
  const kept = bytes.subarray(0, end === undefined ? bytes.length : Number(end - place.start));
  // Its end is somewhere within, and no last commit to be found from behind.
  const watch = pusher.watchCommits(place.start, segmentSize);
  watch.push(kept);
  await archive.putPartial(where, kept, watch.last);
}

/** What lies behind the switch in a timeline's last segment is of no timeline; a stream has not got it either. */
async function findSwitch(
  files: WalFiles,
  timeline: number,
  start: Lsn,
  segmentSize: number,
): Promise<Lsn | undefined> {
  for (const name of await files.histories()) {
    const last = parseHistory((await files.read(name)).toString('utf8'), name).at(-1);
    const inside = last && last.switchLsn > start && last.switchLsn < start + BigInt(segmentSize);
    if (inside && last.timeline === timeline) return last.switchLsn;
  }
  return undefined;
}

function notWal(name: string): LifeboatError {
  return new LifeboatError('USAGE', `${JSON.stringify(name)} is no file that PostgreSQL archives`, {
    hint: `In postgresql.conf: archive_command = 'lifeboat wal push %p'`,
  });
}
