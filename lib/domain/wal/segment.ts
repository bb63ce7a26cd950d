import { LifeboatError } from '../errors.ts';
import type { Lsn } from './lsn.ts';

/** WAL files: https://www.postgresql.org/docs/current/wal-internals.html and src/include/access/xlog_internal.h */

export const DEFAULT_SEGMENT_SIZE = 16 * 1024 * 1024;

const SMALLEST = 1024 * 1024;
const LARGEST = 1024 * 1024 * 1024;
/** The name's middle eight digits count these. */
const FILE_BYTES = 0x1_0000_0000n;

/** Powers of two from 1 MiB to 1 GiB: what `initdb --wal-segsize` takes. */
export function isSegmentSize(bytes: number): boolean {
  return Number.isInteger(bytes) && bytes >= SMALLEST && bytes <= LARGEST && (bytes & (bytes - 1)) === 0;
}

/** Name of the segment that contains the byte at `lsn`: 24 hexadecimal digits. An LSN at a border is in the later segment. */
export function segmentName(timeline: number, lsn: Lsn, segmentSize: number): string {
  const size = requireSize(segmentSize);
  const number = lsn / size;
  const perFile = FILE_BYTES / size;
  return formatTimeline(timeline) + digits(number / perFile) + digits(number % perFile);
}

export interface Segment {
  readonly timeline: number;
  /** Its first byte. */
  readonly start: Lsn;
}

/** The reverse of `segmentName`; `undefined` for a name that is none of a segment of this size. */
export function parseSegmentName(name: string, segmentSize: number): Segment | undefined {
  const size = requireSize(segmentSize);
  const timeline = timelineOfSegment(name);
  if (timeline === undefined) return undefined;
  const perFile = FILE_BYTES / size;
  const low = BigInt(`0x${name.slice(16)}`);
  if (low >= perFile) return undefined;
  return { timeline, start: (BigInt(`0x${name.slice(8, 16)}`) * perFile + low) * size };
}

/** Of a name whose segment size is not known; `undefined` for what is no segment's name. */
export function timelineOfSegment(name: string): number | undefined {
  return /^[0-9A-F]{24}$/.test(name) ? parseTimeline(name.slice(0, 8)) : undefined;
}

/** First byte of the segment that contains the byte at `lsn`. */
export function segmentStart(lsn: Lsn, segmentSize: number): Lsn {
  return lsn - (lsn % requireSize(segmentSize));
}

/** Names of the segments that hold the bytes from `from` up to, and without, `to`. */
export function segmentsBetween(timeline: number, from: Lsn, to: Lsn, segmentSize: number): string[] {
  const names: string[] = [];
  const step = requireSize(segmentSize);
  if (from >= to) return names;
  for (let start = segmentStart(from, segmentSize); start < to; start += step) {
    names.push(segmentName(timeline, start, segmentSize));
  }
  return names;
}

/** Eight hexadecimal digits, as in the names of segments and history files. */
export function formatTimeline(timeline: number): string {
  if (Number.isInteger(timeline) && timeline >= 1 && timeline <= 0xffff_ffff) return digits(BigInt(timeline));
  throw new LifeboatError('BUG', `${timeline} is no timeline: they are counted from 1, in 32 bits`);
}

/** The reverse of `formatTimeline`; `undefined` for anything else. */
export function parseTimeline(text: string): number | undefined {
  if (!/^[0-9A-F]{8}$/.test(text)) return undefined;
  const timeline = Number.parseInt(text, 16);
  return timeline === 0 ? undefined : timeline;
}

/** `00000002.history`. */
export function historyFileName(timeline: number): string {
  return `${formatTimeline(timeline)}.history`;
}

function requireSize(segmentSize: number): bigint {
  if (isSegmentSize(segmentSize)) return BigInt(segmentSize);
  throw new LifeboatError(
    'BUG',
    `${segmentSize} is no WAL segment size: powers of two from 1 MiB to 1 GiB are`,
  );
}

function digits(value: bigint): string {
  return value.toString(16).toUpperCase().padStart(8, '0');
}
