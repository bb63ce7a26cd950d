import { chownSync, mkdirSync } from 'node:fs';
import { appendFile, readFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import { serverUser } from '../../set-up/postgres-installation.ts';
import { runPsql, type ConnectionEnvironment } from '../../set-up/psql.ts';
import { startAgent, type Agent } from '../agent.ts';
import type { EmptyHost } from '../empty-host.ts';
import type { Stage } from '../stage.ts';
import { readMarks, type Psql } from './found-state.ts';
import type { Mark } from './expected-state.ts';
import { lsnOf, readTransactions, type TransactionRecord } from './wal-truth.ts';

/** What was committed, in the order of the WAL, and what each transaction says it did. */
export interface Truth {
  readonly records: readonly TransactionRecord[];
  readonly marks: readonly Mark[];
}

/** A cluster that is written to, and whose WAL goes to S3: the first one, or one that was recovered and took its place. */
export interface LiveCluster {
  readonly server: ConnectionEnvironment;
  readonly dataDir: string;
  readonly timeline: number;
  readonly psql: Psql;
}

const HEARTBEAT_SECONDS = 1;
const STREAM_SETTINGS = {
  WAL_JOURNAL_SECONDS: '1',
  WAL_HEARTBEAT_SECONDS: String(HEARTBEAT_SECONDS),
} as const;

export function liveCluster({ postgres }: Stage): LiveCluster {
  const { env, dataDir } = postgres;
  return { server: env, dataDir, timeline: 1, psql: (sql) => runPsql(env, 'postgres', sql) };
}

/** Lets the recovered cluster be what the lost one was: its WAL is kept, and may be streamed. */
export async function takeOver({ postgres }: Stage, { recovered }: EmptyHost): Promise<LiveCluster> {
  const { dataDir, socketDir, port } = recovered;
  const server = { ...postgres.env, DB_HOST: socketDir, DB_PORT: String(port) };
  const psql: Psql = (sql) => runPsql(server, 'postgres', sql);
  await appendFile(path.join(dataDir, 'pg_hba.conf'), 'local replication all trust\n');
  await psql(`ALTER SYSTEM SET wal_keep_size = '4GB'`);
  await psql('SELECT pg_reload_conf()');
  const timeline = Number(await psql('SELECT timeline_id FROM pg_control_checkpoint()'));
  return { server, dataDir, timeline, psql };
}

export async function createTablespace({ postgres }: Stage, name: string): Promise<void> {
  const folder = path.join(path.dirname(postgres.dataDir), `space-${name}`);
  mkdirSync(folder, { mode: 0o700 });
  const user = serverUser();
  if (user) chownSync(folder, user.uid, user.gid);
  await postgres.psql('postgres', `CREATE TABLESPACE ${name} LOCATION '${folder}'`);
}

/** @returns once it streams */
export async function startStream({ agentEnv }: Stage, { server }: LiveCluster): Promise<Agent> {
  const agent = startAgent(['wal', 'stream'], { ...agentEnv, ...server, ...STREAM_SETTINGS });
  try {
    await agent.untilPrinted(/Streaming WAL of cluster/);
    return agent;
  } catch (error) {
    agent.kill('SIGKILL');
    throw error;
  }
}

/** Ends the stream once S3 holds all that the cluster has written by now. @returns how far that is */
export async function finishStream({ psql }: LiveCluster, agent: Agent): Promise<string> {
  const lsn = await psql('SELECT pg_current_wal_flush_lsn()');
  // What the stream confirms lies in S3; what it confirmed is said of its connection.
  await until(
    psql,
    `SELECT flush_lsn >= '${lsn}' FROM pg_stat_replication JOIN pg_replication_slots ON pid = active_pid
      WHERE NOT temporary`,
  );
  agent.kill('SIGTERM');
  const { status, printed } = await agent.ended;
  if (status !== 0) throw new LifeboatError('BUG', `lifeboat wal stream ended with ${status}:\n${printed}`);
  return lsn;
}

/** Nobody writes; the heartbeat alone goes on. @returns an instant in the middle of it that S3 knows is over */
export async function idle({ psql }: LiveCluster): Promise<string> {
  await sleep(1500 * HEARTBEAT_SECONDS);
  const instant = await psql(
    `SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`,
  );
  await until(psql, `SELECT timestamp > '${instant}' FROM pg_last_committed_xact()`);
  return instant;
}

/** @throws LifeboatError DB_QUERY after a minute */
async function until(psql: Psql, question: string): Promise<void> {
  for (let tries = 0; (await psql(question)) !== 't'; tries += 1) {
    if (tries > 300) throw new LifeboatError('DB_QUERY', `Not within a minute: ${question}`);
    await sleep(200);
  }
}

/** @param from where the cluster's first mark is behind, @param to how far it is certain that S3 holds its WAL */
export async function truthOf(
  { binDir }: Stage,
  live: LiveCluster,
  from: string,
  to: string,
): Promise<Truth> {
  const range = { timeline: live.timeline, from, to };
  const records = await readTransactions({ binDir }, path.join(live.dataDir, 'pg_wal'), range);
  return { records, marks: await readMarks(live.psql) };
}

/** Where a recovered cluster's timeline left the one before, as its history file says. */
export async function switchOf({ dataDir, timeline }: LiveCluster): Promise<string> {
  const name = `${timeline.toString(16).toUpperCase().padStart(8, '0')}.history`;
  const text = await readFile(path.join(dataDir, 'pg_wal', name), 'utf8');
  const [, lsn] = text.trim().split('\n').at(-1)!.split('\t');
  return lsn!;
}

/** A timeline's own records follow those of the one before, up to where that was left. */
export function continued(before: Truth, left: string, own: Truth): Truth {
  return {
    records: [...before.records.filter(({ lsn }) => lsn < lsnOf(left)), ...own.records],
    marks: own.marks,
  };
}
