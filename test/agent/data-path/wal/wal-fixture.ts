import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { parseLsn, type Lsn } from '../../../../lib/domain/wal/lsn.ts';
import { formatPgTime, parsePgTime } from '../../../../lib/domain/wal/pg-time.ts';
import { parseSegmentName } from '../../../../lib/domain/wal/segment.ts';
import type {
  RecordPlace,
  TransactionAt,
  WalListener,
} from '../../../../scripts/agent/data-path/wal/wal-listener.ts';
import type { PostgresServer } from '../../../postgres-server.ts';

/** All the WAL that a stopped server has of a timeline. */
export interface StoredWal {
  readonly from: Lsn;
  readonly bytes: Buffer;
  readonly segmentSize: number;
  readonly folder: string;
  readonly firstSegment: string;
  readonly lastSegment: string;
}

/** Settings under which a server keeps all its WAL and writes every kind of it. */
export const WAL_SETTINGS = {
  wal_keep_size: '4GB',
  max_wal_size: '4GB',
  wal_level: 'logical',
  max_prepared_transactions: '20',
  track_commit_timestamp: 'on',
  autovacuum: 'off',
};

/** Transactions, savepoints, prepared ones, DDL, origins, restore points, switches and records of all sizes. */
export const TRAFFIC = `
  CREATE TABLE items (id int PRIMARY KEY, body text);
  CREATE TABLE doomed (id serial PRIMARY KEY, body text);
  CREATE TABLE spared (id serial PRIMARY KEY, body text);
  DO $$ BEGIN FOR i IN 1..500 LOOP
    INSERT INTO items VALUES (i, repeat(md5(i::text), i % 60));
    COMMIT;
  END LOOP; END $$;
  BEGIN; SAVEPOINT a; UPDATE items SET body = 'a' WHERE id < 10; ROLLBACK TO a;
    SAVEPOINT b; UPDATE items SET body = 'b' WHERE id < 10; RELEASE b; COMMIT;
  DO $$ BEGIN FOR i IN 1..200 LOOP
    BEGIN INSERT INTO items VALUES (1000 + i, ''); EXCEPTION WHEN OTHERS THEN NULL; END;
  END LOOP; END $$;
  BEGIN; INSERT INTO items VALUES (5000, 'never'); ROLLBACK;
  BEGIN; CREATE TABLE never (id int); INSERT INTO never VALUES (1); DROP TABLE spared; ROLLBACK;
  SELECT pg_create_restore_point('before the größere change');
  BEGIN; INSERT INTO items VALUES (2001, ''); PREPARE TRANSACTION 'plain'; COMMIT PREPARED 'plain';
  BEGIN; INSERT INTO items VALUES (2002, ''); PREPARE TRANSACTION 'undone'; ROLLBACK PREPARED 'undone';
  BEGIN; SAVEPOINT a; DROP TABLE doomed; SAVEPOINT b; CREATE TABLE made (id serial PRIMARY KEY, body text);
    PREPARE TRANSACTION 'ddl'; COMMIT PREPARED 'ddl';
  BEGIN; SAVEPOINT a; DROP TABLE spared; SAVEPOINT b; CREATE TABLE made_too (id serial PRIMARY KEY, body text);
    PREPARE TRANSACTION 'ddl undone'; ROLLBACK PREPARED 'ddl undone';
  SELECT pg_switch_wal();
  CHECKPOINT;
  SELECT pg_logical_emit_message(true, 'nine kilobytes', repeat('x', 9000));
  SELECT pg_logical_emit_message(true, 'twenty megabytes', repeat('x', 20000000));
  UPDATE items SET body = body || '!' WHERE id % 3 = 0;
  SELECT pg_replication_origin_create('elsewhere');
  SELECT pg_replication_origin_session_setup('elsewhere');
  BEGIN; SELECT pg_replication_origin_xact_setup('0/AABBCC', now()); INSERT INTO items VALUES (3001, ''); COMMIT;
  BEGIN; SELECT pg_replication_origin_xact_setup('0/AABBCD', now()); INSERT INTO items VALUES (3002, '');
    PREPARE TRANSACTION 'from elsewhere'; COMMIT PREPARED 'from elsewhere';
  SELECT pg_replication_origin_session_reset();
  SELECT pg_switch_wal();
  SELECT pg_create_restore_point('${'n'.repeat(63)}');
  DO $$ BEGIN FOR i IN 1..500 LOOP
    UPDATE items SET body = 'again' WHERE id = i;
    IF i % 5 = 0 THEN ROLLBACK; ELSE COMMIT; END IF;
  END LOOP; END $$;
`;

/** @param timeline whose files are read, as far as they follow one another and were written in this place */
export function storedWal(server: PostgresServer, segmentSize: number, timeline = 1): StoredWal {
  const folder = path.join(server.dataDir, 'pg_wal');
  const pieces: Buffer[] = [];
  let from: Lsn | undefined;
  let firstSegment = '';
  let lastSegment = '';
  for (const name of readdirSync(folder).sort()) {
    const segment = parseSegmentName(name, segmentSize);
    if (segment?.timeline !== timeline) continue;
    const bytes = readFileSync(path.join(folder, name));
    // Files kept ready for what comes next hold zeros, or pages from elsewhere.
    if (bytes.readBigUInt64LE(8) !== segment.start) break;
    if (from !== undefined && from + BigInt(pieces.length * segmentSize) !== segment.start) break;
    from ??= segment.start;
    firstSegment ||= name;
    lastSegment = name;
    pieces.push(bytes);
  }
  if (from === undefined) throw new Error(`no WAL of timeline ${timeline} in ${folder}`);
  return { from, bytes: Buffer.concat(pieces), segmentSize, folder, firstSegment, lastSegment };
}

/** What a scan told, one line an event, as `dumpedEvents` writes what pg_waldump says. */
export class EventLog implements WalListener {
  readonly lines: string[] = [];
  readonly places: RecordPlace[] = [];
  readonly commits: TransactionAt[] = [];
  readonly aborts: TransactionAt[] = [];

  commit(at: TransactionAt): void {
    this.commits.push(at);
    this.#add(at, `${at.prepared ? 'COMMIT_PREPARED' : 'COMMIT'} ${at.xid} ${formatPgTime(at.time)}`);
  }
  abort(at: TransactionAt): void {
    this.aborts.push(at);
    this.#add(at, `${at.prepared ? 'ABORT_PREPARED' : 'ABORT'} ${at.xid} ${formatPgTime(at.time)}`);
  }
  restorePoint(at: Parameters<NonNullable<WalListener['restorePoint']>>[0]): void {
    this.#add(at, `RESTORE_POINT ${at.name}`);
  }
  switch(at: RecordPlace): void {
    this.#add(at, 'SWITCH');
  }
  checkpoint(at: Parameters<NonNullable<WalListener['checkpoint']>>[0]): void {
    const kind = at.shutdown ? 'SHUTDOWN' : 'ONLINE';
    this.#add(at, `CHECKPOINT_${kind} ${at.redo} ${at.timeline} ${at.previousTimeline}`);
  }
  endOfRecovery(at: Parameters<NonNullable<WalListener['endOfRecovery']>>[0]): void {
    const seconds = formatPgTime(at.time).slice(0, 19);
    this.#add(at, `END_OF_RECOVERY ${at.timeline} ${at.previousTimeline} ${seconds}`);
  }

  #add(at: RecordPlace, line: string): void {
    this.places.push(at);
    this.lines.push(`${at.lsn} ${line}`);
  }
}

export interface DumpedRecord {
  readonly lsn: Lsn;
  readonly length: number;
  readonly event: string | undefined;
}

/** Every record of the WAL by pg_waldump of PostgreSQL 15, which ends with an error where WAL ends. */
export function dumpedRecords(binDir: string, wal: StoredWal): DumpedRecord[] {
  const { stdout } = spawnSync(
    path.join(binDir, 'pg_waldump'),
    ['--path', wal.folder, wal.firstSegment, wal.lastSegment],
    {
      encoding: 'utf8',
      maxBuffer: 1024 * 1024 * 1024,
      env: { ...process.env, TZ: 'UTC' },
    },
  );
  return stdout.split('\n').flatMap((line) => {
    const found = /^rmgr: (\w+) .*\/ *(\d+), tx: +(\d+), lsn: (\S+), prev \S+, desc: (\S+) ?(.*)$/.exec(line);
    if (!found) return [];
    const [, rmgr = '', length = '', xid = '', lsn = '', kind = '', rest = ''] = found;
    const at = parseLsn(lsn);
    const event = describe(rmgr, kind, rest, xid);
    return [{ lsn: at, length: Number(length), event: event && `${at} ${event}` }];
  });
}

function describe(rmgr: string, kind: string, rest: string, xid: string): string | undefined {
  if (rmgr === 'Transaction') {
    const [, prepared, day, time] = /^(?:(\d+): )?(\d{4}-\d\d-\d\d) ([\d:.]+) UTC/.exec(rest) ?? [];
    if (!/^(COMMIT|ABORT)/.test(kind)) return undefined;
    return `${kind} ${prepared ?? xid} ${formatPgTime(parsePgTime(`${day}T${time}Z`))}`;
  }
  if (rmgr !== 'XLOG') return undefined;
  if (kind === 'RESTORE_POINT') return `${kind} ${rest}`;
  if (kind === 'SWITCH') return kind;
  const [, redo, timeline, previous] = /^redo (\S+); tli (\d+); prev tli (\d+);/.exec(rest) ?? [];
  if (redo !== undefined) return `${kind} ${parseLsn(redo)} ${timeline} ${previous}`;
  const [, tli, prevTli, day, time] = /^tli (\d+); prev tli (\d+); time (\S+) ([\d:]+)/.exec(rest) ?? [];
  return kind === 'END_OF_RECOVERY' ? `${kind} ${tli} ${prevTli} ${day}T${time}` : undefined;
}

/** The same sequence for the same seed. */
export function randomNumbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 0x1_0000_0000) * below);
  };
}
