import type { RunRecord } from '../../../lib/domain/run/run-record.ts';

/**
 * The host's own memory of its runs. It only informs: no backup depends on it, and losing it loses no backup. So neither
 * method throws; what could not be read or written is simply not known.
 */
export interface Journal {
  /** Oldest first. */
  records(): Promise<readonly RunRecord[]>;
  append(record: RunRecord): Promise<void>;
}
