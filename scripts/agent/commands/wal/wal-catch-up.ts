import type { Lsn } from '../../../../lib/domain/wal/lsn.ts';
import { segmentName } from '../../../../lib/domain/wal/segment.ts';
import type { Log } from '../../ports/host.ts';
import type { ReplicationServer } from '../../ports/replication.ts';
import type { LocalRead, LocalWal, WalArchive, WalServer, WalServerFacts } from '../../ports/wal.ts';
import type { WalReceiver } from './wal-receiver.ts';
import type { ResumePoints } from './wal-resume.ts';

/** Fewer than so many segments are sent by the server as quickly. */
const WORTHWHILE = 4;
/** Segments that S3 got, after which the server hears of it. */
const ADVANCE_AFTER = 32;
/** Meanwhile more is written. A server that writes all the time must come to be streamed, or S3 never gets the open segment. */
const MOST_ROUNDS = 3;

export interface CatchUpPorts {
  readonly log: Log;
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
 * is compared first. The stream compares the last segment once more: no address proves that the server that told of its files
 * is the one that streams.
 * @returns where the stream has to begin; everything before it lies in S3
 * @throws whatever no further try can mend
 */
export async function catchUp(ports: CatchUpPorts, request: CatchUpRequest): Promise<ResumePoints> {
  const { points, facts } = request;
  if (!isHeld(points, facts)) return points;
  const backlog = await countFlushed(ports, request, points.wanted.from);
  if (backlog < WORTHWHILE) return points;
  const local = await ports.findLocalWal(ports.archive.systemIdentifier);
  if (!local) return points;
  request.onCatchUp(backlog, points.wanted.from, local);
  return await new Backlog(ports, request, local).take();
}

/** Whether the slot holds all that is to be read, on the timeline that the server writes. */
function isHeld({ wanted, promised }: ResumePoints, { standby, slot, timeline }: WalServerFacts): boolean {
  if (standby || slot?.active === true) return false;
  return wanted.timeline === timeline && promised.timeline === timeline && wanted.from >= promised.from;
}

/** Complete segments that the server has flushed; 0 also when it is another one, or writes another timeline by now. */
async function countFlushed(
  { archive }: CatchUpPorts,
  { connection, points, facts }: CatchUpRequest,
  from: Lsn,
): Promise<number> {
  const now = await connection.identify();
  if (now.systemIdentifier !== archive.systemIdentifier) return 0;
  if (now.timeline !== points.wanted.timeline || now.flushLsn < from) return 0;
  return Number((now.flushLsn - from) / BigInt(facts.segmentSize));
}

class Backlog {
  readonly #ports: CatchUpPorts;
  readonly #request: CatchUpRequest;
  readonly #local: LocalWal;
  readonly #segmentSize: number;
  #refused = false;

  constructor(ports: CatchUpPorts, request: CatchUpRequest, local: LocalWal) {
    this.#ports = ports;
    this.#request = request;
    this.#local = local;
    this.#segmentSize = request.facts.segmentSize;
  }

  async take(): Promise<ResumePoints> {
    const { receiver, points } = this.#request;
    const { timeline, from: resume } = points.wanted;
    const segment = segmentName(timeline, resume, this.#segmentSize);
    const pieces = await this.#ports.archive.pieces({ timeline, segment });
    const { compared } = points;
    receiver.begin({ timeline, from: compared ?? resume, resume, pieces });
    if (compared !== undefined) {
      const end = await this.#takeSegments(1);
      if (end === 'unfit') return points;
      // What the server has no more, S3 holds: there is nothing to compare with.
      if (end === 'absent') receiver.begin({ timeline, from: resume, resume, pieces });
    }
    for (let round = 0; round < MOST_ROUNDS; round += 1) {
      const count = await countFlushed(this.#ports, this.#request, receiver.position);
      if (count < WORTHWHILE || (await this.#takeSegments(count)) !== 'all') break;
    }
    await receiver.settle();
    await this.#advanceSlot();
    const reached = receiver.position;
    // Nothing was to be had: the server sends all, and what is to be compared once more.
    if (reached <= resume) return points;
    const wanted = { timeline, from: reached };
    return { wanted, promised: wanted, compared: reached - BigInt(this.#segmentSize) };
  }

  async #takeSegments(count: number): Promise<Exclude<LocalRead, 'taken'> | 'all' | 'interrupted'> {
    const { receiver, interrupted } = this.#request;
    let told = receiver.safe;
    for (let index = 0; index < count; index += 1) {
      if (interrupted.aborted) return 'interrupted';
      const found = await this.#takeSegment();
      if (found !== 'taken') return found;
      if (receiver.safe - told < BigInt(ADVANCE_AFTER * this.#segmentSize)) continue;
      told = receiver.safe;
      await this.#advanceSlot();
    }
    return 'all';
  }

  async #takeSegment(): Promise<LocalRead> {
    const { receiver, points } = this.#request;
    const { timeline } = points.wanted;
    let found: LocalRead = 'unfit';
    await receiver.acceptSegment(async (into, start) => {
      found = await this.#local.read(
        { timeline, segment: segmentName(timeline, start, this.#segmentSize) },
        into,
      );
      return found === 'taken';
    });
    return found;
  }

  /** The slot goes on holding the last segment, which the stream compares. */
  async #advanceSlot(): Promise<void> {
    const { slot, receiver, points } = this.#request;
    const held = receiver.safe - BigInt(this.#segmentSize);
    // Further back than it is the server lets nobody set it.
    if (held <= points.promised.from) return;
    try {
      await this.#ports.server.advanceSlot(slot, held);
    } catch (error) {
      // The stream tells it as well, as soon as it begins; until then the server only keeps more than it needs to.
      if (!this.#refused)
        this.#ports.log.warn(
          `The slot ${slot} keeps WAL that S3 holds until the stream begins: ${(error as Error).message}`,
        );
      this.#refused = true;
    }
  }
}
