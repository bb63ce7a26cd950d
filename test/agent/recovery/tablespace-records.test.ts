import { CRC32C_START, finishCrc32c, updateCrc32c } from '../../../scripts/agent/data-path/wal/crc32c.ts';
import { keepTablespacesInside } from '../../../scripts/agent/recovery/tablespace-records.ts';

const SEGMENT = 1024 * 1024;
const PAGE = 8192;
const LIVE = '/var/lib/postgresql/space-of-the-live-cluster';

function checksum(record: Buffer): number {
  const body = updateCrc32c(CRC32C_START, record, 24);
  return finishCrc32c(updateCrc32c(body, record, 0, 20));
}

/** As `CREATE TABLESPACE` writes it. */
function creation(path = LIVE, oid = 16_400): Buffer {
  const data = Buffer.concat([Buffer.alloc(4), Buffer.from(`${path}\0`)]);
  data.writeUInt32LE(oid);
  const length = data.length < 256 ? Buffer.from([255, data.length]) : Buffer.from([254, 0, 0, 0, 0]);
  if (length.length > 2) length.writeUInt32LE(data.length, 1);
  const record = Buffer.concat([Buffer.alloc(24), length, data]);
  record.writeUInt32LE(record.length);
  record.writeUInt32LE(741, 4);
  record[17] = 5;
  record.writeUInt32LE(checksum(record), 20);
  return record;
}

/** Where a record's bytes come to lie, page headers passed over; those beyond the segment are left out. */
function placesOf(start: number, length: number): number[] {
  const places: number[] = [];
  for (let place = start; places.length < length; place += 1) {
    if (place % PAGE === 0) place += place === 0 ? 40 : 24;
    places.push(place);
  }
  return places;
}

function segmentWith(record: Buffer, start: number): Buffer {
  const segment = Buffer.alloc(SEGMENT, 0x2a);
  for (const [index, place] of placesOf(start, record.length).entries())
    if (place < SEGMENT) segment[place] = record[index]!;
  return segment;
}

function readBack(segment: Buffer, start: number, length: number): Buffer {
  return Buffer.from(placesOf(start, length).map((place) => segment[place]!));
}

describe('The record of CREATE TABLESPACE before it is replayed', () => {
  it.each([
    ['inside a page', 40],
    ['in the middle of a segment', 3 * PAGE + 4096],
    ['with its path over a page’s end', 2 * PAGE - 40],
    ['with its path on the next page', 2 * PAGE - 32],
    ['with its header over a page’s end', 2 * PAGE - 8],
    ['with its kind first on the next page', 2 * PAGE - 16],
  ])('loses its path, %s', (_where, start) => {
    const record = creation();
    const segment = segmentWith(record, start);
    const others = segmentWith(record, start);
    expect(keepTablespacesInside(segment, 'x')).toEqual([{ oid: 16_400, location: LIVE }]);
    const changed = readBack(segment, start, record.length);
    expect(changed[30]).toBe(0);
    expect(changed.readUInt32LE(20)).toBe(checksum(changed));
    for (const place of placesOf(start, record.length)) others[place] = segment[place]!;
    expect(others.equals(segment)).toBe(true);
    expect(keepTablespacesInside(segment, 'x')).toEqual([]);
  });

  it('is found wherever in memory the segment lies', () => {
    const around = Buffer.concat([Buffer.alloc(3), segmentWith(creation(), 40)]);
    expect(keepTablespacesInside(around.subarray(3), 'x')).toEqual([{ oid: 16_400, location: LIVE }]);
    expect(keepTablespacesInside(around.subarray(3), 'x')).toEqual([]);
  });

  it('may be long, and there may be several', () => {
    const long = `/${'x'.repeat(900)}`;
    const segment = segmentWith(creation(long), 5 * PAGE - 200);
    creation('/short', 16_500).copy(segment, 9 * PAGE + 64);
    expect(keepTablespacesInside(segment, 'x')).toEqual([
      { oid: 16_400, location: long },
      { oid: 16_500, location: '/short' },
    ]);
  });

  it('is left as it is when it only looks like one', () => {
    const damaged = creation();
    damaged[40]! += 1;
    const inside = Buffer.concat([Buffer.alloc(4), creation()]);
    for (const [bytes, start] of [
      [damaged, 4096],
      [inside, 4096],
    ] as const) {
      const segment = segmentWith(bytes, start);
      const before = Buffer.from(segment);
      expect(keepTablespacesInside(segment, 'x')).toEqual([]);
      expect(segment.equals(before)).toBe(true);
    }
  });

  it.each([
    ['its path', 40],
    ['all behind its header', 24],
  ])('is refused when %s lies in the next segment', (_what, visible) => {
    const segment = segmentWith(creation(), SEGMENT - visible);
    expect(() => keepTablespacesInside(segment, '0000000100000000000000AB')).toThrow(
      expect.objectContaining({
        code: 'RESTORE_REFUSED',
        message: expect.stringContaining('0000000100000000000000AB'),
      }),
    );
  });

  it('is refused when its header began in the segment before', () => {
    const segment = Buffer.alloc(SEGMENT);
    creation().copy(segment, 40, 8);
    expect(() => keepTablespacesInside(segment, 'x')).toThrow(
      expect.objectContaining({ code: 'RESTORE_REFUSED' }),
    );
  });
});
