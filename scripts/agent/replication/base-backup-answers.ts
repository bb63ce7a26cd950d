import { LifeboatError } from '../../../lib/domain/errors.ts';
import { parseLsn, type Lsn } from '../../../lib/domain/wal/lsn.ts';
import type { BackupTablespace } from '../ports/replication.ts';
import { isFatal, type Row, type ServerMessage } from './protocol.ts';

/** What a server answers BASE_BACKUP with, besides the data. */

const MOST_WARNINGS = 100;
/** SQLSTATE data_corrupted */
const DATA_CORRUPTED = 'XX001';

export interface Position {
  readonly lsn: Lsn;
  readonly timeline: number;
}

/** What the server has to say of damaged pages: a line for some, the number of all, and last of all an error. */
export class Warnings {
  readonly lines: string[] = [];
  /** The server counts aloud from two on. */
  checksumFailures = 1;

  note({ severity, message, routine }: ServerMessage): void {
    if (severity !== 'WARNING') return;
    if (this.lines.length < MOST_WARNINGS) this.lines.push(message);
    if (routine === 'perform_base_backup') this.checksumFailures = Number(/\d+/.exec(message)?.[0] ?? 1);
  }
}

/** It comes after everything else was sent: what is in the backup is what is on the server's disk. */
export function isChecksumVerdict(error: unknown): boolean {
  const said = saidBy(error);
  return said?.code === DATA_CORRUPTED && said.routine === 'perform_base_backup' && !isFatal(said);
}

export function saidBy(error: unknown): ServerMessage | undefined {
  return (error as LifeboatError).cause as ServerMessage | undefined;
}

export function positionOf(rows: readonly Row[]): Position {
  const [lsn, timeline] = rows[0] ?? [];
  if (!lsn || !timeline) throw unexpected('no position');
  return { lsn: parseLsn(lsn.toString()), timeline: Number(timeline.toString()) };
}

export function tablespaceOf([oid, location, kibibytes]: Row): BackupTablespace {
  return {
    oid: oid ? Number(oid.toString()) : null,
    location: location ? location.toString() : null,
    sizeBytes: Number(kibibytes?.toString() ?? 0) * 1024,
  };
}

export function unexpected(what: string): LifeboatError {
  return new LifeboatError(
    'BUG',
    `PostgreSQL answered BASE_BACKUP with ${what}, which is not expected there`,
  );
}
