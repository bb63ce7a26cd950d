import type { Lsn } from '../../../../lib/domain/wal/lsn.ts';
import { segmentName } from '../../../../lib/domain/wal/segment.ts';
import type { ReplicationServer } from '../../ports/replication.ts';
import type { LocalWal, WalArchive, WalServer, WalServerFacts } from '../../ports/wal.ts';
import type { WalReceiver } from './wal-receiver.ts';
import type { ResumePoints } from './wal-resume.ts';

/** Fewer than so many segments are sent by the server as quickly. */
const WORTHWHILE = 4;
/** Segments that S3 got, after which the server hears of it. */
const ADVANCE_AFTER = 32;

export interface CatchUpPorts {
  readonly archive: WalArchive;
  readonly server: WalServer;
  /** The server's own folder of WAL, where that can be read. */
  readonly findLocalWal: (systemIdentifier: string) => Promise<LocalWal | undefined>;
}

export interface CatchUpRequest {
  /** Over which WAL is streamed afterwards. */
  readonly connection: ReplicationServer;
  readonly receiver: WalReceiver;
  readonly slot: string;
  readonly facts: WalServerFacts;
  readonly points: ResumePoints;
  readonly interrupted: AbortSignal;
  readonly onCatchUp: (segments: number, from: Lsn, local: LocalWal) => void;
}

/**
 * Takes a backlog of complete segments from the server's own files, where that runs on this host: reading it, sending it and
 * receiving it again is several times the work. As with a stream, the slot holds the files until S3 has them, and what S3 has
 * is compared first.
 * @returns where the stream has to begin; everything before it lies in S3
 * @throws whatever no further try can mend
 */
export async function catchUp(ports: CatchUpPorts, request: CatchUpRequest): Promise<ResumePoints> {
  const { points, facts } = request;
  if (!isHeld(points, facts)) return points;
  const backlog = await countFlushed(request, points.wanted.from);
  if (backlog < WORTHWHILE) return points;
  const local = await ports.findLocalWal(ports.archive.systemIdentifier);
  if (!local) return points;
  request.onCatchUp(backlog, points.wanted.from, local);
  return await takeBacklog(ports, request, local);
}

/** Whether the slot holds all that is to be read, on the timeline that the server writes. */
function isHeld({ wanted, promised }: ResumePoints, { standby, slot, timeline }: WalServerFacts): boolean {
  if (standby || slot?.active === true) return false;
  return wanted.timeline === timeline && promised.timeline === timeline && wanted.from >= promised.from;
}

/** Complete segments that the server has flushed; 0 also when it writes another timeline by now. */
async function countFlushed({ connection, points, facts }: CatchUpRequest, from: Lsn): Promise<number> {
  const now = await connection.identify();
  if (now.timeline !== points.wanted.timeline || now.flushLsn < from) return 0;
  return Number((now.flushLsn - from) / BigInt(facts.segmentSize));
}

async function takeBacklog(
  ports: CatchUpPorts,
  request: CatchUpRequest,
  local: LocalWal,
): Promise<ResumePoints> {
  const { receiver, facts, points } = request;
  const { timeline, from: resume } = points.wanted;
  const segment = segmentName(timeline, resume, facts.segmentSize);
  const pieces = await ports.archive.pieces({ timeline, segment });
  const { compared } = points;
  receiver.begin({ timeline, from: compared ?? resume, resume, pieces });
  // What the server has no more, S3 holds: there is nothing to compare with.
  if (compared !== undefined && !(await takeSegments(ports, request, local, 1)))
    receiver.begin({ timeline, from: resume, resume, pieces });
  for (;;) {
    const count = await countFlushed(request, receiver.position);
    if (count < WORTHWHILE || !(await takeSegments(ports, request, local, count))) break;
  }
  await receiver.settle();
  await advanceSlot(ports, request);
  const reached = receiver.position;
  // Nothing was to be had: the server sends all, and what is to be compared once more.
  if (reached <= resume) return points;
  const wanted = { timeline, from: reached };
  return { wanted, promised: wanted, compared: undefined };
}

/** @returns whether all of them were to be had */
async function takeSegments(
  ports: CatchUpPorts,
  request: CatchUpRequest,
  local: LocalWal,
  count: number,
): Promise<boolean> {
  const { receiver, facts, points, interrupted } = request;
  const { timeline } = points.wanted;
  let told = receiver.safe;
  for (let index = 0; index < count; index += 1) {
    if (interrupted.aborted) return false;
    const taken = await receiver.acceptSegment((into, start) =>
      local.read({ timeline, segment: segmentName(timeline, start, facts.segmentSize) }, into),
    );
    if (!taken) return false;
    if (receiver.safe - told < BigInt(ADVANCE_AFTER * facts.segmentSize)) continue;
    told = receiver.safe;
    await advanceSlot(ports, request);
  }
  return true;
}

async function advanceSlot(
  { server }: CatchUpPorts,
  { slot, receiver, points }: CatchUpRequest,
): Promise<void> {
  // Further back than it is the server lets nobody set it.
  if (receiver.safe <= points.promised.from) return;
  try {
    await server.advanceSlot(slot, receiver.safe);
  } catch {
    // The stream tells it as well, as soon as it begins; until then the server only keeps more than it needs to.
  }
}
