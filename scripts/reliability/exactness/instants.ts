import type { Truth } from './clusters.ts';
import { inversions, replayedByTime, type TransactionRecord } from './wal-truth.ts';

/** Microseconds between `from` and the last mark, and every fourth where times go back, as long as there are such. */
export function chooseInstants(
  { records, marks }: Truth,
  from: bigint,
  random: () => number,
  count: number,
): string[] {
  const ends = records.filter(({ lsn, kind }) => lsn >= from && kind !== 'prepare');
  const marked = new Set(marks.map(({ xid }) => xid));
  const first = ends[0]!;
  const last = ends.findLast(({ xid }) => marked.has(xid))!;
  const early = inversions(ends).filter(({ time }) => time > first.time);
  const [begin, end] = [microseconds(first.time), microseconds(last.time)];
  return Array.from({ length: count }, (_unused, index) => {
    const choice = random();
    const [told] = index % 4 === 0 ? early.splice(Math.floor(choice * early.length), 1) : [];
    return told?.time ?? timeOf(begin + BigInt(Math.floor(choice * Number(end - begin))));
  });
}

/** Whether "every commit up to that time" is another set than what comes before it in the WAL. */
export function isTelling(records: readonly TransactionRecord[], time: string): boolean {
  return records
    .slice(replayedByTime(records, time))
    .some((record) => record.kind === 'commit' && record.time <= time);
}

/** Since 1970. */
function microseconds(time: string): bigint {
  return BigInt(Date.parse(`${time.slice(0, 23)}Z`)) * 1000n + BigInt(time.slice(23, 26));
}

function timeOf(microseconds: bigint): string {
  const whole = new Date(Number(microseconds / 1000n)).toISOString().slice(0, 23);
  return `${whole}${String(microseconds % 1000n).padStart(3, '0')}Z`;
}
