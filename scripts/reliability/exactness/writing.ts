import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { runAgent } from '../agent.ts';
import type { EmptyHost } from '../empty-host.ts';
import type { ScenarioContext } from '../scenario.ts';
import type { Stage } from '../stage.ts';
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
} from './clusters.ts';
import { Load, TABLES } from './load.ts';
import { describeRecords, lsnOf, type TransactionRecord } from './wal-truth.ts';

/** How much is written, and tried. */
export interface Form {
  readonly instants: number;
  /** Of load, around a base backup; half as long on the second timeline. */
  readonly loadMs: number;
  readonly clients: number;
}

export const RESTORE_POINT = `before 'the flood'`;

/** What is written before anything is recovered. */
export interface FirstTimeline {
  readonly truth: Truth;
  /** The first commit behind the base backup. */
  readonly base: TransactionRecord;
  readonly restorePoint: bigint;
  readonly idleAt: string;
}

/** Load around a base backup, a restore point, and an idle stretch. */
export async function writeFirstTimeline(
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

/** In the cluster that was recovered on `host`, and takes the place of the first one. */
export async function writeSecondTimeline(
  stage: Stage,
  context: ScenarioContext,
  { form, first, host }: { readonly form: Form; readonly first: FirstTimeline; readonly host: EmptyHost },
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
    context.say(`timeline ${live.timeline}: ${describeRecords(own.records)}`);
    return { second: continued(first.truth, left, own), backedUpAt: lsnOf(backup.stopLsn) };
  } finally {
    stream.kill('SIGKILL');
  }
}
