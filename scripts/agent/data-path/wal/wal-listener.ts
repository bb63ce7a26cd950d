import type { Lsn } from '../../../../lib/domain/wal/lsn.ts';
import {
  readCheckpoint,
  readEndOfRecovery,
  readRestorePoint,
  readTransactionEnd,
  type Checkpoint,
  type EndOfRecovery,
  type RecordKind,
  type RestorePoint,
  type TransactionEnd,
} from './wal-record.ts';

/** Where a record lies. */
export interface RecordPlace {
  readonly lsn: Lsn;
  /** Where the next one may begin; what recovery has reached once it replayed this one. */
  readonly end: Lsn;
}

export interface TransactionAt extends RecordPlace, TransactionEnd {
  /** Ended by COMMIT PREPARED or ROLLBACK PREPARED; `xid` is the prepared transaction's. */
  readonly prepared: boolean;
}

/** Called in WAL order, once a record was read whole. What is left out is not looked for. */
export interface WalListener {
  commit?(at: TransactionAt): void;
  abort?(at: TransactionAt): void;
  restorePoint?(at: RecordPlace & RestorePoint): void;
  /** Of `pg_switch_wal`: the rest of its segment is zeros, and `end` the next segment's start. */
  switch?(at: RecordPlace): void;
  checkpoint?(at: RecordPlace & Checkpoint): void;
  /** A standby was promoted, or a recovery ended, without a checkpoint. */
  endOfRecovery?(at: RecordPlace & EndOfRecovery): void;
}

const METHODS = {
  commit: 'commit',
  'commit-prepared': 'commit',
  abort: 'abort',
  'abort-prepared': 'abort',
  'restore-point': 'restorePoint',
  switch: 'switch',
  checkpoint: 'checkpoint',
  'end-of-recovery': 'endOfRecovery',
} as const satisfies Record<RecordKind, keyof WalListener>;

export function isHeard(listener: WalListener, kind: RecordKind): boolean {
  return listener[METHODS[kind]] !== undefined;
}

/**
 * @param record as much of it as `bytesNeeded` says, its header first
 * @throws RangeError when the record is not what its kind promises
 */
export function tell(
  listener: WalListener,
  kind: RecordKind,
  record: Buffer,
  place: RecordPlace,
  major: number,
): void {
  switch (kind) {
    case 'commit':
    case 'commit-prepared':
      listener.commit?.({ ...place, ...transaction(record, kind, major) });
      break;
    case 'abort':
    case 'abort-prepared':
      listener.abort?.({ ...place, ...transaction(record, kind, major) });
      break;
    case 'restore-point':
      listener.restorePoint?.({ ...place, ...readRestorePoint(record) });
      break;
    case 'checkpoint':
      listener.checkpoint?.({ ...place, ...readCheckpoint(record) });
      break;
    case 'end-of-recovery':
      listener.endOfRecovery?.({ ...place, ...readEndOfRecovery(record) });
      break;
    case 'switch':
      listener.switch?.(place);
  }
}

function transaction(
  record: Buffer,
  kind: RecordKind,
  major: number,
): TransactionEnd & { readonly prepared: boolean } {
  return {
    ...readTransactionEnd(record, kind, major),
    prepared: kind === 'commit-prepared' || kind === 'abort-prepared',
  };
}
