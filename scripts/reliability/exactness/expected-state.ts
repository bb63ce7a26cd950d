import { createHash } from 'node:crypto';
import type { TransactionRecord } from './wal-truth.ts';

/** What a transaction says it did, as it lies in the source's table of marks. */
export interface Mark {
  readonly xid: number;
  readonly kind: string;
  readonly n: number;
}

/** All that a recovered cluster is compared by. */
export interface ClusterState {
  /** `<xid> <kind> <n> <commit time>`, sorted. */
  readonly marks: readonly string[];
  /** `made_<n>: <rows>`, sorted. */
  readonly relations: readonly string[];
  /** `<number>: <md5>`, sorted. */
  readonly objects: readonly string[];
  /** Transactions that are still prepared, sorted. */
  readonly prepared: readonly string[];
}

/** @param records those that are replayed, and no other */
export function expectedState(records: readonly TransactionRecord[], marks: readonly Mark[]): ClusterState {
  const byXid = Map.groupBy(marks, ({ xid }) => xid);
  const prepared = new Map<number, string>();
  const effects = new Effects();
  const found: string[] = [];
  for (const { kind, xid, time, gid } of records) {
    if (kind === 'prepare') prepared.set(xid, gid);
    else prepared.delete(xid);
    if (kind !== 'commit') continue;
    for (const mark of byXid.get(xid) ?? []) {
      found.push(`${xid} ${mark.kind} ${mark.n} ${time}`);
      effects.take(mark);
    }
  }
  return { marks: found.toSorted(), prepared: [...prepared.values()].toSorted(), ...effects.told() };
}

class Effects {
  readonly #relations = new Map<number, number>();
  readonly #objects = new Map<number, string>();

  take({ kind, n }: Mark): void {
    if (kind === 'create') this.#relations.set(n, 500);
    else if (kind === 'truncate') this.#relations.set(n, 0);
    else if (kind === 'drop') this.#relations.delete(n);
    else if (kind === 'object') this.#objects.set(n, contents(n));
    else if (kind === 'object-changed') this.#objects.set(n, changed(contents(n)));
    else if (kind === 'object-dropped') this.#objects.delete(n);
  }

  told(): Pick<ClusterState, 'relations' | 'objects'> {
    return {
      relations: [...this.#relations].map(([n, rows]) => `made_${n}: ${rows}`).toSorted(),
      objects: [...this.#objects].map(([n, text]) => `${n}: ${md5(text)}`).toSorted(),
    };
  }
}

/** As the load writes them. */
function contents(n: number): string {
  return `n ${n} `.repeat(700);
}

function changed(text: string): string {
  const written = 'written over';
  return text.slice(0, 1000) + written + text.slice(1000 + written.length);
}

function md5(text: string): string {
  return createHash('md5').update(text).digest('hex');
}

/** What is found and not expected, and the other way round, each as a line for people; none: the same. */
export function differences(expected: ClusterState, found: ClusterState): string[] {
  return (['marks', 'relations', 'objects', 'prepared'] as const).flatMap((what) => {
    const missing = without(expected[what], found[what]);
    const tooMany = without(found[what], expected[what]);
    return [
      ...(missing.length > 0 ? [`${missing.length} ${what} missing: ${some(missing)}`] : []),
      ...(tooMany.length > 0 ? [`${tooMany.length} ${what} too many: ${some(tooMany)}`] : []),
    ];
  });
}

/** One is taken away for each that is there: what is there twice must be expected twice. */
function without(these: readonly string[], those: readonly string[]): string[] {
  const left = new Map<string, number>();
  for (const each of those) left.set(each, (left.get(each) ?? 0) + 1);
  return these.filter((each) => {
    const count = left.get(each) ?? 0;
    left.set(each, count - 1);
    return count <= 0;
  });
}

function some(lines: readonly string[]): string {
  return lines.slice(0, 3).join(', ') + (lines.length > 3 ? ', …' : '');
}
