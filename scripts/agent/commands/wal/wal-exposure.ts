import { LifeboatError } from '../../../../lib/domain/errors.ts';
import { formatBytes, formatDuration, formatTime } from '../../../../lib/domain/quantities.ts';
import type { Clock, Log } from '../../ports/host.ts';
import type { WalServer } from '../../ports/wal.ts';
import { pause } from './wal-pause.ts';

export interface ExposurePorts {
  readonly clock: Clock;
  readonly log: Log;
  readonly server: WalServer;
}

export interface ExposureRequest {
  readonly slot: string;
  readonly journalMs: number;
  /** Where PostgreSQL has no limit of its own: a slot that holds more is let go of. */
  readonly slotCapBytes: number;
}

const LOOK_MS = 1_000;
/** Beyond the journal's own interval: what takes so long is worth a line. */
const PATIENCE_MS = 10_000;
const REPEAT_MS = 60_000;

/**
 * Since when there is WAL that S3 does not hold, and why: what would be lost with the host at this moment. Told once a minute
 * while it lasts, and when it is over.
 */
export class Exposure {
  readonly #ports: ExposurePorts;
  readonly #limitMs: number;
  readonly #slot: string;
  readonly #capBytes: number;
  #trouble: string | undefined;
  /** Not receiving, or not yet received what was written meanwhile. */
  #behindSince: number | undefined;
  #waitingSince: () => number | undefined = () => undefined;
  #toldAt: number | undefined;
  #toldSince = 0;

  constructor(ports: ExposurePorts, { slot, journalMs, slotCapBytes }: ExposureRequest) {
    this.#ports = ports;
    this.#slot = slot;
    this.#capBytes = slotCapBytes;
    this.#limitMs = journalMs + PATIENCE_MS;
  }

  /** What a receiver holds that S3 does not. */
  watch(waitingSince: () => number | undefined): void {
    this.#waitingSince = waitingSince;
  }

  /** Something did not work and is tried again. */
  note(error: LifeboatError): void {
    this.#trouble = error.message;
  }

  /** Nothing is received any more. */
  fallBehind(): void {
    this.#behindSince ??= this.#waitingSince() ?? this.#ports.clock.monotonic();
    this.#waitingSince = () => undefined;
  }

  /** S3 holds all that the server had written when the stream began. */
  catchUp(): void {
    this.#behindSince = undefined;
  }

  /** By the clock that never jumps; `undefined`: S3 holds everything, or will in a moment. */
  get since(): number | undefined {
    return this.#behindSince ?? this.#waitingSince();
  }

  async report(until: AbortSignal): Promise<void> {
    while (!until.aborted) {
      await pause(this.#ports.clock, LOOK_MS, until);
      if (!until.aborted) await this.#look();
    }
  }

  async #look(): Promise<void> {
    const now = this.#ports.clock.monotonic();
    const { since } = this;
    const exposed = since !== undefined && now - since > this.#limitMs;
    if (exposed && (this.#toldAt === undefined || now - this.#toldAt >= REPEAT_MS)) {
      if (this.#toldAt === undefined) this.#toldSince = since;
      this.#toldAt = now;
      await this.#tell(now - since);
    }
    // Only when all is well, not as soon as a single segment came through.
    if (this.#toldAt !== undefined && !exposed) {
      this.#ports.log.info(`✅ S3 holds all WAL again, after ${formatDuration(now - this.#toldSince)}`);
      this.#toldAt = undefined;
      this.#trouble = undefined;
    }
  }

  async #tell(forMs: number): Promise<void> {
    const { clock, log } = this.#ports;
    const since = formatTime(new Date(clock.now().getTime() - forMs));
    const why = this.#trouble ?? 'no answer yet';
    log.warn(
      `What was committed since ${since} (${formatDuration(forMs)}) is not in S3 and would be lost with this host: ${why}\n${await this.#describeSlot()}`,
    );
  }

  async #describeSlot(): Promise<string> {
    const { server } = this.#ports;
    try {
      const { slot, flushLsn, slotCapBytes } = await server.facts(this.#slot);
      if (slot?.restartLsn === undefined) return `The slot ${this.#slot} holds no WAL: a hole is likely`;
      const keptBytes = Number(flushLsn - slot.restartLsn);
      const kept = `PostgreSQL keeps ${formatBytes(keptBytes)} of WAL in its slot ${this.#slot}`;
      if (slotCapBytes === undefined && keptBytes > this.#capBytes && !slot.active) {
        // PostgreSQL must keep running: a full disk would stop it.
        await server.dropSlot(this.#slot);
        return `${kept}, more than WAL_SLOT_CAP: it was let go of, and a hole is left when S3 is back`;
      }
      const room = slot.safeBytes ?? this.#capBytes - keptBytes;
      return `${kept}, with room for ${formatBytes(Math.max(0, room))} more`;
    } catch (error) {
      return `PostgreSQL cannot be asked either: ${(error as Error).message}`;
    }
  }
}
