/**
 * The header of a WAL page. PostgreSQL 14 to 18 differ in the magic number only
 * (src/include/access/xlog_internal.h: XLogPageHeaderData, XLogLongPageHeaderData).
 */

export const WAL_PAGE_SIZE = 8192;
export const SHORT_PAGE_HEADER = 24;
/** On the first page of a segment. */
export const LONG_PAGE_HEADER = 40;

const MAJOR_OF_MAGIC: ReadonlyMap<number, number> = new Map([
  [0xd10d, 14],
  [0xd110, 15],
  [0xd113, 16],
  [0xd116, 17],
  [0xd118, 18],
]);

const FIRST_IS_CONTINUATION = 0x0001;
const LONG_HEADER = 0x0002;
const OVERWRITES_CONTINUATION = 0x0008;
const ALL_FLAGS = 0x000f;

export interface WalPageHeader {
  /** 0 on a page that was never written. */
  readonly magic: number;
  /** The server's major version; `undefined` for a magic number that we don't know. */
  readonly major: number | undefined;
  readonly known: boolean;
  readonly long: boolean;
  /** The page begins with the rest of a record. */
  readonly continues: boolean;
  /** After a crash: the record before was never finished, and WAL goes on here without the rest of it. */
  readonly overwrites: boolean;
  readonly timeline: number;
  /** The page's own position, low and high half. */
  readonly addressLow: number;
  readonly addressHigh: number;
  /** Bytes that the record before still has to come, on this page and those after. */
  readonly remaining: number;
}

export interface WalSegmentFacts {
  readonly systemIdentifier: bigint;
  readonly segmentSize: number;
  readonly pageSize: number;
}

/** @param at where the header begins in `bytes`, which hold SHORT_PAGE_HEADER bytes of it at least */
export function readPageHeader(bytes: Buffer, at: number): WalPageHeader {
  const magic = bytes.readUInt16LE(at);
  const flags = bytes.readUInt16LE(at + 2);
  return {
    magic,
    major: MAJOR_OF_MAGIC.get(magic),
    known: (flags & ~ALL_FLAGS) === 0,
    long: (flags & LONG_HEADER) !== 0,
    continues: (flags & FIRST_IS_CONTINUATION) !== 0,
    overwrites: (flags & OVERWRITES_CONTINUATION) !== 0,
    timeline: bytes.readUInt32LE(at + 4),
    addressLow: bytes.readUInt32LE(at + 8),
    addressHigh: bytes.readUInt32LE(at + 12),
    remaining: bytes.readUInt32LE(at + 16),
  };
}

/** What a long header adds. @param at where the header begins in `bytes`, which hold LONG_PAGE_HEADER bytes of it */
export function readSegmentFacts(bytes: Buffer, at: number): WalSegmentFacts {
  return {
    systemIdentifier: bytes.readBigUInt64LE(at + 24),
    segmentSize: bytes.readUInt32LE(at + 32),
    pageSize: bytes.readUInt32LE(at + 36),
  };
}
