import { isSegmentSize } from '../../../../lib/domain/wal/segment.ts';
import type { Lsn } from '../../../../lib/domain/wal/lsn.ts';
import { readPageHeader, readSegmentFacts, WAL_PAGE_SIZE } from './wal-page.ts';

export interface ExpectedSegment {
  readonly start: Lsn;
  readonly timeline: number;
  readonly systemIdentifier: string;
}

/**
 * Whether these bytes are a whole segment's: every page says where it belongs, and a file that the server keeps for later use
 * has those of an earlier segment. Behind a switch of segments there are only zeros.
 */
export function holdsSegment(bytes: Buffer, expected: ExpectedSegment): boolean {
  if (!isSegmentSize(bytes.length)) return false;
  const { systemIdentifier, segmentSize } = readSegmentFacts(bytes, 0);
  if (String(systemIdentifier) !== expected.systemIdentifier || segmentSize !== bytes.length) return false;
  const low = Number(expected.start & 0xffff_ffffn);
  const high = Number(expected.start >> 32n);
  // No segment crosses 4 GiB.
  for (let at = 0; at < bytes.length; at += WAL_PAGE_SIZE) {
    const page = readPageHeader(bytes, at);
    if (page.magic === 0 && at > 0) return isZero(bytes.subarray(at));
    const placed = page.addressLow === low + at && page.addressHigh === high;
    if (page.major === undefined || page.long !== (at === 0) || !placed) return false;
    if (page.timeline > expected.timeline) return false;
  }
  return true;
}

const ZEROS = Buffer.alloc(WAL_PAGE_SIZE);

function isZero(bytes: Buffer): boolean {
  for (let at = 0; at < bytes.length; at += ZEROS.length) {
    if (ZEROS.compare(bytes, at, Math.min(bytes.length, at + ZEROS.length)) !== 0) return false;
  }
  return true;
}
