import { formatPgTime } from '../../../../lib/domain/wal/pg-time.ts';
import { findLastCommit } from '../../../../scripts/agent/data-path/wal/last-commit.ts';
import { holdsSegment } from '../../../../scripts/agent/data-path/wal/segment-pages.ts';
import { WalScanner } from '../../../../scripts/agent/data-path/wal/wal-scanner.ts';
import {
  POSTGRES_MAJORS,
  postgresBinDir,
  startPostgres,
  type PostgresServer,
} from '../../../postgres-server.ts';
import { EventLog, randomNumbers, storedWal, TRAFFIC, WAL_SETTINGS, type StoredWal } from './wal-fixture.ts';

const MIB = 1024 * 1024;

/** There is no pg_waldump for most of them: the server itself says what each transaction became, and when. */
describe.each(POSTGRES_MAJORS)('Scanning the WAL of PostgreSQL %d', (major) => {
  let server: PostgresServer;
  let wal: StoredWal;
  let log: EventLog;
  let scanner: WalScanner;

  beforeAll(async () => {
    server = await startPostgres({
      binDir: postgresBinDir(major),
      settings: { ...WAL_SETTINGS, min_wal_size: '2MB' },
      initdbArgs: ['--wal-segsize=1'],
    });
    await server.psql(
      'postgres',
      `CREATE TABLE marks (xid xid8 DEFAULT pg_current_xact_id(), before pg_lsn);`,
    );
    await server.psql('postgres', TRAFFIC);
    // Each notes where WAL was when it began to commit.
    await server.psql(
      'postgres',
      `DO $$ BEGIN FOR i IN 1..100 LOOP
         INSERT INTO marks (before) VALUES (pg_current_wal_insert_lsn()); COMMIT;
       END LOOP; END $$`,
    );
    await server.stop();
    wal = storedWal(server, MIB);
    log = new EventLog();
    const random = randomNumbers(major);
    scanner = new WalScanner({ from: wal.from, segmentSize: MIB, listener: log, verify: true });
    for (let at = 0; at < wal.bytes.length;) {
      const next = at + 1 + random(300_000);
      scanner.push(wal.bytes.subarray(at, next));
      at = Math.min(wal.bytes.length, next);
    }
    await server.start();
  });
  afterAll(() => server.remove());

  const segments = (): { start: bigint; bytes: Buffer }[] =>
    Array.from({ length: wal.bytes.length / MIB }, (_each, index) => ({
      start: wal.from + BigInt(index * MIB),
      bytes: wal.bytes.subarray(index * MIB, (index + 1) * MIB),
    }));

  it('finds every checksum right, and knows the version, the timeline and the cluster', async () => {
    expect(scanner.records).toBeGreaterThan(5000);
    expect(scanner.endOfWal).toBe(scanner.complete);
    const system = await server.psql('postgres', 'SELECT system_identifier FROM pg_control_system()');
    expect([scanner.major, scanner.timeline, String(scanner.systemIdentifier)]).toEqual([major, 1, system]);
  });

  it('tells of the commits that the server knows, at the times that it knows', async () => {
    const values = log.commits.map(({ xid }) => `('${xid}'::xid)`).join();
    // Of transactions that came by replication it keeps the origin's time, which recovery does not go by.
    const known = await server.psql(
      'postgres',
      `SELECT x, to_char(pg_xact_commit_timestamp(x), 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
       FROM (VALUES ${values}) AS told (x), pg_xact_commit_timestamp_origin(x) AS origin
       WHERE origin.timestamp IS NOT NULL AND origin.roident = 0`,
    );
    const lines = known.split('\n');
    const times = new Map(log.commits.map(({ xid, time }) => [xid, formatPgTime(time)]));
    expect(lines.map((line) => `${line.split('|')[0]}|${times.get(Number(line.split('|')[0]))}`)).toEqual(
      lines,
    );
    // None of initdb's, when track_commit_timestamp was still off, and not the two with an origin.
    expect(lines.length).toBeGreaterThan(900);
    expect(lines.length).toBeLessThan(log.commits.length);
  });

  it('finds from the end of each segment the last commit in it, as a scan of the whole does', () => {
    const ends = log.commits.map(({ end }) => end);
    for (const { start, bytes } of segments()) {
      const inside = log.commits.filter(({ lsn, end }) => lsn >= start && end <= start + BigInt(MIB));
      expect(findLastCommit(bytes, start, MIB)).toEqual(inside.at(-1));
    }
    expect(ends.length).toBeGreaterThan(900);
  });

  it('knows a whole segment from what the server keeps under its name for later', async () => {
    const systemIdentifier = String(scanner.systemIdentifier);
    const [first, second] = segments();
    const expected = { start: second!.start, timeline: 1, systemIdentifier };
    for (const { start, bytes } of segments().slice(0, -1))
      expect(holdsSegment(bytes, { ...expected, start })).toBe(true);
    expect(holdsSegment(first!.bytes, expected)).toBe(false);
    expect(holdsSegment(second!.bytes.subarray(0, MIB / 2), expected)).toBe(false);
    expect(holdsSegment(second!.bytes, { ...expected, systemIdentifier: '1' })).toBe(false);
    expect(holdsSegment(Buffer.alloc(MIB), expected)).toBe(false);
    const mixed = Buffer.from(second!.bytes);
    first!.bytes.copy(mixed, MIB / 2, MIB / 2, MIB / 2 + 8192);
    expect(holdsSegment(mixed, expected)).toBe(false);
    mixed.fill(0, MIB / 2);
    mixed[MIB - 1] = 1;
    expect(holdsSegment(mixed, expected)).toBe(false);
  });

  it('knows a segment that was switched from a new file that is not full yet', () => {
    const systemIdentifier = String(scanner.systemIdentifier);
    const holds = (bytes: Buffer, start: bigint): boolean =>
      holdsSegment(bytes, { start, timeline: 1, systemIdentifier });
    const switched = log.places.filter((_place, index) => log.lines[index]!.endsWith(' SWITCH'));
    expect(switched).toHaveLength(2);
    for (const { start, bytes } of segments().slice(0, -1)) {
      const end = switched.find(({ lsn }) => lsn >= start && lsn < start + BigInt(MIB))?.lsn;
      const used = end === undefined ? MIB : Math.ceil(Number(end + 24n - start) / 8192) * 8192;
      for (const pages of [1, 2, 50, 127].filter((count) => count * 8192 < used)) {
        const cut = Buffer.from(bytes).fill(0, pages * 8192);
        expect([pages, holds(cut, start)]).toEqual([pages, false]);
      }
      const padded = Buffer.from(bytes);
      if (end === undefined) continue;
      // Behind the record, in its own page and at the segment's end.
      for (const at of [Number(end - start) + 24, MIB - 1]) {
        padded[at] = 1;
        expect(holds(padded, start)).toBe(false);
        padded[at] = 0;
      }
      expect(holds(padded, start)).toBe(true);
    }
  });

  it('misses no commit and no rollback', async () => {
    const ended = (events: readonly { readonly xid: number }[]) => new Set(events.map(({ xid }) => xid));
    const commits = ended(log.commits);
    const aborts = ended(log.aborts);
    const first = Math.min(...commits);
    const next = Number(await server.psql('postgres', 'SELECT pg_snapshot_xmax(pg_current_snapshot())'));
    const rows = await server.psql(
      'postgres',
      `SELECT n, pg_xact_status(n::text::xid8) FROM generate_series(${first}, ${next - 1}) AS n`,
    );
    for (const row of rows.split('\n')) {
      const [xid = '', status] = row.split('|');
      // Subtransactions end with the transaction above them, and have no record of their own.
      if (commits.has(Number(xid))) expect(`${xid} ${status}`).toBe(`${xid} committed`);
      if (aborts.has(Number(xid)) && !commits.has(Number(xid)))
        expect(`${xid} ${status}`).toBe(`${xid} aborted`);
    }
    const marked = await server.psql('postgres', 'SELECT xid FROM marks');
    for (const xid of marked.split('\n')) expect(commits.has(Number(xid))).toBe(true);
    expect(log.commits.filter(({ prepared }) => prepared)).toHaveLength(3);
    expect(log.aborts.filter(({ prepared }) => prepared)).toHaveLength(2);
  });

  it('says where each commit lies', async () => {
    const rows = await server.psql('postgres', `SELECT xid, before - '0/0' FROM marks ORDER BY xid`);
    const marks = rows.split('\n').map((row) => row.split('|').map(BigInt) as [bigint, bigint]);
    for (const [index, [xid, before]] of marks.entries()) {
      const at = log.commits.find((commit) => BigInt(commit.xid) === xid)!;
      expect(at.lsn).toBeGreaterThanOrEqual(before);
      const following = marks[index + 1]?.[1] ?? scanner.complete;
      expect(at.end).toBeLessThanOrEqual(following);
    }
  });

  it('tells of restore points, switches and checkpoints', () => {
    const kinds = log.lines.map((line) => line.replace(/^\d+ /, ''));
    expect(kinds).toContain('RESTORE_POINT before the größere change');
    expect(kinds).toContain(`RESTORE_POINT ${'n'.repeat(63)}`);
    expect(kinds.filter((kind) => kind === 'SWITCH')).toHaveLength(2);
    expect(kinds.filter((kind) => kind.startsWith('CHECKPOINT_ONLINE')).length).toBeGreaterThan(0);
    const last = wal.bytes.length > 0 ? kinds.at(-1) : undefined;
    expect(last).toMatch(/^CHECKPOINT_SHUTDOWN \d+ 1 1$/);
  });
});
