import { displayName } from '../../../lib/domain/backup/series.ts';
import { formatBytes, formatCount, formatDuration } from '../../../lib/domain/quantities.ts';
import { formatLsn, type Lsn } from '../../../lib/domain/wal/lsn.ts';
import { describeHole, windowJson } from '../../../lib/domain/wal/window-report.ts';
import type { WalStatusResult } from '../commands/wal/wal-status.ts';
import type { WalVerifyResult } from '../commands/wal/wal-verify.ts';
import type { SlotFacts, WalServerFacts } from '../ports/wal.ts';
import { renderErrorAsJson } from './error.ts';

export function renderWalStatus(result: WalStatusResult): string[] {
  const { server, lag, window } = result;
  return [
    `${result.failure ? '❌' : '✅'} ${displayName(result.app)}, cluster ${result.systemIdentifier ?? 'unknown'}`,
    `Server            ${server ? describeServer(server) : 'does not answer'}`,
    `In S3             ${describeStored(result)}`,
    `Behind            ${lag ? `${formatBytes(lag.bytes)}, ${formatDuration(lag.milliseconds)}` : 'unknown'}`,
    `Slot              ${describeSlot(result.slotName, server?.slot)}`,
    ...(server?.pushes ? [`Archiver          ${describePushes(server.pushes)}`] : []),
    `Restorable from   ${describePoint(window?.earliest)}`,
    `Restorable until  ${describePoint(window?.latest)}`,
    ...(window?.holes ?? []).map((hole) => `⚠️  ${describeHole(hole)}`),
  ];
}

function describeStored({ held, lastCommit }: WalStatusResult): string {
  if (held === undefined) return 'no WAL, or none that follows on';
  return `all WAL before ${formatLsn(held)}, last commit ${lastCommit?.time ?? 'unknown'}`;
}

function describePoint(point: { readonly time: string } | undefined): string {
  return point?.time ?? 'no base backup yet';
}

function describeServer({ flushLsn, standby, slot }: WalServerFacts): string {
  const stream = slot?.stream;
  const received = stream?.receivedLsn === undefined ? '' : `, received ${formatLsn(stream.receivedLsn)}`;
  const confirmed = stream?.flushLsn === undefined ? '' : `, confirmed ${formatLsn(stream.flushLsn)}`;
  return `${standby ? 'standby' : 'primary'} at ${formatLsn(flushLsn)}${received}${confirmed}`;
}

function describeSlot(name: string, slot: SlotFacts | undefined): string {
  if (!slot) return `${name}: none`;
  const room =
    slot.safeBytes === undefined ? 'no limit' : `room for ${formatBytes(Math.max(0, slot.safeBytes))}`;
  return `${name}: ${slot.status ?? 'holds nothing'}, ${slot.active ? 'in use' : 'not in use'}, ${room}`;
}

function describePushes({ timeoutSeconds }: NonNullable<WalServerFacts['pushes']>): string {
  const timeout =
    timeoutSeconds === 0
      ? 'without archive_timeout: the open segment may wait for long'
      : `with archive_timeout = ${timeoutSeconds}s`;
  return `archive_command calls lifeboat wal push, ${timeout}`;
}

export function walStatusAsJson(result: WalStatusResult): unknown {
  const { server, lastCommit, lag, window, failure } = result;
  return {
    operation: 'wal status',
    app: result.app,
    systemIdentifier: result.systemIdentifier ?? null,
    standby: server?.standby ?? null,
    serverLsn: lsn(server?.flushLsn),
    ...slotAsJson(result.slotName, server?.slot),
    archiveTimeoutSeconds: server?.pushes?.timeoutSeconds ?? null,
    storedLsn: lsn(result.held),
    lastCommit: lastCommit ? { time: lastCommit.time, lsn: formatLsn(lastCommit.lsn) } : null,
    lagBytes: lag?.bytes ?? null,
    lagSeconds: lag === undefined ? null : lag.milliseconds / 1000,
    window: window ? windowJson(window) : null,
    ...(failure ? (renderErrorAsJson(failure) as object) : { succeeded: true }),
  };
}

function slotAsJson(name: string, slot: SlotFacts | undefined): object {
  if (!slot) return { receivedLsn: null, confirmedLsn: null, slot: null };
  const { stream, status, active, restartLsn, safeBytes } = slot;
  return {
    receivedLsn: lsn(stream?.receivedLsn),
    confirmedLsn: lsn(stream?.flushLsn ?? restartLsn),
    slot: {
      name,
      status: status ?? null,
      active,
      restartLsn: lsn(restartLsn),
      safeBytes: safeBytes ?? null,
    },
  };
}

function lsn(value: Lsn | undefined): string | null {
  return value === undefined ? null : formatLsn(value);
}

export function renderWalVerify({ clusters, durationMs }: WalVerifyResult): string[] {
  return clusters.map(
    ({ systemIdentifier, segments, partials, pieces, bytes, records, holes, problems }) =>
      `${problems.length > 0 ? '❌' : '✅'} Cluster ${systemIdentifier}: ${formatCount(segments, 'segment')}, ${formatCount(partials, 'partial one')}, ${formatCount(pieces, 'journal piece')}, ${formatBytes(bytes)} of WAL with ${formatCount(records, 'record')}, ${formatCount(holes, 'known hole')}, ${formatCount(problems.length, 'problem')} (${formatDuration(durationMs)})`,
  );
}

export function walVerifyAsJson({ clusters, durationMs, failure }: WalVerifyResult): unknown {
  return {
    operation: 'wal verify',
    clusters,
    durationMs: Math.round(durationMs),
    ...(failure ? (renderErrorAsJson(failure) as object) : { succeeded: true }),
  };
}
