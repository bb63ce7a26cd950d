import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { runAgent } from './agent.ts';
import type { EmptyHost } from './empty-host.ts';
import {
  continued,
  createTablespace,
  finishStream,
  idle,
  liveCluster,
  startStream,
  switchOf,
  takeOver,
  truthOf,
  type LiveCluster,
  type Truth,
} from './exactness/clusters.ts';
import { chooseInstants, isTelling } from './exactness/instants.ts';
import { Load, LOAD_SETTINGS, TABLES } from './exactness/load.ts';
import { EVERYTHING, Proof } from './exactness/proof.ts';
import {
  formatLsn,
  inversions,
  lsnOf,
  replayedBefore,
  replayedByTime,
  type TransactionRecord,
} from './exactness/wal-truth.ts';
import type { Scenario, ScenarioContext, ScenarioResult } from './scenario.ts';
import { setStage, type Stage } from './stage.ts';

export const EXACT: Scenario = {
  name: 'exact',
  about:
    'recovers to instants, positions and names, on two timelines, and compares with PostgreSQL’s own WAL',
  run: proveExactness,
};

interface Form {
  readonly instants: number;
  /** Of load, around a base backup; half as long on the second timeline. */
  readonly loadMs: number;
  readonly clients: number;
}

const SHORT: Form = { instants: 3, loadMs: 3000, clients: 6 };
const FULL: Form = { instants: 20, loadMs: 8000, clients: 16 };
const RESTORE_POINT = `before 'the flood'`;
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
    context.say(`timeline 1: ${describe(first.truth.records)}`);
    const instants = chooseInstants(first.truth, first.base.lsn, context.random, form.instants);
    const later = instants.pop()!;
    for (const time of instants) await tryTime(proof, first.truth, time);
    await tryOtherTargets(proof, first, context);
    const second = await proveSecondTimeline(stage, context, { form, first, proof, time: later });
    return {
      lines: [
        `- ${form.instants} instants; load of ${form.clients} clients, ${form.loadMs / 1000} s`,
        `- timeline 1: ${describe(first.truth.records)}`,
        ...(second ? [`- timeline 2, in which it goes on: ${describe(second.records)}`] : []),
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

interface FirstTimeline {
  readonly truth: Truth;
  /** The first commit behind the base backup. */
  readonly base: TransactionRecord;
  readonly restorePoint: bigint;
  readonly idleAt: string;
}

async function writeFirstTimeline(
  stage: Stage,
  context: ScenarioContext,
  form: Form,
): Promise<FirstTimeline> {
  const live = liveCluster(stage);
  const from = await live.psql('SELECT pg_current_wal_insert_lsn()');
  await createTablespace(stage, 'one');
  await createTablespace(stage, 'two');
  await live.psql(TABLES);
  const stream = await startStream(stage, live);
  try {
    const load = startLoad(stage, live, context, form);
    await sleep(1000);
    await runAgent(['backup', '--kind', 'base'], stage.agentEnv);
    const backedUp = await live.psql('SELECT pg_current_wal_insert_lsn()');
    await sleep(form.loadMs / 2);
    const point = await live.psql(`SELECT pg_create_restore_point('${RESTORE_POINT.replaceAll("'", "''")}')`);
    await sleep(form.loadMs / 2);
    await stopLoad(load, context);
    const idleAt = await idle(live);
    const truth = await truthOf(stage, live, from, await finishStream(live, stream));
    const base = truth.records.find(({ lsn, kind }) => kind === 'commit' && lsn >= lsnOf(backedUp))!;
    return { truth, base, restorePoint: lsnOf(point), idleAt };
  } finally {
    stream.kill('SIGKILL');
  }
}

function startLoad(
  stage: Stage,
  { server, timeline }: LiveCluster,
  context: ScenarioContext,
  form: Form,
): Load {
  const folder = path.join(stage.folder, `load-${timeline}`);
  const seed = Math.floor(context.random() * 2 ** 31);
  return new Load({ binDir: stage.binDir, server, folder, clients: form.clients, seed });
}

async function stopLoad(load: Load, { say }: ScenarioContext): Promise<void> {
  await load.stop();
  if (load.complaints !== '') say(`pgbench: ${load.complaints}`);
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

async function writeSecondTimeline(
  stage: Stage,
  context: ScenarioContext,
  { form, first, host }: Pick<SecondTimeline, 'form' | 'first'> & { readonly host: EmptyHost },
): Promise<{ second: Truth; backedUpAt: bigint }> {
  const live = await takeOver(stage, host);
  const stream = await startStream(stage, live);
  try {
    const load = startLoad(stage, live, context, form);
    await sleep(form.loadMs / 4);
    const args = ['backup', '--kind', 'base'];
    const backup = await runAgent<{ stopLsn: string }>(args, { ...stage.agentEnv, ...live.server });
    await sleep(form.loadMs / 4);
    await stopLoad(load, context);
    const left = await switchOf(live);
    const own = await truthOf(stage, live, left, await finishStream(live, stream));
    context.say(`timeline ${live.timeline}: ${describe(own.records)}`);
    return { second: continued(first.truth, left, own), backedUpAt: lsnOf(backup.stopLsn) };
  } finally {
    stream.kill('SIGKILL');
  }
}

function describe(records: readonly TransactionRecord[]): string {
  const count = (kind: TransactionRecord['kind']): number =>
    records.filter((each) => each.kind === kind).length;
  return `${count('commit')} commits, ${count('abort')} rollbacks, ${count('prepare')} prepared transactions; ${inversions(records).length} ends are earlier than one before them in the WAL`;
}
