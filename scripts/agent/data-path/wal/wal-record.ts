/**
 * What a WAL record says, for the few kinds that recovery targets and the restorable window hang on. Layouts are those
 * of PostgreSQL 14 to 18 (src/include/access/xlogrecord.h, xact.h, xlog_internal.h, src/include/catalog/pg_control.h).
 */

export const RECORD_HEADER = 24;
/** The largest record that any server writes (XLogRecordMaxSize). */
export const LARGEST_RECORD = 1020 * 1024 * 1024;

const XLOG_RMGR = 0;
const XACT_RMGR = 1;

export const RECORD_KINDS = [
  'commit',
  'abort',
  'commit-prepared',
  'abort-prepared',
  'checkpoint',
  'switch',
  'restore-point',
  'end-of-recovery',
] as const;

export type RecordKind = (typeof RECORD_KINDS)[number];

/** High half of xl_info; the lowest three bits of it for transactions, whose fourth says that more facts follow. */
const XLOG_KINDS: ReadonlyMap<number, RecordKind> = new Map([
  [0x00, 'checkpoint'],
  [0x10, 'checkpoint'],
  [0x40, 'switch'],
  [0x70, 'restore-point'],
  [0x90, 'end-of-recovery'],
]);
const XACT_KINDS: ReadonlyMap<number, RecordKind> = new Map([
  [0x00, 'commit'],
  [0x20, 'abort'],
  [0x30, 'commit-prepared'],
  [0x40, 'abort-prepared'],
]);
const XLOG_SHUTDOWN_CHECKPOINT = 0x00;
const XACT_HAS_FACTS = 0x80;

/** `undefined`: a record to be passed over. */
export function kindOfRecord(rmgr: number, info: number): RecordKind | undefined {
  if (rmgr === XACT_RMGR) return XACT_KINDS.get(info & 0x70);
  return rmgr === XLOG_RMGR ? XLOG_KINDS.get(info & 0xf0) : undefined;
}

/**
 * How much of a record must be at hand to read it. A commit's time comes first; of a prepared transaction's end, the
 * transaction's number comes after lists of any length.
 */
export function bytesNeeded(kind: RecordKind, length: number): number {
  const whole = kind === 'commit-prepared' || kind === 'abort-prepared';
  return whole ? length : Math.min(length, 256);
}

/** Where the resource manager's own data begin. `undefined`: no such record carries what is in front of them. */
function mainDataStart(record: Buffer): number | undefined {
  let at = RECORD_HEADER;
  while (at < record.length) {
    const id = record[at];
    if (id === 255) return at + 2;
    if (id === 254) return at + 5;
    // The replication origin, and the transaction above a subtransaction.
    if (id === 253) at += 3;
    else if (id === 252) at += 5;
    else return undefined;
  }
  return undefined;
}

export interface TransactionEnd {
  readonly xid: number;
  /** Microseconds since 2000-01-01 UTC. */
  readonly time: bigint;
}

/** @throws RangeError when the record is shorter than its own counts say; so do the readers below */
export function readTransactionEnd(record: Buffer, kind: RecordKind, major: number): TransactionEnd {
  const at = requireMainData(record);
  const time = record.readBigInt64LE(at);
  const prepared = kind === 'commit-prepared' || kind === 'abort-prepared';
  return { xid: prepared ? readPreparedXid(record, at, major) : record.readUInt32LE(4), time };
}

/** Sizes of the lists in front of a prepared transaction's number, by their flag, in the order in which they come. */
const LISTS: readonly { readonly flag: number; readonly item: (major: number) => number }[] = [
  { flag: 1 << 1, item: () => 4 },
  { flag: 1 << 2, item: () => 12 },
  { flag: 1 << 8, item: (major) => (major >= 18 ? 16 : 12) },
  { flag: 1 << 3, item: () => 16 },
];
const HAS_DATABASE = 1 << 0;
const HAS_PREPARED_XID = 1 << 4;

/** The header's own xid is that of the session that ran COMMIT PREPARED, most often none. */
function readPreparedXid(record: Buffer, start: number, major: number): number {
  const flags = (record[16]! & XACT_HAS_FACTS) === 0 ? 0 : record.readUInt32LE(start + 8);
  if ((flags & HAS_PREPARED_XID) === 0) {
    throw new RangeError('the end of a prepared transaction does not say whose');
  }
  let at = start + 12;
  if ((flags & HAS_DATABASE) !== 0) at += 8;
  for (const { flag, item } of LISTS) {
    if ((flags & flag) !== 0) at += 4 + record.readUInt32LE(at) * item(major);
  }
  return record.readUInt32LE(at);
}

export interface RestorePoint {
  readonly time: bigint;
  readonly name: string;
}

export function readRestorePoint(record: Buffer): RestorePoint {
  const at = requireMainData(record);
  const name = record.subarray(at + 8, at + 72);
  const end = name.indexOf(0);
  return {
    time: record.readBigInt64LE(at),
    name: name.toString('utf8', 0, end === -1 ? name.length : end),
  };
}

export interface Checkpoint {
  /** Where replay begins from this checkpoint. */
  readonly redo: bigint;
  readonly timeline: number;
  readonly previousTimeline: number;
  /** Seconds since 1970-01-01 UTC. */
  readonly time: bigint;
  readonly shutdown: boolean;
}

export function readCheckpoint(record: Buffer): Checkpoint {
  const at = requireMainData(record);
  return {
    redo: record.readBigUInt64LE(at),
    timeline: record.readUInt32LE(at + 8),
    previousTimeline: record.readUInt32LE(at + 12),
    time: record.readBigInt64LE(at + 64),
    shutdown: (record[16]! & 0xf0) === XLOG_SHUTDOWN_CHECKPOINT,
  };
}

export interface EndOfRecovery {
  readonly time: bigint;
  readonly timeline: number;
  readonly previousTimeline: number;
}

export function readEndOfRecovery(record: Buffer): EndOfRecovery {
  const at = requireMainData(record);
  return {
    time: record.readBigInt64LE(at),
    timeline: record.readUInt32LE(at + 8),
    previousTimeline: record.readUInt32LE(at + 12),
  };
}

function requireMainData(record: Buffer): number {
  const at = mainDataStart(record);
  if (at === undefined) throw new RangeError('it carries none of the data of its kind');
  return at;
}
