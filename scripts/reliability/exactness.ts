import type { Truth } from './exactness/clusters.ts';
import { chooseInstants, isTelling } from './exactness/instants.ts';
import { LOAD_SETTINGS } from './exactness/load.ts';
import { EVERYTHING, Proof } from './exactness/proof.ts';
import {
  describeRecords,
  formatLsn,
  replayedBefore,
  replayedByTime,
  type TransactionRecord,
} from './exactness/wal-truth.ts';
import {
  RESTORE_POINT,
  writeFirstTimeline,
  writeSecondTimeline,
  type FirstTimeline,
  type Form,
} from './exactness/writing.ts';
import type { Scenario, ScenarioContext, ScenarioResult } from './scenario.ts';
import { setStage, type Stage } from './stage.ts';

export const EXACT: Scenario = {
  name: 'exact',
  about:
    'recovers to instants, positions and names, on two timelines, and compares with PostgreSQL’s own WAL',
  run: proveExactness,
};

const SHORT: Form = { instants: 3, loadMs: 3000, clients: 6 };
const FULL: Form = { instants: 20, loadMs: 8000, clients: 16 };
const SETTINGS = {
  ...LOAD_SETTINGS,
  wal_keep_size: '8GB',
  max_wal_size: '4GB',
  log_checkpoints: 'off',
} as const;

async function proveExactness(context: ScenarioContext): Promise<ScenarioResult> {
  const form = context.short ? SHORT : FULL;
  // Segments of 1 MiB: many of them, and a piece of the open one now and then, in a small cluster.
  const stage = await setStage({ settings: SETTINGS, initdbArgs: ['--wal-segsize=1'] });
  try {
    const proof = new Proof(stage, context);
    const first = await writeFirstTimeline(stage, context, form);
    context.say(`timeline 1: ${describeRecords(first.truth.records)}`);
    const instants = chooseInstants(first.truth, first.base.lsn, context.random, form.instants);
    const later = instants.pop()!;
    for (const time of instants) await tryTime(proof, first.truth, time);
    await tryOtherTargets(proof, first, context);
    const second = await proveSecondTimeline(stage, context, { form, first, proof, time: later });
    return {
      lines: [
        `- ${form.instants} instants; load of ${form.clients} clients, ${form.loadMs / 1000} s`,
        `- timeline 1: ${describeRecords(first.truth.records)}`,
        ...(second ? [`- timeline 2, in which it goes on: ${describeRecords(second.records)}`] : []),
        `- instants for which "every commit up to that time" would be another set: ${instants.filter((time) => isTelling(first.truth.records, time)).length}`,
        '',
        ...proof.table(),
      ],
      failures: proof.failures,
    };
  } finally {
    await stage.close();
  }
}

async function tryTime(proof: Proof, truth: Truth, time: string, ...more: readonly string[]): Promise<void> {
  const replayed = replayedByTime(truth.records, time);
  const kind = more.length > 0 ? `instant on timeline ${more.at(-1)}` : 'instant under load';
  await proof.try({ kind, args: ['--to-time', time, ...more], truth, replayed });
}

async function tryOtherTargets(
  proof: Proof,
  { truth, base, restorePoint, idleAt }: FirstTimeline,
  { random, short }: ScenarioContext,
): Promise<void> {
  const { records } = truth;
  const commits = records.filter(({ kind, lsn }) => kind === 'commit' && lsn > base.lsn);
  const any = (): TransactionRecord => commits[Math.floor(random() * commits.length)]!;
  const [byLsn, byXid, byTime] = [any(), any(), any()];
  const lsn = ['--to-lsn', formatLsn(byLsn.lsn)];
  await proof.try({ kind: 'LSN', args: lsn, truth, replayed: replayedBefore(records, byLsn.lsn) + 1 });
  const xid = ['--to-xid', String(byXid.xid)];
  const upTo = replayedBefore(records, byXid.lsn);
  const until = { kind: 'transaction, `--exclusive`', args: [...xid, '--exclusive'] };
  await proof.try({ ...until, truth, replayed: upTo });
  if (!short) {
    await proof.try({ kind: 'transaction', args: xid, truth, replayed: upTo + 1 });
    const before = replayedByTime(records, byTime.time, false);
    const exclusive = ['--to-time', byTime.time, '--exclusive'];
    await proof.try({ kind: 'instant, `--exclusive`', args: exclusive, truth, replayed: before });
  }
  const named = replayedBefore(records, restorePoint);
  await proof.try({ kind: 'restore point', args: ['--to-name', RESTORE_POINT], truth, replayed: named });
  const idle = { kind: 'instant in an idle stretch', args: ['--to-time', idleAt] };
  await proof.try({ ...idle, truth, replayed: replayedByTime(records, idleAt) });
  await proof.try({
    kind: EVERYTHING,
    args: ['--latest', '--timeline', '1'],
    truth,
    replayed: records.length,
  });
}

interface SecondTimeline {
  readonly form: Form;
  readonly first: FirstTimeline;
  readonly proof: Proof;
  /** Where it leaves the first one. */
  readonly time: string;
}

/** A cluster is recovered, written to and backed up; then both it and what came of the first one are recovered. */
async function proveSecondTimeline(
  stage: Stage,
  context: ScenarioContext,
  { form, first, proof, time }: SecondTimeline,
): Promise<Truth | undefined> {
  const { truth } = first;
  const replayed = replayedByTime(truth.records, time);
  const host = await proof.recover({
    kind: 'instant under load',
    args: ['--to-time', time],
    truth,
    replayed,
  });
  if (!host) return undefined;
  try {
    const { second, backedUpAt } = await writeSecondTimeline(stage, context, { form, first, host });
    const own = second.records.slice(replayed).filter(({ kind }) => kind !== 'prepare');
    const any = (records: readonly TransactionRecord[]): TransactionRecord =>
      records[Math.floor(context.random() * records.length)]!;
    // From the first timeline's base backup across the switch, and from the second one's own.
    for (const behind of [false, true]) {
      const { time: at } = any(own.filter(({ lsn }) => lsn >= backedUpAt === behind));
      await tryTime(proof, second, at, '--timeline', '2');
    }
    const left = truth.records.slice(replayed).filter(({ kind }) => kind !== 'prepare');
    await tryTime(proof, truth, any(left).time, '--timeline', '1');
    if (context.short) return second;
    // This position is on both, with other contents.
    const { lsn } = any(left.filter((each) => each.lsn < own.at(-1)!.lsn));
    const position = ['--to-lsn', formatLsn(lsn), '--exclusive', '--timeline', '2'];
    const upTo = replayedBefore(second.records, lsn);
    await proof.try({
      kind: 'LSN on timeline 2, `--exclusive`',
      args: position,
      truth: second,
      replayed: upTo,
    });
    return second;
  } finally {
    await host.remove();
  }
}
