import { closeSync } from 'node:fs';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import { formatLsn, type Lsn } from '../../../lib/domain/wal/lsn.ts';
import { parseSegmentName, segmentsBetween } from '../../../lib/domain/wal/segment.ts';
import { readPageHeader, readSegmentFacts } from '../data-path/wal/wal-page.ts';
import type { FileMember } from './cluster-walk.ts';
import type { Chunk } from './file-reads.ts';
import type { Folder } from './folder.ts';

export interface WalSpan {
  readonly start: Lsn;
  /** The backup's end, which the last segment holds. */
  readonly end: Lsn;
  readonly timeline: number;
  readonly segmentSize: number;
  readonly systemIdentifier: string;
}

const HISTORY = /^[0-9A-F]{8}\.history$/;

/**
 * The segments that the backup needs, of whatever timeline, oldest first, then every timeline's history: as the server
 * sends them.
 * @throws LifeboatError WAL_INCOMPLETE where one is missing
 */
export function* walkWal(wal: Folder, span: WalSpan): Generator<FileMember> {
  const names = wal.names();
  const needed = new Set(
    segmentsBetween(span.timeline, span.start, span.end, span.segmentSize).map((name) => name.slice(8)),
  );
  const segments = names
    .filter((name) => parseSegmentName(name, span.segmentSize) && needed.has(name.slice(8)))
    .toSorted((one, other) => (one.slice(8) < other.slice(8) ? -1 : 1));
  for (const name of segments) needed.delete(name.slice(8));
  if (needed.size > 0) throw missing(span, `no segment …${[...needed][0]} in ${wal.path}`);
  for (const name of segments) yield memberOf(wal, name, span);
  for (const name of names.filter((each) => HISTORY.test(each))) yield memberOf(wal, name, span);
}

function memberOf(wal: Folder, name: string, span: WalSpan): FileMember {
  const file = wal.open(name);
  if (typeof file === 'string') throw missing(span, `${name} is ${file}`);
  const isSegment = !HISTORY.test(name);
  if (isSegment && file.stat.size !== span.segmentSize) {
    closeSync(file.fd);
    throw missing(span, `${name} has ${file.stat.size} bytes`);
  }
  return { kind: 'file', name: `pg_wal/${name}`, file, relation: undefined };
}

export function isSegmentMember({ name }: FileMember): boolean {
  return !name.endsWith('.history');
}

/**
 * A segment that is no longer needed is given another name and written over, also while it is being read: then what was read is
 * not what its name says.
 * @param file that was read to its end
 * @throws LifeboatError WAL_INCOMPLETE
 */
export function requireStillThere(wal: Folder, member: FileMember, span: WalSpan): void {
  const name = nameOf(member);
  const now = wal.statOf(name);
  const { ino, dev } = member.file.stat;
  if (now?.ino !== ino || now.dev !== dev) throw missing(span, `${name} was removed while it was read`);
}

/** @throws LifeboatError WAL_INCOMPLETE for one that was cut off, for another's or another cluster's */
export function requireOwnSegment(member: FileMember, { bytes, read, offset }: Chunk, span: WalSpan): void {
  const name = nameOf(member);
  const expected = parseSegmentName(name, span.segmentSize)!;
  if (read < bytes.length) throw missing(span, `${name} was cut off while it was read`);
  if (offset > 0) return;
  const { long, addressHigh, addressLow } = readPageHeader(bytes, 0);
  const facts = readSegmentFacts(bytes, 0);
  const address = (BigInt(addressHigh) << 32n) | BigInt(addressLow);
  if (
    long &&
    address === expected.start &&
    String(facts.systemIdentifier) === span.systemIdentifier &&
    facts.segmentSize === span.segmentSize
  )
    return;
  throw missing(
    span,
    `${name} begins with ${formatLsn(address)} of the cluster ${facts.systemIdentifier}: that is other WAL`,
  );
}

function nameOf({ name }: FileMember): string {
  return name.slice('pg_wal/'.length);
}

function missing({ start, end }: WalSpan, what: string): LifeboatError {
  return new LifeboatError(
    'WAL_INCOMPLETE',
    `The base backup goes from ${formatLsn(start)} to ${formatLsn(end)}, and not all of its WAL is there: ${what}`,
  );
}
