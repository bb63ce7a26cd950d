import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import type { PostgresServer } from '../../set-up/postgres-server.ts';

const run = promisify(execFile);

/** A transaction's end, or its preparation, in WAL order, as PostgreSQL's own pg_waldump reads it: no code of ours is asked. */
export interface TransactionRecord {
  /** The record's first byte. */
  readonly lsn: bigint;
  readonly kind: 'commit' | 'abort' | 'prepare';
  /** Whose it is; of a prepared transaction its own, not that of the session that ended it. */
  readonly xid: number;
  /** `2026-01-17T08:54:59.123456Z` */
  readonly time: string;
  /** Of a preparation. */
  readonly gid: string;
}

interface WalRange {
  readonly timeline: number;
  readonly from: string;
  readonly to: string;
}

const KINDS: Readonly<Record<string, TransactionRecord['kind']>> = {
  COMMIT: 'commit',
  COMMIT_PREPARED: 'commit',
  ABORT: 'abort',
  ABORT_PREPARED: 'abort',
  PREPARE: 'prepare',
};
const LINE =
  /tx: +(?<xid>\d+), lsn: (?<high>[0-9A-F]+)\/(?<low>[0-9A-F]+), .*? desc: (?<kind>[A-Z_]+) (?:(?<own>\d+): |gid (?<gid>\S+): )?(?<day>\d{4}-\d\d-\d\d) (?<clock>[\d:]{8}\.\d{6}) UTC/;
/** Of what pg_waldump prints for a long run. */
const LARGEST_OUTPUT = 1 << 30;

/** @param walDir the server's own pg_wal, or any folder of whole segments */
export async function readTransactions(
  { binDir }: Pick<PostgresServer, 'binDir'>,
  walDir: string,
  { timeline, from, to }: WalRange,
): Promise<TransactionRecord[]> {
  const range = [`--timeline=${timeline}`, `--start=${from}`, `--end=${to}`];
  const { stdout } = await run(
    path.join(binDir, 'pg_waldump'),
    ['--path', walDir, '--rmgr=Transaction', ...range],
    { maxBuffer: LARGEST_OUTPUT, env: { TZ: 'UTC', LC_ALL: 'C' } },
  );
  return stdout.split('\n').flatMap((line) => parseLine(line) ?? []);
}

function parseLine(line: string): TransactionRecord | undefined {
  const { xid, high, low, kind, own, gid = '', day, clock } = LINE.exec(line)?.groups ?? {};
  const known = KINDS[kind ?? ''];
  if (!known) return undefined;
  const lsn = lsnOf(`${high}/${low}`);
  return { lsn, kind: known, xid: Number(own ?? xid), time: `${day}T${clock}Z`, gid };
}

export function lsnOf(text: string): bigint {
  const [high = '0', low = '0'] = text.split('/');
  return (BigInt(`0x${high}`) << 32n) + BigInt(`0x${low}`);
}

export function formatLsn(lsn: bigint): string {
  return `${(lsn >> 32n).toString(16)}/${(lsn & 0xffff_ffffn).toString(16)}`.toUpperCase();
}

/**
 * So many records, from the first, are replayed when PostgreSQL recovers to a time: it goes in WAL order and stops before the
 * first end of a transaction, a rollback's too, that is later (recoveryStopsBefore in xlogrecovery.c). Times in WAL order go back
 * now and then, so this is not "every commit up to that time".
 */
export function replayedByTime(
  records: readonly TransactionRecord[],
  time: string,
  inclusive = true,
): number {
  const found = records.findIndex(
    (record) => record.kind !== 'prepare' && (inclusive ? record.time > time : record.time >= time),
  );
  return found < 0 ? records.length : found;
}

/** … and when it recovers to an LSN: every record that begins before it. */
export function replayedBefore(records: readonly TransactionRecord[], lsn: bigint): number {
  const found = records.findIndex((record) => record.lsn >= lsn);
  return found < 0 ? records.length : found;
}

/** Ends that are earlier than one before them in the WAL: where "up to that time" and the order of the WAL differ. */
export function inversions(records: readonly TransactionRecord[]): TransactionRecord[] {
  let latest = '';
  return records.filter(({ kind, time }) => {
    if (kind === 'prepare') return false;
    const earlier = time < latest;
    if (!earlier) latest = time;
    return earlier;
  });
}

/** For people: how many of each kind, and how many of them tell a wrong order by their time. */
export function describeRecords(records: readonly TransactionRecord[]): string {
  const count = (kind: TransactionRecord['kind']): number =>
    records.filter((each) => each.kind === kind).length;
  return `${count('commit')} commits, ${count('abort')} rollbacks, ${count('prepare')} prepared transactions; ${inversions(records).length} ends are earlier than one before them in the WAL`;
}
