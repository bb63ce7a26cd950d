import { asLifeboatError, LifeboatError } from '../../../../lib/domain/errors.ts';
import type { Clock, Log } from '../../ports/host.ts';
import type { WalServer } from '../../ports/wal.ts';
import { pause } from './wal-pause.ts';

export interface HeartbeatPorts {
  readonly clock: Clock;
  readonly log: Log;
  readonly server: WalServer;
}

export interface HeartbeatRequest {
  readonly slot: string;
  readonly heartbeatMs: number;
  /** When the last commit arrived, by the clock that never jumps. */
  readonly committedAt: () => number | undefined;
  /** Whether the open segment has been open for too long. */
  readonly switchDue: () => boolean;
  /** Someone changed synchronous_standby_names while we stream: commits would wait for S3. */
  readonly onSynchronous: (error: LifeboatError) => void;
}

const SHORTEST_PAUSE_MS = 500;

/** Keeps an idle database's window moving, and looks whether commits wait for us, until `over`. */
export async function keepBeating(
  { clock, log, server }: HeartbeatPorts,
  { slot, heartbeatMs, committedAt, switchDue, onSynchronous }: HeartbeatRequest,
  over: AbortSignal,
): Promise<void> {
  let trouble: string | undefined;
  let beatAt = clock.monotonic();
  const idleMs = (): number => clock.monotonic() - Math.max(beatAt, committedAt() ?? 0);
  for (;;) {
    await pause(clock, Math.max(heartbeatMs - idleMs(), SHORTEST_PAUSE_MS), over);
    if (over.aborted) return;
    try {
      if (idleMs() >= heartbeatMs) {
        beatAt = clock.monotonic();
        await server.heartbeat();
      }
      const state = (await server.facts(slot)).slot?.stream?.syncState ?? '';
      if (state !== '' && state !== 'async') onSynchronous(synchronous(state));
      trouble = undefined;
      if (switchDue()) await endSegment({ log, server });
    } catch (error) {
      // The stream itself goes on: only an idle database's window stands still meanwhile.
      const { message } = asLifeboatError(error);
      if (trouble !== message) log.warn(`No heartbeat: ${message}`);
      trouble = message;
    }
  }
}

/** Once tried; a role that may not is told so, and the segment goes on filling. */
async function endSegment({ log, server }: Pick<HeartbeatPorts, 'log' | 'server'>): Promise<void> {
  try {
    if (await server.switchWal()) log.info('The open WAL segment was a day old, and was ended');
  } catch (error) {
    const { message } = asLifeboatError(error);
    log.warn(
      `The open WAL segment is a day old, and could not be ended: ${message}. GRANT EXECUTE ON FUNCTION pg_switch_wal() TO the role that streams, in the database postgres`,
    );
  }
}

function synchronous(state: string): LifeboatError {
  return new LifeboatError(
    'SYNC_STANDBY',
    `pg_stat_replication calls us ${JSON.stringify(state)}: commits would wait for S3`,
  );
}
