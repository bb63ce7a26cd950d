import { isSegmentSize } from '../../../../lib/domain/wal/segment.ts';
import type { Lsn } from '../../../../lib/domain/wal/lsn.ts';
import type { RecordPlace } from './wal-listener.ts';
import { readPageHeader, readSegmentFacts, WAL_PAGE_SIZE } from './wal-page.ts';
import { WalScanner } from './wal-scanner.ts';

export interface ExpectedSegment {
  readonly start: Lsn;
  readonly timeline: number;
  readonly systemIdentifier: string;
}

/**
 * Whether these bytes are a whole segment's: every page says where it belongs, and a file that the server keeps for later use
 * has those of an earlier segment. Behind a switch of segments there are only zeros, as there are in a new file that is not full yet:
 * zeros count where the switch is there.
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
    if (page.magic === 0 && at > 0) return endsWithSwitch(bytes, expected.start);
    const placed = page.addressLow === low + at && page.addressHigh === high;
    if (page.major === undefined || page.long !== (at === 0) || !placed) return false;
    if (page.timeline > expected.timeline) return false;
  }
  return true;
}

/** And all behind it is zeros, from the switch on. Of one that began in the segment before nothing is known. */
function endsWithSwitch(bytes: Buffer, from: Lsn): boolean {
  const ends: Lsn[] = [];
  const listener = { switch: ({ end }: RecordPlace) => void ends.push(end) };
  try {
    new WalScanner({ from, segmentSize: bytes.length, listener }).push(bytes);
  } catch {
    // Whatever is wrong there: it is no whole segment.
    return false;
  }
  return ends.at(-1) === from + BigInt(bytes.length);
}
