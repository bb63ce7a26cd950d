import type { Base } from '../../../../lib/domain/base/base-catalog.ts';
import { asLifeboatError, type ErrorCode } from '../../../../lib/domain/errors.ts';
import { formatBytes, formatCount } from '../../../../lib/domain/quantities.ts';
import { formatLsn, type Lsn } from '../../../../lib/domain/wal/lsn.ts';
import type { TimelineStretch } from '../../../../lib/domain/wal/timeline.ts';
import type { Clock, Host, Log } from '../../ports/host.ts';
import type { ReplicationServer } from '../../ports/replication.ts';
import type {
  BaseBackups,
  CommitWatch,
  LocalWal,
  WalArchive,
  WalClusters,
  WalServer,
} from '../../ports/wal.ts';
import { Exposure } from './wal-exposure.ts';
import { pause, untilAborted } from './wal-pause.ts';
import { checkCluster, requestMissingBase, warnOfServer } from './wal-preflight.ts';
import { WalSession, type SessionLife } from './wal-session.ts';
import { SegmentAge } from './wal-switch.ts';

/** Everything that `wal stream` touches. */
export interface WalStreamPorts {
  readonly host: Host;
  readonly clock: Clock;
  readonly log: Log;
  readonly server: WalServer;
  readonly clusters: WalClusters;
  readonly baseBackups: BaseBackups;
  readonly connect: () => Promise<ReplicationServer>;
  readonly openArchive: (systemIdentifier: string) => WalArchive;
  /** The server's own folder of WAL, where that can be read. */
  readonly findLocalWal: (systemIdentifier: string) => Promise<LocalWal | undefined>;
  /** Base backups of this app. */
  readonly bases: () => Promise<readonly Base[]>;
  readonly watchCommits: (from: Lsn, segmentSize: number) => CommitWatch;
  /** The first signal: wind down. */
  readonly interrupted: AbortSignal;
  /** Soon after it: nothing is waited for any more. What S3 is asked ends with it. */
  readonly deadline: AbortSignal;
}

export interface WalStreamRequest {
  readonly app: string;
  readonly runId: string;
  readonly slot: string;
  readonly journalMs: number;
  readonly heartbeatMs: number;
  /** Where PostgreSQL has no limit of its own: a slot that holds more is let go of. */
  readonly slotCapBytes: number;
  /** Go on although another cluster wrote under this app's name a moment ago. */
  readonly adoptSeries: boolean;
}

/** How the service ended when it was told to. */
export interface WalStreamEnd {
  readonly systemIdentifier: string | undefined;
  readonly segments: number;
  readonly bytes: number;
  /** Everything before it lies in S3; `undefined`: nothing was streamed. */
  readonly safe: Lsn | undefined;
}

const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 30_000;
/** Between two tries of one write, which are several requests each: S3's return is to be noticed soon. */
const LONGEST_WRITE_PAUSE_MS = 5_000;

/** What no further try can mend. */
const FINAL: ReadonlySet<ErrorCode> = new Set([
  'BUG',
  'CORRUPT',
  'OBJECT_EXISTS',
  'SERIES_MISMATCH',
  'SETTINGS_INVALID',
  'USAGE',
  'WAL_CONFLICT',
]);

/**
 * `lifeboat wal stream`: streams WAL to S3 until it is told to stop, whatever happens to PostgreSQL, S3 or the network
 * meanwhile. Each session begins with what S3 holds, so there is no state of its own that a kill could leave wrong.
 * @throws LifeboatError what keeps the first session from beginning; afterwards only what no further try can mend
 */
export async function streamWalToS3(ports: WalStreamPorts, request: WalStreamRequest): Promise<WalStreamEnd> {
  const lock = await ports.host.lock(`${request.app}.wal`, `wal stream ${request.runId}`);
  const service = new WalService(ports, request);
  try {
    return await service.run();
  } finally {
    await lock.release();
  }
}

class WalService {
  readonly #ports: WalStreamPorts;
  readonly #request: WalStreamRequest;
  readonly #exposure: Exposure;
  readonly #segmentAge: SegmentAge;
  #pauseMs = FIRST_PAUSE_MS;
  /** A session has streamed: from then on whatever passes is waited for. */
  #proven = false;
  #systemIdentifier: string | undefined;
  /** Whose base backups were looked at: a cluster's timeline. */
  #surveyed: string | undefined;
  readonly #stored = { segments: 0, bytes: 0 };
  #safe: Lsn | undefined;

  constructor(ports: WalStreamPorts, request: WalStreamRequest) {
    this.#ports = ports;
    this.#request = request;
    this.#exposure = new Exposure(ports, request);
    this.#segmentAge = new SegmentAge(ports.clock);
  }

  async run(): Promise<WalStreamEnd> {
    const { interrupted, deadline, server } = this.#ports;
    const over = new AbortController();
    const reporting = this.#exposure.report(AbortSignal.any([over.signal, interrupted]));
    try {
      while (!interrupted.aborted) {
        // A server that does not answer at all must not hold up the end.
        await untilAborted(deadline, this.#try());
      }
    } finally {
      over.abort();
      await reporting;
      await untilAborted(deadline, server.close());
    }
    return { systemIdentifier: this.#systemIdentifier, ...this.#stored, safe: this.#safe };
  }

  async #try(): Promise<void> {
    const { interrupted, clock, log } = this.#ports;
    let session: WalSession | undefined;
    try {
      session = await this.#prepare();
      if (session) await session.run();
    } catch (error) {
      const failure = asLifeboatError(error);
      if (interrupted.aborted) return;
      if (!this.#proven || FINAL.has(failure.code)) throw failure;
      this.#exposure.fallBehind();
      this.#exposure.note(failure);
      log.warn(`${failure.message}; next try in ${this.#pauseMs / 1000} s`);
      await pause(clock, this.#pauseMs, interrupted);
      this.#pauseMs = Math.min(LONGEST_PAUSE_MS, this.#pauseMs * 2);
    } finally {
      if (session) this.#sumUp(session);
    }
  }

  async #prepare(): Promise<WalSession | undefined> {
    const { interrupted, server, openArchive } = this.#ports;
    const facts = await untilAborted(interrupted, server.facts(this.#request.slot));
    if (!facts) return undefined;
    const { systemIdentifier } = facts;
    if (systemIdentifier !== this.#systemIdentifier) {
      await checkCluster(this.#ports, this.#request, facts);
      warnOfServer(this.#ports, this.#request, facts);
      this.#systemIdentifier = systemIdentifier;
    }
    const ports = { ...this.#ports, archive: openArchive(systemIdentifier) };
    return new WalSession(ports, this.#request, this.#life(ports.archive), facts);
  }

  #life(archive: WalArchive): SessionLife {
    const { interrupted, log } = this.#ports;
    return {
      interrupted,
      exposure: this.#exposure,
      segmentAge: this.#segmentAge,
      persist: (write) => this.#persist(write),
      onCatchUp: (segments, from, { folder }, path) => {
        this.#prove();
        log.info(
          `Catching up: ${formatCount(segments, 'segment')} from ${formatLsn(from)} on, read in ${folder}, to ${archive.url}`,
        );
        void this.#surveyBases(archive, path);
      },
      onStreaming: ({ timeline, from }, path) => {
        this.#prove();
        const { slot } = this.#request;
        log.info(
          `Streaming WAL of cluster ${this.#systemIdentifier}, timeline ${timeline}, from ${formatLsn(from)} through slot ${slot} to ${archive.url}`,
        );
        void this.#surveyBases(archive, path);
      },
    };
  }

  #prove(): void {
    this.#proven = true;
    this.#pauseMs = FIRST_PAUSE_MS;
  }

  /** Once for each cluster and timeline, beside the stream. */
  async #surveyBases(archive: WalArchive, path: readonly TimelineStretch[]): Promise<void> {
    const line = `${archive.systemIdentifier}/${path.at(-1)?.timeline}`;
    if (this.#surveyed === line) return;
    this.#surveyed = line;
    try {
      await requestMissingBase(this.#ports, archive, await this.#ports.bases(), path);
    } catch (error) {
      // S3 failed just now: the next session looks again.
      this.#surveyed = undefined;
      this.#exposure.note(asLifeboatError(error));
    }
  }

  async #persist<T>(write: () => Promise<T>): Promise<T> {
    const { clock, deadline, interrupted } = this.#ports;
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(LONGEST_WRITE_PAUSE_MS, pauseMs * 2)) {
      try {
        return await write();
      } catch (error) {
        const failure = asLifeboatError(error);
        if (deadline.aborted || FINAL.has(failure.code)) throw failure;
        this.#exposure.note(failure);
        await pause(clock, interrupted.aborted ? Math.min(pauseMs, FIRST_PAUSE_MS) : pauseMs, deadline);
      }
    }
  }

  #sumUp({ receiver }: WalSession): void {
    this.#stored.segments += receiver.stored.segments;
    this.#stored.bytes += receiver.stored.bytes;
    if (receiver.safe > 0n) this.#safe = receiver.safe;
  }
}

/** The last line of a service that was told to stop. */
export function describeEnd({ segments, bytes, safe }: WalStreamEnd): string {
  if (safe === undefined) return 'Stopped before anything was streamed';
  return `Stopped; S3 holds all WAL before ${formatLsn(safe)} (${formatCount(segments, 'segment')}, ${formatBytes(bytes)} since the start)`;
}
