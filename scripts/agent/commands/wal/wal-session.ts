import { LifeboatError } from '../../../../lib/domain/errors.ts';
import { formatLsn, type Lsn } from '../../../../lib/domain/wal/lsn.ts';
import { segmentName, segmentStart } from '../../../../lib/domain/wal/segment.ts';
import { parseHistory, timelinePath, type TimelineStretch } from '../../../../lib/domain/wal/timeline.ts';
import type { Clock, Log } from '../../ports/host.ts';
import type { ReplicationServer, TimelineEnd, WalStream } from '../../ports/replication.ts';
import type {
  BaseBackups,
  CommitWatch,
  LocalWal,
  WalArchive,
  WalServer,
  WalServerFacts,
} from '../../ports/wal.ts';
import { catchUp } from './wal-catch-up.ts';
import type { Exposure } from './wal-exposure.ts';
import { keepBeating } from './wal-heartbeat.ts';
import { recordHole } from './wal-hole.ts';
import { aborted, pause, within } from './wal-pause.ts';
import { WalReceiver } from './wal-receiver.ts';
import { openSlot } from './wal-slot.ts';
import type { SegmentAge } from './wal-switch.ts';
import { findResumePoints, type ResumePoints, type StreamStart } from './wal-resume.ts';

export interface SessionPorts {
  readonly clock: Clock;
  readonly log: Log;
  readonly archive: WalArchive;
  readonly server: WalServer;
  readonly baseBackups: BaseBackups;
  readonly connect: () => Promise<ReplicationServer>;
  /** The server's own folder of WAL, where that can be read. */
  readonly findLocalWal: (systemIdentifier: string) => Promise<LocalWal | undefined>;
  readonly watchCommits: (from: Lsn, segmentSize: number) => CommitWatch;
}

export interface SessionRequest {
  readonly app: string;
  readonly slot: string;
  readonly journalMs: number;
  readonly heartbeatMs: number;
}

export interface SessionLife {
  /** Wind down: S3 gets what is here, as far as that goes quickly. */
  readonly interrupted: AbortSignal;
  readonly exposure: Exposure;
  readonly segmentAge: SegmentAge;
  /** So many segments are read beside the server first: whatever happens from now on is tried again. */
  readonly onCatchUp: (
    segments: number,
    from: Lsn,
    local: LocalWal,
    path: readonly TimelineStretch[],
  ) => void;
  /** The stream runs: the same. @param path the way to the server's timeline */
  readonly onStreaming: (start: StreamStart, path: readonly TimelineStretch[]) => void;
  /** Keeps trying until S3 has taken it; rejects only when that can never be, or at the deadline. */
  readonly persist: <T>(write: () => Promise<T>) => Promise<T>;
}

/** A server that shuts down waits for us: so long, then it is let go. The slot keeps what S3 has not got. */
const FAREWELL_MS = 5_000;

/** One connection's life, from looking up in S3 where to go on until the connection or the process ends. */
export class WalSession {
  readonly #ports: SessionPorts;
  readonly #request: SessionRequest;
  readonly #life: SessionLife;
  readonly #facts: WalServerFacts;
  readonly #receiver: WalReceiver;
  readonly #over = new AbortController();
  #path: readonly TimelineStretch[] = [];
  #stream: WalStream | undefined;
  /** How far the server's WAL went when the session began. */
  readonly #catchUpTo: Lsn;
  #failure: { readonly error: unknown } | undefined;

  constructor(ports: SessionPorts, request: SessionRequest, life: SessionLife, facts: WalServerFacts) {
    this.#ports = ports;
    this.#request = request;
    this.#life = life;
    this.#facts = facts;
    this.#catchUpTo = facts.flushLsn;
    this.#receiver = new WalReceiver({
      archive: ports.archive,
      clock: ports.clock,
      segmentSize: facts.segmentSize,
      persist: life.persist,
      watchCommits: ports.watchCommits,
      onSafe: (lsn) => this.#confirm(lsn),
      onFailure: (error) => this.#fail(error),
    });
  }

  get receiver(): WalReceiver {
    return this.#receiver;
  }

  /** @throws LifeboatError why the session ended; returns when it was interrupted */
  async run(): Promise<void> {
    const server = await this.#ports.connect();
    const loops: Promise<void>[] = [];
    try {
      const points = await this.#findStart(server);
      this.#life.exposure.watch(() => this.#receiver.waitingSince);
      loops.push(this.#journal(), this.#beat(), this.#windDownWhenInterrupted());
      const left = await catchUp(this.#ports, {
        connection: server,
        receiver: this.#receiver,
        slot: this.#request.slot,
        facts: this.#facts,
        points,
        interrupted: this.#life.interrupted,
        onCatchUp: (...found) => this.#life.onCatchUp(...found, this.#path),
      });
      if (!this.#life.interrupted.aborted) await this.#streamFrom(server, left);
    } finally {
      this.#over.abort();
      await Promise.all([server.close(), this.#bringHome(), ...loops]);
    }
    if (this.#failure) throw this.#failure.error;
  }

  async #findStart(server: ReplicationServer): Promise<ResumePoints> {
    const { timeline } = await server.identify();
    const path = (this.#path = await this.#storeHistory(server, timeline));
    const { segmentSize, flushLsn, slot } = this.#facts;
    const slotRestart = await openSlot(this.#ports, server, this.#request.slot, slot);
    return await findResumePoints(this.#ports.archive, { path, segmentSize, slotRestart, flushLsn });
  }

  /** From as early as the server still has the WAL; it may say only after the stream has begun that it has not. */
  async #streamFrom(server: ReplicationServer, points: ResumePoints): Promise<void> {
    const { wanted, promised, compared } = points;
    if (compared !== undefined && (await this.#tryFrom(server, wanted, compared)) === undefined) return;
    // What the server has no more, S3 holds: there is nothing to compare with.
    const removed = await this.#tryFrom(server, wanted);
    if (!removed) return;
    const { slot } = this.#request;
    if (wanted.from < promised.from) {
      await this.#recordHole(points, removed);
      const again = await this.#tryFrom(server, promised);
      if (!again) return;
    }
    // The slot broke its promise: the next session makes another one, and finds the hole then.
    await server.dropSlot(slot);
    throw new LifeboatError('SLOT_LOST', `The slot ${slot} does not hold what it should`, { cause: removed });
  }

  /** @returns that the server has no WAL from there on; `undefined` when the session is over */
  async #tryFrom(
    server: ReplicationServer,
    start: StreamStart,
    from = start.from,
  ): Promise<LifeboatError | undefined> {
    try {
      const stream = await this.#begin(server, start, from);
      this.#life.onStreaming(start, this.#path);
      await this.#receive(server, stream, start);
      return undefined;
    } catch (error) {
      if (isRemoved(error) && this.#receiver.position <= from) return error;
      throw error;
    }
  }

  /** Recovery to a timeline wants its history; there before anything of the timeline is. */
  async #storeHistory(server: ReplicationServer, timeline: number): Promise<TimelineStretch[]> {
    if (timeline === 1) return timelinePath(1, []);
    const { name, content } = await server.timelineHistory(timeline);
    const switches = parseHistory(content.toString('utf8'), name);
    await this.#life.persist(() => this.#ports.archive.putHistory(timeline, content));
    return timelinePath(timeline, switches);
  }

  async #recordHole({ wanted, promised }: ResumePoints, cause: LifeboatError): Promise<void> {
    const { archive, log, baseBackups } = this.#ports;
    const { segmentSize, now } = this.#facts;
    const reason = cause.message;
    const told = await this.#life.persist(() =>
      recordHole(archive, { lost: wanted, resumed: promised, segmentSize, now, reason }),
    );
    log.warn(told);
    baseBackups.request(told, { timeline: wanted.timeline, to: promised.from });
  }

  /** @param from earlier than the start: what S3 holds from there to the start is compared with what the server has */
  async #begin(server: ReplicationServer, start: StreamStart, from = start.from): Promise<WalStream> {
    const { slot } = this.#request;
    const { timeline, from: resume } = start;
    const segment = segmentName(timeline, resume, this.#facts.segmentSize);
    const pieces = await this.#ports.archive.pieces({ timeline, segment });
    const stream = await server.streamWal({ slot, timeline, from });
    this.#receiver.begin({ timeline, from, resume, pieces });
    this.#stream = stream;
    if (from === resume) this.#confirm(from);
    return stream;
  }

  /** Streams timeline after timeline. */
  async #receive(server: ReplicationServer, first: WalStream, start: StreamStart): Promise<void> {
    let stream = first;
    let { timeline } = start;
    for (;;) {
      await this.#take(stream);
      const ended = await stream.ended;
      if (!ended) return;
      this.#ports.log.info(`Timeline ${timeline} ended at ${formatLsn(ended.switchLsn)}`);
      await this.#receiver.endTimeline(ended.switchLsn);
      stream = await this.#follow(server, ended);
      timeline = ended.nextTimeline;
    }
  }

  async #follow(server: ReplicationServer, { nextTimeline, switchLsn }: TimelineEnd): Promise<WalStream> {
    await this.#storeHistory(server, nextTimeline);
    // The new timeline's first segment begins with the old one's bytes.
    const from = segmentStart(switchLsn, this.#facts.segmentSize);
    const stream = await this.#begin(server, { timeline: nextTimeline, from });
    this.#ports.log.info(`Streaming timeline ${nextTimeline} from ${formatLsn(from)}`);
    return stream;
  }

  async #take(stream: WalStream): Promise<void> {
    for await (const message of stream.messages()) {
      if (message.kind === 'wal') {
        const accepted = this.#receiver.accept(message.bytes);
        if (accepted) await accepted;
      } else if (message.serverStopping) {
        await this.#letServerGo(stream);
      }
    }
  }

  /** S3 gets the last bytes before the server goes, so that a switch-over loses nothing. */
  async #letServerGo(stream: WalStream): Promise<void> {
    const { clock, log } = this.#ports;
    const flushed = within(
      clock,
      FAREWELL_MS,
      this.#receiver.flush().then(() => this.#receiver.settle()),
    );
    if ((await flushed) && this.#receiver.safe === this.#receiver.position) return;
    log.warn(
      'PostgreSQL shuts down, and S3 does not have its last WAL yet: the slot keeps it until both are back',
    );
    await stream.stop();
  }

  #confirm(lsn: Lsn): void {
    // Of a stream that is over, nobody hears; the slot then lags, and S3 tells where to go on.
    this.#stream?.confirm(lsn);
    if (lsn >= this.#catchUpTo && !this.#over.signal.aborted) this.#life.exposure.catchUp();
  }

  #fail(error: unknown): void {
    this.#failure ??= { error };
    void this.#stream?.stop();
  }

  /** The open segment's new bytes, every few seconds while there are any. */
  async #journal(): Promise<void> {
    while (!this.#over.signal.aborted) {
      await pause(this.#ports.clock, this.#request.journalMs, this.#over.signal);
      await this.#receiver.flush();
    }
  }

  async #beat(): Promise<void> {
    const { slot, heartbeatMs } = this.#request;
    const committedAt = (): number | undefined => this.#receiver.committedAt;
    const switchDue = (): boolean =>
      this.#life.segmentAge.isDue(this.#receiver.position, this.#facts.segmentSize);
    const onSynchronous = (error: LifeboatError): void => this.#fail(error);
    await keepBeating(
      this.#ports,
      { slot, heartbeatMs, committedAt, switchDue, onSynchronous },
      this.#over.signal,
    );
  }

  async #windDownWhenInterrupted(): Promise<void> {
    const { interrupted } = this.#life;
    await aborted(AbortSignal.any([interrupted, this.#over.signal]));
    if (!interrupted.aborted) return;
    // Confirmed before the stream ends, so that the slot knows.
    await this.#receiver.flush();
    await this.#stream?.stop();
  }

  /** What was received is worth storing, whatever became of the connection. */
  async #bringHome(): Promise<void> {
    this.#life.exposure.fallBehind();
    try {
      await this.#receiver.flush();
      await this.#receiver.settle();
    } catch (error) {
      this.#failure ??= { error };
    }
  }
}

function isRemoved(error: unknown): error is LifeboatError {
  return error instanceof LifeboatError && error.code === 'WAL_REMOVED';
}
