import { LifeboatError } from '../../../../lib/domain/errors.ts';
import { formatBytes, formatDuration } from '../../../../lib/domain/quantities.ts';
import { formatLsn } from '../../../../lib/domain/wal/lsn.ts';
import { segmentStart } from '../../../../lib/domain/wal/segment.ts';
import type { RestorableWindow } from '../../../../lib/domain/wal/window.ts';
import type { WalServerFacts } from '../../ports/wal.ts';
import type { WalStatusRequest, WalStatusResult } from './wal-status.ts';

/** Why a monitoring check should page. */
export function judgeWal(
  { app, server, slotName, held, lag, window }: Omit<WalStatusResult, 'failure'>,
  { maxLagMs }: WalStatusRequest,
): LifeboatError | undefined {
  const pushed = server?.pushes !== undefined && !server.slot;
  return (
    (server && !pushed ? judgeSlot(server, slotName) : undefined) ??
    (pushed ? judgePushes(server, lag, maxLagMs) : judgeLag(lag, maxLagMs, STREAM_JOURNAL)) ??
    (window && judgeWindow(app, window)) ??
    (pushed && held === undefined
      ? attention('S3 holds no WAL behind the base backup: archive_command has brought none', ARCHIVER)
      : undefined)
  );
}

const START =
  'Start it: systemctl start the service of lifeboat install --systemd --wal, or run: lifeboat wal stream';

const STREAM_JOURNAL = 'Look why: journalctl -u the service of lifeboat install --systemd --wal';
const ARCHIVER =
  'Look why: SELECT * FROM pg_stat_archiver; and PostgreSQL’s log, which has what wal push said.';

/** The open segment is PostgreSQL's to end: only those that are complete can be late. */
function judgePushes(
  { flushLsn, segmentSize }: WalServerFacts,
  lag: WalStatusResult['lag'],
  maxLagMs: number,
): LifeboatError | undefined {
  const openBytes = Number(flushLsn - segmentStart(flushLsn, segmentSize));
  return lag && lag.bytes > openBytes ? judgeLag(lag, maxLagMs, ARCHIVER) : undefined;
}

function judgeSlot({ slot, pushes }: WalServerFacts, name: string): LifeboatError | undefined {
  if (!slot) return attention(`There is no slot ${name}: nothing keeps WAL until S3 has it`, START);
  if (slot.status === 'lost') {
    return attention(`The slot ${name} has lost WAL that S3 does not hold: there will be a hole`, START);
  }
  if (!slot.active && !slot.catchingUp) {
    const unneeded = `Does archive_command do it instead? Then let go of what the slot keeps: SELECT pg_drop_replication_slot('${name}')`;
    return attention(`Nobody streams WAL from the slot ${name}`, pushes ? unneeded : START);
  }
  const sync = slot.stream?.syncState ?? 'async';
  if (sync !== 'async') {
    return new LifeboatError(
      'SYNC_STANDBY',
      `The stream is a synchronous standby (${sync}): commits wait for S3`,
    );
  }
  if (slot.status === 'unreserved') {
    return attention(
      `The slot ${name} is over its limit: WAL that S3 does not hold may be removed at any moment`,
      'Look why S3 is behind: journalctl -u the service; raise max_slot_wal_keep_size while there is room on the disk.',
    );
  }
  return undefined;
}

function judgeLag(lag: WalStatusResult['lag'], maxLagMs: number, hint: string): LifeboatError | undefined {
  if (!lag || lag.milliseconds <= maxLagMs) return undefined;
  return attention(
    `S3 is ${formatDuration(lag.milliseconds)} and ${formatBytes(lag.bytes)} behind; at most ${formatDuration(maxLagMs)} is allowed`,
    hint,
  );
}

function judgeWindow(app: string, window: RestorableWindow): LifeboatError | undefined {
  if (window.timelines.length === 0) return noBase(app);
  const open = window.holes.find(({ until }) => until === undefined);
  if (!open) return undefined;
  return attention(
    `Nothing after ${open.since} can be restored: WAL is missing from ${formatLsn(open.from)} on, and there is no base backup behind it`,
    'Run: lifeboat backup --kind base',
  );
}

export function noBase(app: string): LifeboatError {
  return attention(
    `${app} has no base backup in S3 yet: nothing can be restored to a point in time`,
    'Run: lifeboat backup --kind base',
  );
}

function attention(message: string, hint: string): LifeboatError {
  return new LifeboatError('ATTENTION', message, { hint });
}
