import { LifeboatError } from '../../../lib/domain/errors.ts';
import { CRC32C_START, finishCrc32c, updateCrc32c } from '../data-path/wal/crc32c.ts';
import { LONG_PAGE_HEADER, SHORT_PAGE_HEADER, WAL_PAGE_SIZE } from '../data-path/wal/wal-page.ts';
import { RECORD_HEADER } from '../data-path/wal/wal-record.ts';

/** A tablespace that was made after the base backup. */
export interface MadeTablespace {
  readonly oid: number;
  /** Where it lies on the source. */
  readonly location: string;
}

/**
 * xl_info, xl_rmid and two zeros of XLOG_TBLSPC_CREATE (src/include/commands/tablespace.h), as one little-endian number.
 * Records begin at multiples of 8, and so do these: of every other word of a segment one look at four bytes, a tenth of the
 * time that looking for the bytes takes.
 */
const SIGNATURE = 0x0500;
const INFO_AT = 16;
const CRC_AT = 20;
/** One byte of length behind it, or four. */
const SHORT_DATA = 255;
const LONG_DATA = 254;
const OID_LENGTH = 4;
/** MAXPGPATH. */
const LONGEST_PATH = 1024;
const SHORTEST_RECORD = RECORD_HEADER + 2 + OID_LENGTH + 2;
const LONGEST_RECORD = RECORD_HEADER + 5 + OID_LENGTH + LONGEST_PATH;
const SLASH = 0x2f;

/**
 * Replayed as it is, CREATE TABLESPACE leads into the path that the source had: beside a live cluster into the live
 * tablespace, whose files the rest of the WAL would then overwrite with older ones. Without a path PostgreSQL makes the
 * tablespace inside pg_tblspc (from 14.5 on; earlier ones stop). Replay makes it whatever allow_in_place_tablespaces says,
 * but does not become consistent with it unless that is on: `serverSettings` turns it on.
 * The path's first byte becomes its end, and the record's checksum is made anew; nothing is moved.
 *
 * @param segment a whole one; it is changed
 * @param where named in errors
 * @throws LifeboatError RESTORE_REFUSED for such a record that goes over the segment's end
 */
export function keepTablespacesInside(segment: Buffer, where: string): MadeTablespace[] {
  const made: MadeTablespace[] = [];
  const words = wordsOf(segment);
  for (let word = 0; word < words.length; word += 2) {
    if (words[word] !== SIGNATURE) continue;
    const found = readCreation(segment, word * WORD, where);
    if (!found) continue;
    const { record, places, pathAt } = found;
    const end = record.indexOf(0, pathAt);
    made.push({
      oid: record.readUInt32LE(pathAt - OID_LENGTH),
      location: record.toString('utf8', pathAt, end),
    });
    record[pathAt] = 0;
    record.writeUInt32LE(checksum(record), CRC_AT);
    for (const [index, place] of places.entries()) segment[place] = record[index]!;
  }
  return made;
}

const WORD = Uint32Array.BYTES_PER_ELEMENT;

function wordsOf({ buffer, byteOffset, length }: Buffer): Uint32Array {
  const count = Math.floor(length / WORD);
  if (byteOffset % WORD === 0) return new Uint32Array(buffer, byteOffset, count);
  return new Uint32Array(buffer.slice(byteOffset, byteOffset + count * WORD));
}

interface Creation {
  readonly record: Buffer;
  /** Of each byte of it in the segment: a page's header may lie between. */
  readonly places: readonly number[];
  readonly pathAt: number;
}

/** @param infoAt where its xl_info would lie. @returns `undefined` for bytes that only look alike */
function readCreation(segment: Buffer, infoAt: number, where: string): Creation | undefined {
  const inPage = infoAt % WAL_PAGE_SIZE;
  const page = infoAt - inPage;
  const header = headerOf(page);
  if (inPage < header) return undefined;
  const before = Math.min(INFO_AT, inPage - header);
  // The record's first bytes are on the page before.
  const start = before === INFO_AT ? infoAt - INFO_AT : page - (INFO_AT - before);
  if (start < 0) return refuseIfLike(placesFrom(segment, infoAt, LONGEST_RECORD), INFO_AT, segment, where);
  const length = segment.readUInt32LE(start);
  if (length < SHORTEST_RECORD || length > LONGEST_RECORD) return undefined;
  const places = placesFrom(segment, start, length);
  if (places.length < length) return refuseIfLike(places, 0, segment, where);
  const record = Buffer.from(places.map((place) => segment[place]!));
  const pathAt = pathOf(record, 0);
  if (pathAt === undefined || checksum(record) !== record.readUInt32LE(CRC_AT)) return undefined;
  return { record, places, pathAt };
}

/** What is seen of it says that it is one: the rest is in another segment, and its checksum covers both. */
function refuseIfLike(places: readonly number[], from: number, segment: Buffer, where: string): undefined {
  const seen = Buffer.from(places.map((place) => segment[place]!));
  const dataAt = RECORD_HEADER - from;
  if (seen.length > dataAt + 6 && pathOf(seen, from) === undefined) return undefined;
  throw new LifeboatError(
    'RESTORE_REFUSED',
    `${where} makes a tablespace, in a record that goes over the segment’s end. It would be made where the source’s lies`,
    { hint: 'What was unpacked was removed. Recover from a newer base backup, or to a point before.' },
  );
}

/** Where the path begins. @param from so many bytes of the record are missing at its beginning */
function pathOf(record: Buffer, from: number): number | undefined {
  const dataAt = RECORD_HEADER - from;
  const headerLength = record[dataAt] === SHORT_DATA ? 2 : record[dataAt] === LONG_DATA ? 5 : undefined;
  if (headerLength === undefined) return undefined;
  const pathAt = dataAt + headerLength + OID_LENGTH;
  return record[pathAt] === SLASH ? pathAt : undefined;
}

function placesFrom(segment: Buffer, start: number, length: number): number[] {
  const places: number[] = [];
  for (let place = start; places.length < length && place < segment.length; place += 1) {
    if (place % WAL_PAGE_SIZE === 0) place += headerOf(place);
    places.push(place);
  }
  return places;
}

function headerOf(page: number): number {
  return page === 0 ? LONG_PAGE_HEADER : SHORT_PAGE_HEADER;
}

/** Of all but itself, the header last. */
function checksum(record: Buffer): number {
  return finishCrc32c(updateCrc32c(updateCrc32c(CRC32C_START, record, RECORD_HEADER), record, 0, CRC_AT));
}
