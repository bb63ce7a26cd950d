import { rmSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { segmentName } from '../../../../lib/domain/wal/segment.ts';
import { formatLsn, parseLsn, type Lsn } from '../../../../lib/domain/wal/lsn.ts';
import { WalScanner } from '../../../../scripts/agent/data-path/wal/wal-scanner.ts';
import { startPostgres, type PostgresServer } from '../../../postgres-server.ts';
import {
  dumpedRecords,
  EventLog,
  randomNumbers,
  storedWal,
  TRAFFIC,
  WAL_SETTINGS,
  type DumpedRecord,
  type StoredWal,
} from './wal-fixture.ts';

const MIB = 1024 * 1024;
const PAGE = 8192;

function scan(wal: StoredWal, options: { verify?: boolean; chunk?: (left: number) => number } = {}) {
  const log = new EventLog();
  const { from, segmentSize, bytes } = wal;
  const scanner = new WalScanner({ from, segmentSize, listener: log, verify: options.verify ?? false });
  for (let at = 0; at < bytes.length;) {
    const next = Math.min(bytes.length, at + (options.chunk?.(bytes.length - at) ?? bytes.length));
    scanner.push(bytes.subarray(at, next));
    at = next;
  }
  return { log, scanner };
}

/** Without what the file held before it was used again, beyond the last record that pg_waldump shows. */
function upTo(wal: StoredWal, records: readonly DumpedRecord[]): StoredWal {
  const { lsn } = records.at(-1)!;
  // A record of this length ends on the same page or the next; the scan says where.
  const end = scan({ ...wal, bytes: wal.bytes }).scanner.complete;
  expect(end).toBeGreaterThan(lsn);
  return { ...wal, bytes: wal.bytes.subarray(0, Number(end - wal.from)) };
}

/** The LSN at which a record that comes after `end` begins: behind the page's header where one lies between. */
function nextRecordAfter(end: Lsn, segmentSize: number): Lsn {
  if (end % BigInt(segmentSize) === 0n) return end + 40n;
  return end % BigInt(PAGE) === 0n ? end + 24n : end;
}

async function withServer<Result>(
  segmentMib: number,
  work: (server: PostgresServer) => Promise<Result>,
  settings: Record<string, string> = {},
): Promise<Result> {
  const server = await startPostgres({
    settings: { ...WAL_SETTINGS, min_wal_size: `${segmentMib * 2}MB`, ...settings },
    initdbArgs: [`--wal-segsize=${segmentMib}`],
  });
  try {
    return await work(server);
  } finally {
    await server.remove();
  }
}

describe.each([1, 16, 64])('Scanning the WAL of PostgreSQL 15 with segments of %d MiB', (segmentMib) => {
  let server: PostgresServer;
  let wal: StoredWal;
  let records: DumpedRecord[];
  let expected: string[];

  beforeAll(async () => {
    server = await startPostgres({
      settings: { ...WAL_SETTINGS, min_wal_size: `${segmentMib * 2}MB` },
      initdbArgs: [`--wal-segsize=${segmentMib}`],
    });
    await server.psql('postgres', TRAFFIC);
    await server.stop();
    wal = storedWal(server, segmentMib * MIB);
    records = dumpedRecords(server.binDir, wal);
    expected = records.flatMap(({ event }) => event ?? []);
  });
  afterAll(() => server.remove());

  it('tells of every transaction’s end, restore point, switch and checkpoint that pg_waldump shows', () => {
    const { log, scanner } = scan(wal);
    expect(log.lines).toEqual(expected);
    expect(log.commits.length).toBeGreaterThan(900);
    expect(log.commits.filter(({ prepared }) => prepared)).toHaveLength(3);
    expect(log.aborts.filter(({ prepared }) => prepared)).toHaveLength(2);
    expect(scanner.records).toBe(records.length);
    expect(scanner.timeline).toBe(1);
    expect(scanner.major).toBe(15);
  });

  it('says where each record ends, and where WAL ends', () => {
    const { log, scanner } = scan(wal);
    const last = records.at(-1)!;
    const next = new Map(records.map(({ lsn }, index) => [lsn, records[index + 1]?.lsn]));
    for (const { lsn, end } of log.places) {
      const following = next.get(lsn);
      if (following !== undefined)
        expect(formatLsn(nextRecordAfter(end, wal.segmentSize))).toBe(formatLsn(following));
    }
    expect(scanner.endOfWal).toBe(scanner.complete);
    expect(scanner.complete).toBe((last.lsn + BigInt(last.length) + 7n) & ~7n);
    expect(scanner.position).toBe(wal.from + BigInt(wal.bytes.length));
  });

  it('tells the same however the bytes are cut into pieces, checksums compared', () => {
    const random = randomNumbers(segmentMib);
    const sizes = [
      () => 1 + random(40),
      () => 1 + random(9000),
      () => 8192,
      () => 131_072,
      () => 1 + random(3_000_000),
    ];
    // The smallest pieces for the first mebibytes only: there are millions of them.
    const small = { ...wal, bytes: wal.bytes.subarray(0, 2 * MIB) };
    const inSmall = expected.filter(
      (line) => BigInt(line.split(' ')[0]!) < wal.from + BigInt(2 * MIB - 1000),
    );
    expect(scan(small, { verify: true, chunk: sizes[0]! }).log.lines.slice(0, inSmall.length)).toEqual(
      inSmall,
    );
    for (const chunk of sizes.slice(1))
      expect(scan(wal, { verify: true, chunk }).log.lines).toEqual(expected);
  });
});

describe('Scanning WAL from the middle', () => {
  let server: PostgresServer;
  let wal: StoredWal;
  let records: DumpedRecord[];

  beforeAll(async () => {
    server = await startPostgres({
      settings: { ...WAL_SETTINGS, min_wal_size: '2MB' },
      initdbArgs: ['--wal-segsize=1'],
    });
    await server.psql('postgres', TRAFFIC);
    await server.stop();
    wal = storedWal(server, MIB);
    records = dumpedRecords(server.binDir, wal);
  });
  afterAll(() => server.remove());

  it('begins at the start of any page, passing over the rest of the record there', () => {
    const ahead = 12 * PAGE;
    for (let at = 0; at < wal.bytes.length; at += PAGE) {
      const from = wal.from + BigInt(at);
      const to = from + BigInt(ahead);
      const log = new EventLog();
      const scanner = new WalScanner({ from, segmentSize: wal.segmentSize, listener: log, verify: true });
      scanner.push(wal.bytes.subarray(at, at + ahead));
      const whole = records.filter(
        ({ lsn, event }) => event !== undefined && lsn >= from && lsn < to && log.lines.length > 0,
      );
      const told = whole.flatMap(({ event }) => event ?? []);
      // The last one may not be whole within the stretch.
      expect(told.slice(0, log.lines.length)).toEqual(log.lines);
      expect(told.length - log.lines.length).toBeLessThanOrEqual(1);
    }
  });

  it('begins where any record ended', () => {
    const random = randomNumbers(7);
    for (let round = 0; round < 300; round += 1) {
      const { lsn, event } = records[1 + random(records.length - 1)]!;
      const at = Number(lsn - wal.from);
      const log = new EventLog();
      const scanner = new WalScanner({
        from: lsn,
        segmentSize: wal.segmentSize,
        listener: log,
        verify: true,
      });
      scanner.push(wal.bytes.subarray(at, at + 3 * PAGE));
      if (event !== undefined && scanner.records > 0) expect(log.lines[0]).toBe(event);
      expect(scanner.position).toBe(lsn + BigInt(Math.min(3 * PAGE, wal.bytes.length - at)));
    }
  });

  it('refuses to begin where no record can', () => {
    const begin = (from: Lsn) => () => new WalScanner({ from, segmentSize: MIB, listener: {} });
    expect(begin(wal.from + 8n)).toThrow('no record begins there');
    expect(begin(wal.from + 44n)).toThrow('no record begins there');
    expect(begin(wal.from + 8192n + 16n)).toThrow('no record begins there');
  });

  it('keeps count beyond 32 bits of position', () => {
    const { log, scanner } = scan(wal);
    const shifted = Buffer.from(wal.bytes.subarray(0, MIB));
    const distance = 0xabcd_fff0_0000n - wal.from;
    for (let at = 0; at < shifted.length; at += PAGE) {
      shifted.writeBigUInt64LE(shifted.readBigUInt64LE(at + 8) + distance, at + 8);
    }
    for (const { lsn } of records) {
      const at = Number(lsn - wal.from);
      // A header may lie across two pages; these few are not moved, so the scan ends before them.
      if (at >= shifted.length || (at % PAGE) + 24 > PAGE) break;
      shifted.writeBigUInt64LE(shifted.readBigUInt64LE(at + 8) + distance, at + 8);
    }
    const moved = new EventLog();
    const again = new WalScanner({ from: wal.from + distance, segmentSize: MIB, listener: moved });
    const torn = records.find(({ lsn }) => (Number(lsn - wal.from) % PAGE) + 24 > PAGE);
    again.push(shifted.subarray(0, torn ? Number(torn.lsn - wal.from) : MIB));
    expect(again.records).toBeGreaterThan(100);
    expect(moved.places.map(({ lsn }) => lsn - distance)).toEqual(
      log.places.map(({ lsn }) => lsn).slice(0, moved.places.length),
    );
    expect(scanner.records).toBe(records.length);
  });

  it('notices any damaged byte of a record when it compares checksums', () => {
    const random = randomNumbers(99);
    for (let round = 0; round < 200; round += 1) {
      const { lsn, length } = records[random(records.length)]!;
      const start = Number(lsn - wal.from);
      // What a page's end cuts off is behind the next page's header.
      const at = start + random(Math.min(length, PAGE - (start % PAGE)));
      const page = at - (at % PAGE);
      // From a page before it, so that the record is read from its start.
      const from = Math.max(0, page - PAGE);
      const bytes = Buffer.from(wal.bytes.subarray(from, start + length + 3 * MIB));
      bytes[at - from]! ^= 1 << random(8);
      const read = (verify: boolean) => () => {
        const begin = wal.from + BigInt(from);
        const scanner = new WalScanner({
          from: begin,
          segmentSize: MIB,
          listener: {},
          verify,
          where: 's3://b/w',
        });
        scanner.push(bytes);
        return scanner;
      };
      expect(read(true)).toThrow(/^s3:\/\/b\/w is damaged at /);
    }
  });

  it('refuses pages that are lost, doubled, of elsewhere or of another cluster', () => {
    const read = (bytes: Buffer, systemIdentifier?: bigint) => () => {
      const scanner = new WalScanner({
        from: wal.from,
        segmentSize: MIB,
        listener: {},
        ...(systemIdentifier === undefined ? {} : { systemIdentifier }),
      });
      scanner.push(bytes);
      return scanner;
    };
    const { systemIdentifier } = read(wal.bytes)();
    const cut = (at: number, from: number) =>
      Buffer.concat([wal.bytes.subarray(0, at), wal.bytes.subarray(from, 2 * MIB)]);
    expect(read(cut(5 * PAGE, 6 * PAGE))).toThrow('the page there is that of');
    expect(read(cut(5 * PAGE, 4 * PAGE))).toThrow('the page there is that of');
    expect(read(Buffer.concat([Buffer.alloc(100, 7), wal.bytes.subarray(100)]))).toThrow('no WAL page');
    expect(read(wal.bytes, systemIdentifier! + 1n)).toThrow(/cluster \d+, not of \d+/);
    expect(read(wal.bytes, systemIdentifier!)).not.toThrow();
    const other = () =>
      new WalScanner({ from: wal.from, segmentSize: 2 * MIB, listener: {} }).push(wal.bytes);
    expect(other).toThrow('segments of 1048576 and pages of 8192 bytes instead of 2097152 and 8192');
  });

  it('refuses WAL that goes on after it ended', () => {
    const bytes = Buffer.from(wal.bytes.subarray(0, 3 * MIB));
    bytes.fill(0, MIB + 3 * PAGE, 2 * MIB);
    const scanner = new WalScanner({ from: wal.from, segmentSize: MIB, listener: {} });
    expect(() => scanner.push(bytes)).toThrow(/only zeros come after it, but WAL goes on at/);
  });

  it('takes the zeros of an open segment for the end of WAL, wherever they begin', () => {
    const zeroFrom = (at: number) => {
      const bytes = Buffer.from(wal.bytes.subarray(0, MIB));
      bytes.fill(0, at);
      const scanner = new WalScanner({ from: wal.from, segmentSize: MIB, listener: {}, verify: true });
      scanner.push(bytes);
      expect(scanner.position).toBe(wal.from + BigInt(MIB));
      return scanner;
    };
    const random = randomNumbers(3);
    const inFirst = records.filter(({ lsn }) => lsn < wal.from + BigInt(MIB));
    for (let round = 0; round < 200; round += 1) {
      const index = 1 + random(inFirst.length - 1);
      const scanner = zeroFrom(Number(inFirst[index]!.lsn - wal.from));
      expect(scanner.endOfWal).toBeDefined();
      expect(scanner.records).toBe(index);
    }
    // Pages are written whole; a record that goes on there was not finished.
    for (let page = PAGE; page < MIB; page += PAGE) {
      const scanner = zeroFrom(page);
      const whole = inFirst.filter(({ lsn }) => lsn < scanner.complete);
      expect(scanner.endOfWal).toBe(scanner.complete);
      expect(scanner.records).toBe(whole.length);
    }
  });
});

describe('Scanning WAL over a crash and a promotion', () => {
  it('goes on where a server dropped a record that it had not finished', () =>
    withServer(
      1,
      async (server) => {
        await server.psql('postgres', 'CREATE TABLE filler (id int, body text)');
        // To within two pages of the segment's end, so that the next record crosses it.
        await server.psql(
          'postgres',
          `DO $$ BEGIN LOOP
           INSERT INTO filler SELECT g, repeat(md5(g::text), (random() * 60 + 1)::int) FROM generate_series(1, 10) g;
           EXIT WHEN 1048576 - (pg_current_wal_insert_lsn() - '0/0') % 1048576 < 16384;
         END LOOP; END $$`,
        );
        const before = parseLsn(await server.psql('postgres', 'SELECT pg_current_wal_insert_lsn()'));
        await server.psql(
          'postgres',
          `SELECT pg_logical_emit_message(true, 'lost', repeat('xyzxz', 123456))`,
        );
        const after = parseLsn(await server.psql('postgres', 'SELECT pg_current_wal_insert_lsn()'));
        await server.stop('immediate');
        for (let lsn = after; segmentName(1, lsn, MIB) > segmentName(1, before, MIB); lsn -= BigInt(MIB)) {
          rmSync(path.join(server.dataDir, 'pg_wal', segmentName(1, lsn, MIB)));
        }
        await server.start();
        await server.psql('postgres', `INSERT INTO filler VALUES (0, 'after the crash')`);
        await server.stop();
        const wal = storedWal(server, MIB);
        const expected = dumpedRecords(server.binDir, wal);
        const { log, scanner } = scan(upTo(wal, expected), { verify: true });
        expect(log.lines).toEqual(expected.flatMap(({ event }) => event ?? []));
        expect(scanner.records).toBe(expected.length);
        // The dropped record was really there: its page and the one that replaces it.
        const overwritten = Number(after - (after % BigInt(MIB)) - wal.from);
        const flags = [overwritten, overwritten - MIB].map((at) => wal.bytes.readUInt16LE(at + 2) & 8);
        expect(flags).toContain(8);
      },
      { fsync: 'on' },
    ));

  it('follows a promotion within its segment', () =>
    withServer(1, async (server) => {
      await server.psql('postgres', 'CREATE TABLE marks (id int); INSERT INTO marks VALUES (1)');
      await server.stop();
      await writeFile(path.join(server.dataDir, 'standby.signal'), '');
      await server.start();
      await server.psql('postgres', 'SELECT pg_promote()');
      // More than a page of it: a page keeps the timeline on which it was begun.
      await server.psql('postgres', 'INSERT INTO marks SELECT generate_series(2, 1000)');
      await server.stop();
      const wal = storedWal(server, MIB, 2);
      const expected = dumpedRecords(server.binDir, wal);
      const { log, scanner } = scan(upTo(wal, expected), { verify: true });
      expect(log.lines).toEqual(expected.flatMap(({ event }) => event ?? []));
      expect(log.lines.join()).toMatch(/END_OF_RECOVERY 2 1/);
      expect(scanner.timeline).toBe(2);
    }));
});
