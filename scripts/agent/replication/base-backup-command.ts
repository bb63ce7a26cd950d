import { LifeboatError } from '../../../lib/domain/errors.ts';
import type { BaseBackupRequest } from '../ports/replication.ts';

const NEW_GRAMMAR_SINCE = 15_00_00;
const INCREMENTAL_SINCE = 17_00_00;
/** https://www.postgresql.org/docs/current/protocol-replication.html#PROTOCOL-REPLICATION-BASE-BACKUP */
const RATE = { least: 32, most: 1_048_576 };

/** Whether the server sends one COPY with tagged messages, and not a COPY for each archive. */
export function sendsTaggedCopy(versionNumber: number): boolean {
  return versionNumber >= NEW_GRAMMAR_SINCE;
}

/**
 * BASE_BACKUP in the server's grammar: a list of keywords up to 14
 * (https://www.postgresql.org/docs/14/protocol-replication.html), options in parentheses since 15. Page checksums are
 * verified by default. It never waits for archive_command (NOWAIT): what else makes the WAL safe is our own business.
 * @throws LifeboatError SETTINGS_INVALID
 */
export function baseBackupCommand(request: BaseBackupRequest, versionNumber: number): string {
  const { maxRateKbps } = request;
  if (maxRateKbps !== undefined && !(maxRateKbps >= RATE.least && maxRateKbps <= RATE.most)) {
    throw new LifeboatError(
      'SETTINGS_INVALID',
      `A base backup cannot be held to ${maxRateKbps} kB/s; PostgreSQL takes ${RATE.least} to ${RATE.most}`,
    );
  }
  if (request.incrementalManifest && versionNumber < INCREMENTAL_SINCE) {
    throw new LifeboatError(
      'SETTINGS_INVALID',
      `PostgreSQL ${Math.floor(versionNumber / 10_000)} knows no incremental base backups; 17 is the first that does`,
    );
  }
  return sendsTaggedCopy(versionNumber) ? withOptions(request) : withKeywords(request);
}

function withKeywords(request: BaseBackupRequest): string {
  return [
    'BASE_BACKUP',
    `LABEL ${quote(request.label)}`,
    'PROGRESS',
    ...(request.checkpoint === 'fast' ? ['FAST'] : []),
    ...(request.wal ? ['WAL'] : []),
    'NOWAIT',
    ...(request.maxRateKbps === undefined ? [] : [`MAX_RATE ${request.maxRateKbps}`]),
    'TABLESPACE_MAP',
    ...(request.manifest ? [`MANIFEST 'yes'`] : []),
  ].join(' ');
}

function withOptions(request: BaseBackupRequest): string {
  const options = [
    `LABEL ${quote(request.label)}`,
    'PROGRESS',
    `CHECKPOINT ${quote(request.checkpoint)}`,
    `WAL ${request.wal}`,
    'WAIT false',
    ...(request.maxRateKbps === undefined ? [] : [`MAX_RATE ${request.maxRateKbps}`]),
    'TABLESPACE_MAP',
    `MANIFEST ${request.manifest ? `'yes'` : `'no'`}`,
    ...(request.incrementalManifest ? ['INCREMENTAL'] : []),
  ];
  return `BASE_BACKUP (${options.join(', ')})`;
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
